"""Which files come by exports, and which one by one: whatever takes fewer requests. Pure.

Requests are what is scarce at VBC: a new application may send ten a minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from typing import Literal

from vbc_source.recordings import EPOCH, Recording, RecordingType
from vbc_source.windows import SECOND, floor_second

Via = Literal["files", "export", "auto"]
POLLS = 10  # looks at a job until it is complete: three and a half minutes of waiting
EXPORT_REQUESTS = 1 + POLLS + 1  # its start, the looks, its zip; a file is one request
MOST_FILES = 5000  # in an export: what a run that is killed may have to fetch again
WORTH = 2  # an export brings what is archived already as well: at most so many times what is wanted

Owner = tuple[str, RecordingType, str]


@dataclass(frozen=True, slots=True)
class ExportSpan:
    """Recordings of one owner that an export could bring.

    Attributes:
        account_id: whose they are.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        start: of the oldest, to the second.
        end: of the newest, to the second.
        files: how many are wanted.
        size: of those, bytes, as far as the API tells.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    start: datetime
    end: datetime
    files: int
    size: int

    def describe(self) -> str:
        """Names it in logs."""
        return (
            f"{self.files:,} {self.recording_type} recordings of {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"
        )


def plan_spans(
    wanted: Iterable[Recording], most_bytes: int, most_files: int = MOST_FILES
) -> list[ExportSpan]:
    """Group recordings into spans, each of which fits an export; a day is never cut.

    Args:
        wanted: what is not archived yet; what has no `start` cannot be asked for by it, and is left out.
        most_bytes: of a span.
        most_files: of a span.
    """
    days: defaultdict[Owner, dict[date, ExportSpan]] = defaultdict(dict)
    for one in wanted:
        if one.start > EPOCH:
            spans = days[one.account_id, one.recording_type, one.user_id]
            day, single = one.start.astimezone(timezone.utc).date(), _span(one)
            spans[day] = _join(spans[day], single) if day in spans else single
    return [span for spans in days.values() for span in _join_days(spans, most_bytes, most_files)]


def saves(span: ExportSpan, files: int, size: int) -> bool:
    """Whether an export takes fewer requests, without bringing much that nobody wants.

    Args:
        span: what is wanted.
        files: how many recordings the export would bring.
        size: of those, bytes.
    """
    return span.files > EXPORT_REQUESTS and files <= WORTH * span.files and size <= WORTH * max(span.size, 1)


def _span(one: Recording) -> ExportSpan:
    start = floor_second(one.start)
    end = start if start == one.start else start + SECOND
    return ExportSpan(one.account_id, one.recording_type, one.user_id, start, end, 1, one.size_bytes or 0)


def _join(one: ExportSpan, other: ExportSpan) -> ExportSpan:
    return replace(
        one,
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        files=one.files + other.files,
        size=one.size + other.size,
    )


def _join_days(days: dict[date, ExportSpan], most_bytes: int, most_files: int) -> Iterator[ExportSpan]:
    current: ExportSpan | None = None
    for _, day in sorted(days.items()):
        joined = day if current is None else _join(current, day)
        if current is not None and (joined.files > most_files or joined.size > most_bytes):
            yield current
            joined = day
        current = joined
    if current is not None:
        yield current
