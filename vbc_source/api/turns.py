"""Turns of processes that log in as the same user, where they share a database but no disk.

VBC may revoke a user's tokens when it issues the next ones. Processes that share no token then end each
other's work, and cannot tell whether others are at work. With turns, a process logs in twice at most: first
beside the others, and, if its token is rejected before its time, once more when nobody else is at work. Who
is alone stays so until its work is done, so nobody revokes that token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Turns(Protocol):
    """A lock that processes share, or that one holds alone, until its work is done; safe for threads."""

    def is_held(self, *, alone: bool) -> bool:
        """Return whether this process holds the lock: with others at least, or `alone`."""

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
