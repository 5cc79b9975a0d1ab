"""Recordings counted by their length in whole seconds, and what follows from that. Pure.

The median of a million lengths needs no sort of a million: the counts say in which second it lies, and the
lengths of that second alone are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

PERCENTILES = (0.5, 0.9)


@dataclass(frozen=True, slots=True)
class LengthCounts:
    """Recordings of a length: between `second` and the next one; None if it is unknown."""

    second: int | None
    recordings: int
    milliseconds: int
    archived: int
    on_demand: int


def read_counts(rows: Sequence[Sequence[Any]]) -> list[LengthCounts]:
    """Make counts of the rows of a query."""
    return [
        LengthCounts(None if second is None else int(second), *map(int, numbers)) for second, *numbers in rows
    ]


def find_seconds(counts: Sequence[LengthCounts]) -> list[int]:
    """Return the seconds that hold the lengths which the percentiles are interpolated from."""
    ranks = {rank for percentile in _place_percentiles(counts) for rank in percentile[:2]}
    return sorted({_find_second(counts, rank)[0] for rank in ranks})


def interpolate(counts: Sequence[LengthCounts], lengths: Sequence[tuple[float, int]]) -> list[float | None]:
    """Return the percentiles, seconds; None if no length is known.

    Args:
        counts: All recordings.
        lengths: Of the seconds of `find_seconds`, each length and how many recordings have it, sorted.
    """

    def find_length(rank: int) -> float:
        second, reached = _find_second(counts, rank)
        for length, recordings in lengths:
            if floor(length) == second:
                reached += recordings
                if rank < reached:
                    return length
        return float(second)  # the table has changed since it was counted

    found: list[float | None] = []
    for low, high, share in _place_percentiles(counts):
        length = find_length(low)
        found.append(length + share * (find_length(high) - length))
    return found or [None] * len(PERCENTILES)


def count_by_bucket(counts: Sequence[LengthCounts], buckets: Sequence[Sequence[Any]]) -> dict[int, int]:
    """Return the recordings by bucket, given the order and bounds of each; empty ones are left out."""
    found: dict[int, int] = {}
    for each in counts:
        for order, start, end in buckets:
            if _is_within(each.second, start, end):
                found[int(order)] = found.get(int(order), 0) + each.recordings
    return found


def _is_within(second: int | None, start: int | None, end: int | None) -> bool:
    if second is None or start is None:
        return second is start  # the bucket of unknown lengths has no bounds
    return start <= second and (end is None or second < end)


def _place_percentiles(counts: Sequence[LengthCounts]) -> list[tuple[int, int, float]]:
    """Return, for each percentile, the ranks between which it lies, and how far between them."""
    known = sum(each.recordings for each in counts if each.second is not None)
    if not known:
        return []
    # between two ranks, as `percentile_cont` of SQL interpolates
    places = [percentile * (known - 1) for percentile in PERCENTILES]
    return [(int(place), min(int(place) + 1, known - 1), place - int(place)) for place in places]


def _find_second(counts: Sequence[LengthCounts], rank: int) -> tuple[int, int]:
    """Return the second that holds a rank, and how many shorter lengths there are."""
    known = sorted((each.second, each.recordings) for each in counts if each.second is not None)
    reached = 0
    for second, recordings in known:
        if rank < reached + recordings:
            return second, reached
        reached += recordings
    raise IndexError(rank)
