"""Filters of a query, and the slice of the matching recordings that one page shows."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from random import Random
from typing import Any

from vbc_source.emulator.data.dates import parse_timestamp
from vbc_source.emulator.data.stored_recording import StoredRecording

DEFAULT_PAGE_SIZE = 10
UNLIMITED = 1 << 62

_get_start = attrgetter("start")


@dataclass(frozen=True, slots=True)
class Query:
    """Parameters of a request for a list of recordings.

    Attributes:
        equal: Pairs of a field and the text that it must equal.
        duration_gte: Milliseconds, inclusive.
        duration_lte: Milliseconds, inclusive.
        end_gte: Milliseconds since 1970, inclusive.
        end_lte: Milliseconds since 1970, inclusive.
        start_gte: Milliseconds since 1970, inclusive.
        start_lte: Milliseconds since 1970, inclusive.
        newest_first: Requested order.
        page: Requested page, None by default.
        page_size: Requested rows per page.
    """

    equal: tuple[tuple[str, str], ...] = ()
    duration_gte: int = 0
    duration_lte: int = UNLIMITED
    end_gte: int = -UNLIMITED
    end_lte: int = UNLIMITED
    start_gte: int = -UNLIMITED
    start_lte: int = UNLIMITED
    newest_first: bool = True
    page: int | None = None
    page_size: int = DEFAULT_PAGE_SIZE

    @property
    def filters_fields(self) -> bool:
        """Whether it filters by anything but start."""
        return bool(self.equal) or self.duration_gte > 0 or self.duration_lte < UNLIMITED or self.filters_end

    @property
    def filters_end(self) -> bool:
        """Whether it filters by end."""
        return self.end_gte > -UNLIMITED or self.end_lte < UNLIMITED

    def matches(self, recording: StoredRecording) -> bool:
        """Check all filters but those by start."""
        # Searching the encoded text first avoids decoding nearly all recordings.
        if any(json.dumps(text)[1:-1].encode() not in recording.body for _, text in self.equal):
            return False
        fields = recording.decode()
        # a duration that a test has replaced by a text or null counts as 0
        duration = fields.get("duration")
        if not self.duration_gte <= (duration if isinstance(duration, int) else 0) <= self.duration_lte:
            return False
        if self.filters_end:
            end = parse_timestamp(fields.get("end"))
            if end is None or not self.end_gte <= end <= self.end_lte:
                return False
        return all(_has_value(fields, name, text) for name, text in self.equal)


def _has_value(fields: Mapping[str, Any], name: str, text: str) -> bool:
    values = [fields.get(name)]
    # The API documents the filter for one extension, but the field is a list.
    if name == "extension":
        values += fields.get("extensions") or []
    return any(value is not None and str(value) == text for value in values)


@dataclass(frozen=True, slots=True)
class PageSlice:
    """Position of a page within the matching rows.

    Attributes:
        offset: Number of rows on the earlier pages.
        size: Rows per page.
        newest_first: Order of the rows.
    """

    offset: int
    size: int
    newest_first: bool = True

    def locate(self, low: int, high: int) -> tuple[int, int]:
        """Return the bounds of the page within `low:high` of rows sorted oldest first."""
        # rows are sorted oldest first, so pages of the other order are counted from the end
        first = high - self.offset - self.size if self.newest_first else low + self.offset
        return max(first, low), min(first + self.size, high)


def select_page(
    rows: Sequence[StoredRecording],
    starts: Sequence[int],
    query: Query,
    page: PageSlice,
    rng: Random,
    *,
    shuffled: bool,
) -> tuple[int, list[StoredRecording]]:
    """Return the number of rows that match a query, and those of one page.

    Args:
        rows: Sorted by start, oldest first.
        starts: Their starts.
        query: Filters; its own page and order are ignored.
        page: Position of the page.
        rng: Orders rows with equal start.
        shuffled: Put all rows in random order: pages of one list overlap then, and leave rows out.
    """
    # both bounds are inclusive, as in the API
    low = bisect_left(starts, query.start_gte)
    high = max(low, bisect_right(starts, query.start_lte))
    if query.filters_fields or shuffled:
        rows = [row for row in rows[low:high] if not query.filters_fields or query.matches(row)]
        low, high = 0, len(rows)
        if shuffled:
            rng.shuffle(rows)
            return high, rows[page.offset : page.offset + page.size]
    return high - low, slice_page(rows, low, high, page, rng)


def slice_page(
    recordings: Sequence[StoredRecording], low: int, high: int, page: PageSlice, rng: Random
) -> list[StoredRecording]:
    """Return one page of `recordings[low:high]`.

    Args:
        recordings: Sorted by start, oldest first.
        low: Index of the first match.
        high: Index after the last match.
        page: Position of the page.
        rng: Orders recordings with equal start, as the API has no fixed order for them.
    """
    first, last = page.locate(low, high)
    if first >= last:
        return []
    # Recordings with equal start can span two pages: shuffle all of them, then cut.
    before, after = first, last
    while before > low and recordings[before - 1].start == recordings[first].start:
        before -= 1
    while after < high and recordings[after].start == recordings[last - 1].start:
        after += 1
    shuffled = _shuffle_equal_starts(list(recordings[before:after]), rng)
    rows = shuffled[first - before : last - before]
    return rows[::-1] if page.newest_first else rows


def _shuffle_equal_starts(recordings: list[StoredRecording], rng: Random) -> list[StoredRecording]:
    starts = list(map(_get_start, recordings))
    ties = [index for index, (start, following) in enumerate(pairwise(starts)) if start == following]
    end = 0
    for index in ties:
        if index < end:
            continue
        end = index + 2
        while end < len(recordings) and starts[end] == starts[index]:
            end += 1
        group = recordings[index:end]
        rng.shuffle(group)
        recordings[index:end] = group
    return recordings
