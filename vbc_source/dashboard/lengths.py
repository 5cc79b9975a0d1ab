"""Recordings counted by their length in whole seconds, and what follows from that. Pure.

The median of a million lengths needs no sort of a million: the counts say in which second it lies, and the
lengths of that second alone are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    return sorted({second for second, first, last in _walk(counts) if any(first <= r < last for r in ranks)})


def interpolate(counts: Sequence[LengthCounts], lengths: Sequence[float]) -> list[float | None]:
    """Return the percentiles, given the sorted lengths of the seconds of `find_seconds`, in seconds."""
    by_rank: dict[int, float] = {}
    rest = iter(lengths)
    chosen = set(find_seconds(counts))
    for second, first, last in _walk(counts):
        if second in chosen:
            by_rank |= zip(range(first, last), rest, strict=False)
    return [
        by_rank[low] + share * (by_rank[high] - by_rank[low])
        for low, high, share in _place_percentiles(counts)
    ] or [None] * len(PERCENTILES)


def count_by_bucket(counts: Sequence[LengthCounts], buckets: Sequence[Sequence[Any]]) -> dict[int, int]:
    """Return the recordings by bucket, given the order and bounds of each; empty ones are left out."""
    found: dict[int, int] = {}
    for each in counts:
        for order, start, end in buckets:
            is_unknown = each.second is None and start is None
            if is_unknown or (
                each.second is not None and start is not None and start <= each.second < (end or float("inf"))
            ):
                found[int(order)] = found.get(int(order), 0) + each.recordings
    return found


def _place_percentiles(counts: Sequence[LengthCounts]) -> list[tuple[int, int, float]]:
    """Return, for each percentile, the ranks between which it lies, and how far between them."""
    known = sum(each.recordings for each in counts if each.second is not None)
    if not known:
        return []
    places = [percentile * (known - 1) for percentile in PERCENTILES]
    return [(int(place), min(int(place) + 1, known - 1), place - int(place)) for place in places]


def _walk(counts: Sequence[LengthCounts]) -> Iterator[tuple[int, int, int]]:
    """Yield each second, the shortest first, with the rank of its first length and that behind its last."""
    reached = 0
    for each in sorted(
        (each for each in counts if each.second is not None), key=lambda each: each.second or 0
    ):
        yield each.second or 0, reached, reached + each.recordings
        reached += each.recordings
