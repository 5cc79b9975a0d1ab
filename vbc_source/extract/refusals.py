"""Refusals that a run reports at its end: what the API user may read is loaded before the run fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from vbc_source.errors import Forbidden

MAX_NAMED = 10  # lists that an error names


def name_others(names: Sequence[str]) -> str:
    """Write the lists that an error concerns too, as the end of its message; nothing where there are none."""
    named = ", ".join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
    return f"; likewise {named}" if named else ""


class Refusals:
    """Collects what the API user may not read."""

    def __init__(self) -> None:
        self._found: dict[str, Forbidden] = {}

    def add(self, lists: Sequence[str], error: Forbidden) -> None:
        """Add lists that are refused for one reason."""
        for name in lists:
            self._found.setdefault(name, error)

    def describe(self) -> str:
        """Return the first refusal, with the names of all lists that are refused; empty without any."""
        for name, error in self._found.items():
            others = name_others([other for other in self._found if other != name])
            return f"{error}{others}; what the user may read is loaded"
        return ""

    def check(self) -> None:
        """Raise the first refusal, with the names of all lists that are refused."""
        text = self.describe()
        for error in self._found.values():
            error.args = (text,)
            raise error


_collected: ContextVar[Refusals | None] = ContextVar("vbc_refusals", default=None)


@contextmanager
def collect_refusals(refusals: Refusals | None = None) -> Iterator[Refusals]:
    """Collect the refusals of the extraction inside, which dlt would otherwise end with nothing loaded."""
    refusals = Refusals() if refusals is None else refusals
    token = _collected.set(refusals)
    try:
        yield refusals
    finally:
        _collected.reset(token)


def current_refusals() -> Refusals | None:
    """Return where to report a refusal; None where it has to be raised."""
    return _collected.get()
