"""Cutting a page out of sorted rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from random import Random

from vbc_source.emulator.rows import Row

_by_start = attrgetter("start")


def shuffle_ties(rows: list[Row], rng: Random) -> list[Row]:
    """Bring rows of equal start into an order of chance."""
    starts = list(map(_by_start, rows))
    tied = [place for place, (one, next_one) in enumerate(pairwise(starts)) if one == next_one]
    end = 0
    for place in tied:
        if place < end:
            continue
        end = place + 2
        while end < len(rows) and starts[end] == starts[place]:
            end += 1
        group = rows[place:end]
        rng.shuffle(group)
        rows[place:end] = group
    return rows


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of the matching rows a page is.

    Attributes:
        offset: How many rows the earlier pages hold.
        size: How many rows a page holds.
        newest_first: The order of the pages.
    """

    offset: int
    size: int
    newest_first: bool = True

    def place(self, low: int, high: int) -> tuple[int, int]:
        """Tell where the page lies in rows sorted oldest first, of which those in low:high match."""
        first = high - self.offset - self.size if self.newest_first else low + self.offset
        return max(first, low), min(first + self.size, high)


def cut_page(rows: Sequence[Row], low: int, high: int, cut: Cut, rng: Random) -> list[Row]:
    """Cut a page out of ``rows[low:high]``, which are sorted by start, oldest first.

    Args:
        rows: All rows.
        low: Where the rows that match begin.
        high: Where they end.
        cut: Which page.
        rng: Orders rows of equal start.
    """
    first, last = cut.place(low, high)
    if first >= last:
        return []
    # Ties reach across the edges of a page: they are shuffled as a whole, then cut.
    before, after = first, last
    while before > low and rows[before - 1].start == rows[first].start:
        before -= 1
    while after < high and rows[after].start == rows[last - 1].start:
        after += 1
    page = shuffle_ties(list(rows[before:after]), rng)[first - before : last - before]
    return page[::-1] if cut.newest_first else page
