"""The exceptions behind an exception, and the part of a message that may be shown. Pure."""

from __future__ import annotations

from collections.abc import Iterator


def walk_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, what caused it, and so on; each once, though a chain may be a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error; further lines may contain data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
