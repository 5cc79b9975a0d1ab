"""Which spans of `start` to read. Pure: no clock, no requests; instants are whole seconds, UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A span of `start`, both bounds inclusive, as the API has it.

    Attributes:
        start: the first second.
        end: the last second; a neighbour begins with the same one, so that fractions of it are
            not lost between the two.
    """

    start: datetime
    end: datetime

    @property
    def divisible(self) -> bool:
        """Whether it can be cut into smaller ones."""
        return self.end - self.start > SECOND

    def split(self, parts: int) -> list[Window]:
        """Cut into equal spans, each at least a second long, that share their boundary seconds."""
        seconds = int((self.end - self.start).total_seconds())
        parts = max(1, min(parts, seconds))
        cuts = [self.start + timedelta(seconds=seconds * part // parts) for part in range(parts)]
        return [Window(*bounds) for bounds in zip(cuts, [*cuts[1:], self.end], strict=True)]

    def __str__(self) -> str:
        """The span as the API would be asked for it."""
        return f"{format_instant(self.start)}/{format_instant(self.end)}"


def plan_window(
    first: datetime, now: datetime, cursor: datetime | None = None, lookback: timedelta = timedelta()
) -> Window | None:
    """Say what an incremental run reads.

    Args:
        first: where the history begins.
        now: the upper bound; it stays the same for the whole run.
        cursor: the newest `start` loaded so far, or None before the first load.
        lookback: how far behind the cursor to read again: a recording appears after its call has
            ended, behind later ones that were shorter.

    Returns:
        The window, or None where there is nothing to read yet.
    """
    try:
        start = first if cursor is None else max(first, cursor - lookback)
    except OverflowError:  # a lookback longer than the calendar
        start = first
    start, end = floor_second(start), floor_second(now)
    return Window(start, end) if start <= end else None


def advance(cursor: datetime | None, starts: Sequence[datetime], now: datetime) -> datetime | None:
    """Move the cursor to the newest `start`, but never past now, whatever date a recording claims."""
    return max((moment for moment in (cursor, *starts) if moment and moment <= now), default=None)


def floor_second(moment: datetime) -> datetime:
    """Drop the fraction; UTC."""
    return moment.astimezone(timezone.utc).replace(microsecond=0)


def format_instant(moment: datetime) -> str:
    """Write an instant as the API takes it: `yyyy-MM-ddTHH:mm:ssZ`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_instant(value: str | date | datetime) -> datetime:
    """Read an ISO date or instant; without a zone it is UTC, a date alone is its midnight.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        text = value.strip().replace("Z", "+00:00")
        if len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit() and "T" in text:
            text = f"{text[:-2]}:{text[-2:]}"  # +0000: Python 3.10 reads +00:00 alone
        value = datetime.fromisoformat(text)
    elif not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
