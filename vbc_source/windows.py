"""Time windows of `start`, the cursor, and instants as text. Pure; instants are in UTC.

The API takes bounds in whole seconds, so all bounds of windows are whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from vbc_source.errors import UsageError

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A time window of `start`; both bounds are inclusive, as in the API.

    Attributes:
        start: First second.
        end: Last second. The next window starts with the same second: a recording at a fraction of
            it would otherwise fall between the two.
    """

    start: datetime
    end: datetime

    @property
    def divisible(self) -> bool:
        """Whether it can be split into smaller windows."""
        return self.end - self.start > SECOND

    def holds(self, second: int) -> bool:
        """Whether a second since 1970 is in it; it may be of a year that no datetime can represent."""
        return self.start.timestamp() <= second <= self.end.timestamp()

    def cut_around(self, seconds: Sequence[int]) -> list[Window]:
        """Cut it so that the given seconds of it are in windows of two seconds, away from all others."""
        first, last = int(self.start.timestamp()), int(self.end.timestamp())
        # windows share their boundary seconds, so that a second is cut off by those before and after it
        around = {cut for second in seconds for cut in (second - 1, second + 1) if first < cut < last}
        cuts = [datetime.fromtimestamp(cut, timezone.utc) for cut in sorted(around)]
        return [Window(*bounds) for bounds in zip([self.start, *cuts], [*cuts, self.end], strict=True)]

    def split(self, parts: int) -> list[Window]:
        """Split into about equal windows of at least a second that share their boundary seconds."""
        seconds = int((self.end - self.start).total_seconds())
        parts = max(1, min(parts, seconds))
        cuts = [self.start + timedelta(seconds=seconds * part // parts) for part in range(parts)]
        return [Window(*bounds) for bounds in zip(cuts, [*cuts[1:], self.end], strict=True)]

    def __str__(self) -> str:
        """Both bounds in the API's format, separated by a slash."""
        return f"{format_instant(self.start)}/{format_instant(self.end)}"


def plan_window(
    first: datetime, now: datetime, cursor: datetime | None = None, lookback: timedelta = timedelta()
) -> Window | None:
    """Return the window that an incremental run reads, or None where there is nothing to read yet.

    It starts at `first`, or `lookback` before the cursor, the newest `start` loaded so far: a recording
    appears only after its call has ended, so a long call appears after later, shorter ones. It ends
    at `now`, which is the same for the whole run.
    """
    try:
        start = first if cursor is None else max(first, cursor - lookback)
    except OverflowError:  # the lookback reaches beyond year 1
        start = first
    start, end = floor_second(start), floor_second(now)
    return Window(start, end) if start <= end else None


def check_order(first: datetime | None, last: datetime | None) -> None:
    """Refuse a span that ends before it begins: it would hold nothing, and nothing would look like done."""
    if first and last and floor_second(first) > floor_second(last):
        raise UsageError(f"the span starts at {format_instant(first)}, after its end, {format_instant(last)}")


def advance(cursor: datetime | None, starts: Sequence[datetime], now: datetime) -> datetime | None:
    """Return the newest of the cursor and the given starts; starts in the future are ignored."""
    # one start in the future, by a wrong clock, would put the cursor beyond all that comes until then
    return max((moment for moment in (cursor, *starts) if moment and moment <= now), default=None)


def floor_second(moment: datetime) -> datetime:
    """Convert to UTC and drop the fraction of the second."""
    return moment.astimezone(timezone.utc).replace(microsecond=0)


def format_instant(moment: datetime) -> str:
    """Format an instant for the API: `yyyy-MM-ddTHH:mm:ssZ`."""
    # strftime does not pad the year
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def format_report_instant(moment: datetime) -> str:
    """Format an instant for the Reports API: `yyyy-MM-dd HH:mm:ss`, in UTC."""
    return format_instant(moment).replace("T", " ").removesuffix("Z")


def parse_instant(value: str | date | datetime) -> datetime:
    """Parse an ISO date (its midnight) or instant, in UTC unless it has a zone; raises ValueError."""
    if isinstance(value, str):
        # Python 3.10's fromisoformat reads +00:00 alone, neither Z nor +0000
        text = value.strip().replace("Z", "+00:00")
        if len(text) > 5 and text[-5] in "+-" and text[-4:].isdigit() and "T" in text:
            text = f"{text[:-2]}:{text[-2:]}"
        value = datetime.fromisoformat(text)
    elif not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
