"""The gateway's clock, as the `Date` of its last response tells it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

from vbc_source.errors import VbcError

_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
TOLERANCE = 5 * _MINUTE
# RFC 9110, section 5.6.7. Stricter than the parser, which reads the first of two dates in one header
_HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


class WrongClock(VbcError):
    """Raised when this machine's clock cannot be relied on: what is old enough to delete depends on it."""


class GatewayClock:
    """Compares this machine's clock with the gateway's. Thread-safe; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._last: tuple[datetime | None, float] = None, 0.0

    def read(self, headers: Mapping[str, str]) -> None:
        """Note the time in the headers of a response."""
        date = _read_date(headers.get("Date", ""))
        with self._lock:
            self._last = date, self._clock()

    def check(self, now: datetime) -> None:
        """Raise WrongClock unless `now` is the gateway's time, within a few minutes."""
        with self._lock:
            date, noted_at = self._last
        if date is None:
            raise WrongClock(
                "nothing is deleted: the VBC gateway's response has no valid Date header, with which this "
                "machine's clock could be compared"
            )
        # by the monotonic clock: the one that is checked may have been set since
        ahead = now - (date + timedelta(seconds=self._clock() - noted_at))
        if abs(ahead) > TOLERANCE:
            side = "ahead of" if ahead > timedelta(0) else "behind"
            raise WrongClock(
                f"nothing is deleted: this machine's clock is {_describe(abs(ahead))} {side} the VBC "
                "gateway's; set the clock"
            )


def _read_date(text: str) -> datetime | None:
    if not _HTTP_DATE.fullmatch(text.strip()):
        return None
    try:
        return parsedate_to_datetime(text).astimezone(timezone.utc)
    except ValueError:
        return None


def _describe(span: timedelta) -> str:
    return f"{round(span / _DAY):,} days" if span > _DAY else f"{round(span / _MINUTE):,} minutes"
