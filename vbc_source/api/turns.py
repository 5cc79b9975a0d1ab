"""Turns of processes that log in as the same user, where they share a database but no disk.

VBC may revoke a user's tokens when it issues the next ones. Processes that share no token then interrupt each
other, and do not know of each other. With turns, a process logs in twice at most: first beside the others,
with a shared lock; and, if its token is rejected before it expires, once more with an exclusive lock, when no
other process is working. It keeps that lock until its work is done, so nothing revokes that token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Turns(Protocol):
    """A lock that processes share, or that one holds exclusively (`alone`); safe for threads."""

    def is_held(self, *, alone: bool) -> bool:
        """Return whether this process holds the lock; with `alone`, whether exclusively."""

    def hold(self, login: str, *, alone: bool) -> bool:
        """Try for some seconds to hold the lock of a login; returns whether it may help to try again."""


_turns: ContextVar[Turns | None] = ContextVar("vbc_turns", default=None)


@contextmanager
def take_turns(turns: Turns | None) -> Iterator[None]:
    """Take turns in the extraction inside."""
    token = _turns.set(turns)
    try:
        yield
    finally:
        _turns.reset(token)


def current_turns() -> Turns | None:
    """Return how to take turns; None where nothing is shared."""
    return _turns.get()
