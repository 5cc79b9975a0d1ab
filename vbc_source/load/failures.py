"""Turn dlt's exceptions into one line that says the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common.configuration.exceptions import ConfigurationException

from vbc_source.errors import SettingsError, VbcError


@contextmanager
def explaining() -> Iterator[None]:
    """Have every error say its reason: dlt wraps it in what it was doing.

    Raises:
        VbcError: the reason, in words for the person who can act.
    """
    try:
        yield
    except VbcError:
        raise
    except Exception as error:
        causes = list(_causes(error))
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
            raise KeyboardInterrupt from None
        for cause in causes:
            if isinstance(cause, VbcError):
                raise cause from None  # it stands in the chain: naming what wraps it would make a ring
        for cause in causes:
            if isinstance(cause, ConfigurationException):
                raise SettingsError(first_line(cause)) from error
        doing = getattr(error, "step", None)
        where = f"{doing} failed: " if doing else ""
        raise VbcError(f"{where}{type(causes[-1]).__name__}: {first_line(causes[-1])}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """The first line of an error; further ones may hold data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
