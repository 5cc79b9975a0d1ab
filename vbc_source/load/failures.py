"""Turn dlt's exceptions into one line with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dlt.common.configuration.exceptions import ConfigurationException

from vbc_source.errors import SettingsError, VbcError


@contextmanager
def explaining() -> Iterator[None]:
    """Raise the reason instead of the exceptions that dlt wraps around it."""
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
                raise cause from None  # it is in the chain itself: chaining it again would make a ring
        for cause in causes:
            if isinstance(cause, ConfigurationException):
                raise SettingsError(first_line(cause)) from error
        step = getattr(error, "step", None)  # of a dlt pipeline: extract, normalize or load
        prefix = f"{step} failed: " if step else ""
        raise VbcError(f"{prefix}{type(causes[-1]).__name__}: {first_line(causes[-1])}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error; further lines may contain data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
