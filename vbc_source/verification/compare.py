"""Compare spans of one list at the API with what is loaded: counts first, then ids where counts differ.

A span that differs is cut where the loaded rows divide evenly. Requests of one row return how many recordings
the API has from the start of the span up to each cut. Two such counts give the difference of a part, so no
part is requested twice and no second is counted in two parts. Parts that fit one page are read, proven
complete and compared id by id.

The differences must add up to the difference of the whole span. Where they do not, a count was wrong or
something changed meanwhile: the span is counted and searched again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from math import ceil, log2

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.reading.lists import ListOwner, ListReader, ReadTask
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.schema.pages import Page, PageRows
from vbc_source.schema.tables import read_row_ids
from vbc_source.verification.inventory import Inventory, LoadedCounts, RowId
from vbc_source.windows import Window

log = logging.getLogger(__name__)

FIRST_PARTS = 28  # at most; within a part, a missing and a gone recording cancel out, so more parts find more
FILL = 0.95  # of a page, so that a part with missing recordings still fits one
PART_ROWS = 20_000  # of a part that is compared id by id with --deep; its ids are held in memory
MOST_SEARCHES = 3  # of a span whose differences do not add up


@dataclass(frozen=True, slots=True)
class CountedSpan:
    """A span with its counts on both sides; those `expected` are loaded and not known to be gone."""

    window: Window
    api: int
    expected: int

    @property
    def surplus(self) -> int:
        """How many more recordings the API has; negative where it has fewer."""
        return self.api - self.expected


@dataclass(frozen=True, slots=True)
class Difference:
    """A span in which both sides differ.

    `gone` ids are loaded and not in the API's list, `returned` ones are tombstoned and in it again; `windows`
    were read to compare ids, and are empty where only counts are known. `known_gap`: the API counts other
    recordings than it lists, so that no reading adds up. `uncounted` ids are in the API's list and not
    missing: they were erased here for good, or are loaded with a `start` outside of the span, as listed.
    """

    owner: ListOwner
    window: Window
    api: int
    counts: LoadedCounts
    missing: frozenset[RowId] = frozenset()
    gone: frozenset[RowId] = frozenset()
    returned: frozenset[RowId] = frozenset()
    windows: tuple[ReadWindow[PageRows], ...] = field(default=(), repr=False)
    known_gap: bool = False
    uncounted: frozenset[RowId] = frozenset()

    @property
    def surplus(self) -> int:
        """How many more recordings the API has: by id where ids were compared, else by count."""
        if not self.windows:
            return self.api - self.counts.expected
        return len(self.missing) + len(self.returned) + len(self.uncounted) - len(self.gone)

    @property
    def matters(self) -> bool:
        """Whether it is more than recordings that are rightly not counted."""
        return bool(self.lacking or self.excess or self.known_gap)

    @property
    def lacking(self) -> int:
        """How many recordings of the API are not loaded, or tombstoned."""
        return len(self.missing) + len(self.returned) if self.windows else max(0, self.surplus)

    @property
    def excess(self) -> int:
        """How many loaded recordings the API does not list."""
        return len(self.gone) if self.windows else max(0, -self.surplus)


class SpanComparison:
    """Compares spans of the lists of one endpoint.

    With `read_all` it compares ids also where that takes many requests, as a repair must.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        reader: ListReader,
        inventory: Inventory,
        pool: RequestPool,
        now: datetime,
        read_all: bool,
    ) -> None:
        self._endpoint, self._reader, self._inventory = endpoint, reader, inventory
        self._pool, self._now, self._read_all = pool, now, read_all
        # VBC keeps call logs for a while, and answers nothing about a single one: those that are gone stay
        self._keeps = bool(endpoint.shape.legs)

    def count(self, owner: ListOwner, window: Window) -> Page[PageRows]:
        """Request how many recordings the API has in a span."""
        return self._reader.count(self._endpoint, owner, window, self._pool.stopped)

    def measure(self, owner: ListOwner, window: Window) -> CountedSpan:
        """Count a span on both sides."""
        # the destination first: what a sync loads meanwhile must not look like a deletion
        expected = self._count_loaded(owner, window).expected
        return CountedSpan(window, self.count(owner, window).total_items, expected)

    def agrees(self, owner: ListOwner, window: Window, *, recent: bool) -> bool:
        """Count a span again, and return whether both sides agree."""
        surplus = self.measure(owner, window).surplus
        # in a recent span, what is missing waits for the next sync
        return surplus == 0 or (surplus > 0 if recent else self._keeps and surplus < 0)

    def search(self, owner: ListOwner, span: CountedSpan) -> tuple[list[Difference], bool]:
        """Find where a span differs, and whether that adds up to the difference of the whole span."""
        for _ in range(MOST_SEARCHES):
            if not span.surplus or (self._keeps and span.surplus < 0):
                return [], True
            differences = list(self._compare_parts(owner, self._locate(owner, span)))
            adds_up = sum(difference.surplus for difference in differences) == span.surplus
            # a known gap adds up in no reading: counting again would not help
            if adds_up or any(difference.known_gap for difference in differences):
                return [difference for difference in differences if difference.matters], True
            log.info("%s of %s: the counts do not add up; counting again", self._endpoint.name, owner)
            span = self.measure(owner, span.window)
        return differences, False

    def search_deep(self, owner: ListOwner, span: CountedSpan) -> list[Difference]:
        """Compare the ids of a whole span, part by part."""
        differences = self._compare_parts(owner, self._divide(owner, span))
        return [difference for difference in differences if difference.matters]

    def _divide(self, owner: ListOwner, span: CountedSpan) -> list[CountedSpan]:
        """Cut a span into parts that are all read; their counts do not matter."""
        rows = max(span.api, span.expected)
        parts = ceil(rows / self._page_rows / FILL)
        # all of so many pages is read anyway: then in parts whose ids fit into memory
        parts = parts if parts <= FIRST_PARTS else ceil(rows / PART_ROWS)
        (cuts,) = self._inventory.find_cuts(owner, [span.window], parts) if parts > 1 else [[]]
        bounds = [span.window.start, *cuts, span.window.end]
        return [CountedSpan(Window(*pair), 0, 0) for pair in pairwise(bounds)]

    def _locate(self, owner: ListOwner, span: CountedSpan) -> list[CountedSpan]:
        """Cut a span until each part that differs is worth reading; oldest first."""
        if span.api / self._page_rows / FILL <= FIRST_PARTS:
            return self._divide(owner, span)  # reading all of it takes fewer requests than searching
        located: list[CountedSpan] = []
        todo, parts = [span], choose_parts(span.api / self._page_rows)
        while todo:
            located += [part for part in todo if not self._is_coarse(part)]
            coarse = [part for part in todo if self._is_coarse(part)]
            todo = [part for part in self._cut(owner, coarse, parts) if part.surplus]
            parts = 2
        return sorted(located, key=lambda part: part.window)

    @property
    def _page_rows(self) -> int:
        return self._reader.page_rows(self._endpoint)

    def _is_coarse(self, span: CountedSpan) -> bool:
        """Return whether searching parts of a span is cheaper than reading all of it."""
        pages = span.api / self._page_rows
        # with a difference a page or more, hardly a part could be left out
        return span.window.divisible and pages > 1 and abs(span.surplus) < pages

    def _cut(self, owner: ListOwner, spans: Sequence[CountedSpan], parts: int) -> list[CountedSpan]:
        """Cut spans into parts, and count each part on both sides."""
        if not spans:
            return []
        windows = [span.window for span in spans]
        cuts = [
            # where too little is loaded to cut by it, cut by time
            cut or [part.end for part in window.split(parts)[:-1]]
            for window, cut in zip(windows, self._inventory.find_cuts(owner, windows, parts), strict=True)
        ]
        # all from the start of the span: bounds are inclusive, so two parts would both count a cut's second
        heads = [
            Window(window.start, moment)
            for window, moments in zip(windows, cuts, strict=True)
            for moment in moments
        ]
        loaded = self._inventory.count(heads).get(owner, [LoadedCounts()] * len(heads)) if heads else []
        totals = self._pool.executor.map(lambda head: self.count(owner, head).total_items, heads)
        counted = iter(
            CountedSpan(head, total, counts.expected)
            for head, total, counts in zip(heads, totals, loaded, strict=True)
        )
        return [
            part
            for span, moments in zip(spans, cuts, strict=True)
            for part in subtract_heads(span, [next(counted) for _ in moments])
        ]

    def _compare_parts(self, owner: ListOwner, parts: Sequence[CountedSpan]) -> Iterator[Difference]:
        """Compare parts of a span; yield those that differ."""
        # neighbours share their boundary second, whose recordings must be reported once
        missing: set[RowId] = set()
        gone: set[RowId] = set()
        uncounted: set[RowId] = set()
        for part in parts:
            if self._read_all or part.api <= self._page_rows:
                compared = self._compare_ids(owner, part.window)
                difference = replace(
                    compared,
                    missing=compared.missing - missing,
                    gone=compared.gone - gone,
                    returned=compared.returned - missing,
                    uncounted=compared.uncounted - uncounted,
                )
            else:
                counts = self._count_loaded(owner, part.window)
                total = self.count(owner, part.window).total_items
                difference = Difference(owner, part.window, total, counts)
            missing |= difference.missing | difference.returned
            gone |= difference.gone
            uncounted |= difference.uncounted
            if difference.matters or difference.uncounted:
                yield difference
            yield from self._count_gaps(owner, difference.windows)

    def _count_gaps(self, owner: ListOwner, windows: Sequence[ReadWindow[PageRows]]) -> Iterator[Difference]:
        """Yield the spans of a part that do not add up, as far as counts differ there."""
        gaps: list[Window] = []
        for read in windows:
            if not read.is_proven:
                # one span: neighbours share a second, which would be counted twice
                joins = bool(gaps) and gaps[-1].end == read.window.start
                start = gaps.pop().start if joins else read.window.start
                gaps.append(Window(start, read.window.end))
        for window in gaps:
            counts, total = self._count_loaded(owner, window), self.count(owner, window).total_items
            difference = Difference(owner, window, total, counts, known_gap=True)
            if difference.surplus:
                yield difference

    def _count_loaded(self, owner: ListOwner, window: Window) -> LoadedCounts:
        return self._inventory.count([window]).get(owner, [LoadedCounts()])[0]

    def _compare_ids(self, owner: ListOwner, window: Window) -> Difference:
        """Read a span, proven complete, and compare its ids with those that are loaded."""
        # the destination first: what a sync loads meanwhile must not look gone
        loaded = self._inventory.read_ids(owner, window)
        task = ReadTask(owner, window=window)
        windows = tuple(self._reader.scan(self._endpoint, task, self._now, self._pool))
        privacy = self._reader.config.pii_policy
        listed = {
            id_
            for read in windows
            for id_ in read_row_ids([page.rows for page in read.pages], self._endpoint.shape, privacy)
        }
        unknown = listed - loaded.keys()
        # a recording that is loaded with another `start` counts as missing here, so it is loaded again
        loaded |= {id_: gone for id_, gone in self._inventory.find_ids(owner, unknown).items() if gone}
        returned = frozenset(id_ for id_, gone in loaded.items() if gone and id_ in listed)
        hidden = {
            id_
            for read in windows
            if not read.is_proven  # what is not listed there may still exist
            for id_ in self._inventory.read_ids(owner, read.window)
        }
        absent = loaded.keys() - listed - hidden
        vanished = frozenset(id_ for id_ in absent if not loaded[id_] and not self._keeps)
        erased = self._inventory.read_erased(owner) & unknown
        if erased:
            log.warning(
                "VBC lists %d recording(s) of %s that were erased: run vbc forget again", len(erased), owner
            )
        # listed here with a `start` of another time, or an unreadable one: loaded as such, it is not missing
        outside = {
            id_
            for read in windows
            for page in read.pages
            for id_, second in page.seconds().items()
            if second is None or not window.holds(second)
        }
        astray = self._inventory.find_ids(owner, unknown & outside).keys() - returned
        missing = frozenset(unknown - returned - erased - astray)
        differs = missing or vanished or returned
        counts = self._count_loaded(owner, window) if differs else LoadedCounts()
        return Difference(
            owner,
            window,
            len(listed),
            counts,
            missing,
            vanished,
            returned,
            windows,
            uncounted=erased | astray,
        )


def choose_parts(pages: float) -> int:
    """Return into how many parts to cut a span of so many pages: halves of halves of a part fit one page."""
    halvings = max(0, ceil(log2(pages / FILL / FIRST_PARTS)))
    return max(2, ceil(pages / FILL / (1 << halvings)))


def subtract_heads(span: CountedSpan, heads: Sequence[CountedSpan]) -> Iterator[CountedSpan]:
    """Yield the counted parts of a span; `heads` lead from its start to the end of each part but the last."""
    start, api, expected = span.window.start, 0, 0
    for head in [*heads, span]:
        yield CountedSpan(Window(start, head.window.end), head.api - api, head.expected - expected)
        start, api, expected = head.window.end, head.api, head.expected
