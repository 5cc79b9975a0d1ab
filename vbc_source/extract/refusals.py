"""Lists that a run could not read, reported at its end: what can be read is loaded before it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from vbc_source.errors import Forbidden, GatewayFault

MAX_NAMED = 10  # lists that an error names


def name_others(names: Sequence[str]) -> str:
    """Write the lists that an error concerns too, as the end of its message; nothing where there are none."""
    named = ", ".join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
    return f"; also affected: {named}" if named else ""


class Refusals:
    """Collects the lists that could not be read, with the reason of each."""

    def __init__(self) -> None:
        self._found: dict[str, GatewayFault] = {}
        self._answered = False

    def add(self, lists: Sequence[str], error: GatewayFault) -> None:
        """Add lists that could not be read for one reason."""
        for name in lists:
            self._found.setdefault(name, error)

    def record_answer(self) -> None:
        """Record that a list was read: what fails now does not concern the whole gateway."""
        self._answered = True

    def takes(self, error: GatewayFault) -> bool:
        """Whether the run goes on after an error; where nothing was answered yet, all would fail."""
        return self._answered or isinstance(error, Forbidden)

    def describe(self) -> str:
        """Return the reasons, each with the names of the lists that it concerns; empty without any."""
        groups: dict[tuple[object, ...], list[str]] = {}
        for name, error in self._found.items():
            groups.setdefault((type(error), error.status, error.code), []).append(name)
        texts = [f"{self._found[first]}{name_others(others)}" for first, *others in groups.values()]
        refused = all(isinstance(error, Forbidden) for error in self._found.values())
        end = "what the user may read is loaded" if refused else "the rest is loaded"
        return "; ".join([*texts, end]) if texts else ""

    def check(self) -> None:
        """Raise the first error, with all reasons and the names of all lists."""
        text = self.describe()
        for error in self._found.values():
            error.args = (text,)
            raise error


_collected: ContextVar[Refusals | None] = ContextVar("vbc_refusals", default=None)


@contextmanager
def collect_refusals(refusals: Refusals | None = None) -> Iterator[Refusals]:
    """Collect the failures of the extraction inside, which dlt would otherwise end with nothing loaded."""
    refusals = Refusals() if refusals is None else refusals
    token = _collected.set(refusals)
    try:
        yield refusals
    finally:
        _collected.reset(token)


def current_refusals() -> Refusals | None:
    """Return where to report a list that could not be read; None where its error has to be raised."""
    return _collected.get()
