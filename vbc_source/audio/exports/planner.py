"""Plan which files to archive by exports, and which one by one: what takes fewer requests. Pure.

Requests are the scarce resource at VBC: a new application may send ten a minute.
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
POLLS = 10  # requests for the state of a job until it is complete: about three and a half minutes
EXPORT_REQUESTS = 1 + POLLS + 1  # start, polls, zip; a single file is one request
MAX_FILES = 5000  # in an export: a killed run may have to download them again
MAX_RATIO = 2  # of all files in an export, archived or not, to the files that are not archived yet

Owner = tuple[str, RecordingType, str]


@dataclass(frozen=True, slots=True)
class ExportSpan:
    """Recordings of one owner that one export would contain.

    They start between `start` and `end`, whole seconds. `size` is in bytes, as far as the API reports them.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    start: datetime
    end: datetime
    files: int
    size: int

    def describe(self) -> str:
        """Return its name in logs."""
        return (
            f"{self.files:,} {self.recording_type} recordings of {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"
        )


def plan_spans(
    recordings: Iterable[Recording], max_bytes: int, max_files: int = MAX_FILES
) -> list[ExportSpan]:
    """Group recordings into spans of whole days, each small enough for an export.

    A single day may exceed the limits. Recordings without a `start` are left out: exports select by it.
    """
    days: defaultdict[Owner, dict[date, ExportSpan]] = defaultdict(dict)
    for recording in recordings:
        if recording.start > EPOCH:
            spans = days[recording.account_id, recording.recording_type, recording.user_id]
            day, single = recording.start.astimezone(timezone.utc).date(), _make_span(recording)
            spans[day] = _join(spans[day], single) if day in spans else single
    return [span for spans in days.values() for span in _join_days(spans, max_bytes, max_files)]


def saves_requests(span: ExportSpan, files: int, size: int) -> bool:
    """Return whether an export takes fewer requests, and contains few files that are archived already.

    `files` and `size` count all recordings that the export would contain.
    """
    return (
        span.files > EXPORT_REQUESTS
        and files <= MAX_RATIO * span.files
        # the size is 0 where the API reports none
        and size <= MAX_RATIO * max(span.size, 1)
    )


def _make_span(recording: Recording) -> ExportSpan:
    # the API's bounds are whole seconds, both inclusive
    start = floor_second(recording.start)
    end = start if start == recording.start else start + SECOND
    owner = recording.account_id, recording.recording_type, recording.user_id
    return ExportSpan(*owner, start, end, 1, recording.size_bytes or 0)


def _join(first: ExportSpan, second: ExportSpan) -> ExportSpan:
    return replace(
        first,
        start=min(first.start, second.start),
        end=max(first.end, second.end),
        files=first.files + second.files,
        size=first.size + second.size,
    )


def _join_days(days: dict[date, ExportSpan], max_bytes: int, max_files: int) -> Iterator[ExportSpan]:
    current: ExportSpan | None = None
    for _, day in sorted(days.items()):
        joined = day if current is None else _join(current, day)
        if current is not None and (joined.files > max_files or joined.size > max_bytes):
            yield current
            joined = day
        current = joined
    if current is not None:
        yield current
