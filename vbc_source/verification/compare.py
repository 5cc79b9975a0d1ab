"""Compares one list at the API with what is loaded of it: first counts, then ids where counts differ.

A span that differs is cut where the loaded rows divide evenly, and the API is asked, with requests of
one row, how many it has from the span's beginning up to each cut. What a part differs by follows from
two such counts, so no part is asked for twice, and no second is counted in two parts. Parts that one
answer holds are read, proven complete, and compared id by id.

What is found must add up to the difference of the whole span; else a count was wrong, or something has
moved meanwhile, and the span is measured and searched again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from math import ceil, log2

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.lists import ListOwner, ListReader, ReadTask
from vbc_source.extract.request_pool import RequestPool
from vbc_source.extract.window_reader import ProvenWindow
from vbc_source.schema.pages import Page, PageRows
from vbc_source.verification.inventory import Inventory, LoadedCounts
from vbc_source.windows import Window

log = logging.getLogger(__name__)

FIRST_PARTS = 28  # of a span that differs, at most: in each, differences that cancel out stay unseen
FILL = 0.95  # how full the parts are that one answer is to hold: it holds what is missing, too
PART_ROWS = 20_000  # rows of a part that is compared id by id with --deep
MOST_SEARCHES = 3  # of a span whose differences do not add up


@dataclass(frozen=True, slots=True)
class CountedPart:
    """A part of a span, and how many rows it has on both sides.

    Attributes:
        window: the part.
        api: how many the API says.
        expected: how many are loaded and not known to be gone.
    """

    window: Window
    api: int
    expected: int

    @property
    def surplus(self) -> int:
        """How many more the API has."""
        return self.api - self.expected


@dataclass(frozen=True, slots=True)
class Difference:
    """A part in which both sides differ.

    Attributes:
        place: of which list.
        window: which part of it.
        api: how many recordings the API says it has.
        tally: what is loaded of it.
        missing: ids that are not loaded.
        gone: ids that are loaded, and not in the API's list.
        returned: ids that are tombstoned, and in the API's list again.
        proofs: what was read of it, where ids were compared; where not, the counts alone are known.
    """

    place: ListOwner
    window: Window
    api: int
    tally: LoadedCounts
    missing: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    returned: frozenset[int] = frozenset()
    proofs: tuple[ProvenWindow[PageRows], ...] = field(default=(), repr=False)

    @property
    def surplus(self) -> int:
        """How many more the API has, as far as that is known by id; else by count."""
        if not self.proofs:
            return self.api - self.tally.expected
        return len(self.missing) + len(self.returned) - len(self.gone)

    @property
    def lacking(self) -> int:
        """How many recordings the API has that do not count as loaded here."""
        known = len(self.missing) + len(self.returned)
        return known if self.proofs else max(0, self.surplus)

    @property
    def excess(self) -> int:
        """How many are loaded that the API does not list."""
        return len(self.gone) if self.proofs else max(0, -self.surplus)


class ListComparison:
    """Compares the lists of one endpoint.

    Args:
        endpoint: of which sort.
        reader: asks the API.
        inventory: asks the destination.
        session: the threads that ask the API.
        now: when the run began.
        read_all: whether to compare ids also where that takes many requests, as a repair must.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        reader: ListReader,
        inventory: Inventory,
        session: RequestPool,
        now: datetime,
        read_all: bool,
    ) -> None:
        self._endpoint, self._reader, self._inventory = endpoint, reader, inventory
        self._session, self._now, self._read_all = session, now, read_all

    def count(self, place: ListOwner, window: Window) -> Page[PageRows]:
        """Ask the API how many recordings a span has.

        Raises:
            GatewayFault: the gateway's last word.
        """
        return self._reader.count(self._endpoint, place, window, self._session.stopped)

    def measure(self, place: ListOwner, window: Window) -> CountedPart:
        """Count a span on both sides, the destination first: what is loaded meanwhile is no deletion."""
        expected = self._tally(place, window).expected
        return CountedPart(window, self.count(place, window).total_items, expected)

    def search(self, root: CountedPart, place: ListOwner) -> tuple[list[Difference], bool]:
        """Find out where a span differs.

        Returns:
            The differences, and whether they add up to the difference of the whole.
        """
        for _ in range(MOST_SEARCHES):
            if not root.surplus:
                return [], True
            found = list(self._compare_all(place, self._locate(place, root)))
            if sum(difference.surplus for difference in found) == root.surplus:
                return found, True
            log.info("%s of %s: the counts do not add up; counting again", self._endpoint.name, place)
            root = self.measure(place, root.window)
        return found, False

    def search_deep(self, root: CountedPart, place: ListOwner) -> list[Difference]:
        """Compare the ids of a whole span, part by part."""
        return list(self._compare_all(place, self._divide(place, root)))

    def _divide(self, place: ListOwner, root: CountedPart) -> list[CountedPart]:
        """Cut a span into parts to be read, all of them."""
        rows = max(root.api, root.expected)
        parts = ceil(rows / self._page_rows / FILL)
        parts = parts if parts <= FIRST_PARTS else ceil(rows / PART_ROWS)
        (cuts,) = self._inventory.cut(place, [root.window], parts) if parts > 1 else [[]]
        bounds = [root.window.start, *cuts, root.window.end]
        return [CountedPart(Window(*pair), 0, 0) for pair in pairwise(bounds)]

    def _locate(self, place: ListOwner, root: CountedPart) -> list[CountedPart]:
        """Cut a span until each part that differs is worth reading; oldest first."""
        if root.api / self._page_rows / FILL <= FIRST_PARTS:
            return self._divide(place, root)  # to read all of it takes fewer requests
        found: list[CountedPart] = []
        todo, parts = [root], _choose_parts(root.api / self._page_rows)
        while todo:
            found += [piece for piece in todo if not self._is_coarse(piece)]
            coarse = [piece for piece in todo if self._is_coarse(piece)]
            todo = [part for part in self._cut(place, coarse, parts) if part.surplus]
            parts = 2
        return sorted(found, key=lambda piece: piece.window)

    @property
    def _page_rows(self) -> int:
        return self._reader.page_rows(self._endpoint)

    def _is_coarse(self, piece: CountedPart) -> bool:
        """Whether it is cheaper to look for what differs in parts of a piece than to read all of it."""
        pages = piece.api / self._page_rows
        return piece.window.divisible and pages > 1 and abs(piece.surplus) < pages

    def _cut(self, place: ListOwner, pieces: Sequence[CountedPart], parts: int) -> list[CountedPart]:
        if not pieces:
            return []
        windows = [piece.window for piece in pieces]
        cuts = [
            cut or [part.end for part in window.split(parts)[:-1]]
            for window, cut in zip(windows, self._inventory.cut(place, windows, parts), strict=True)
        ]
        heads = [
            Window(window.start, moment) for window, cut in zip(windows, cuts, strict=True) for moment in cut
        ]
        tallies = self._inventory.tally(heads).get(place, [LoadedCounts()] * len(heads)) if heads else []
        totals = self._session.pool.map(lambda head: self.count(place, head).total_items, heads)
        counted = iter(zip(heads, totals, tallies, strict=True))
        return [
            part
            for piece, cut in zip(pieces, cuts, strict=True)
            for part in _part(piece, [next(counted) for _ in cut])
        ]

    def _compare_all(self, place: ListOwner, pieces: Sequence[CountedPart]) -> Iterator[Difference]:
        missing: set[int] = set()  # neighbours share their boundary second
        gone: set[int] = set()
        for piece in pieces:
            if self._read_all or piece.api <= self._page_rows:
                found = self._compare(place, piece.window)
                found = replace(
                    found,
                    missing=found.missing - missing,
                    gone=found.gone - gone,
                    returned=found.returned - missing,
                )
            else:
                found = self._count_only(place, piece.window)
            missing |= found.missing | found.returned
            gone |= found.gone
            if found.lacking or found.excess:
                yield found

    def _count_only(self, place: ListOwner, window: Window) -> Difference:
        tally = self._tally(place, window)
        return Difference(place, window, self.count(place, window).total_items, tally)

    def _tally(self, place: ListOwner, window: Window) -> LoadedCounts:
        return self._inventory.tally([window]).get(place, [LoadedCounts()])[0]

    def _compare(self, place: ListOwner, window: Window) -> Difference:
        loaded = self._inventory.ids(place, window)
        history = ReadTask(place, window=window)
        proofs = tuple(self._reader.scan(self._endpoint, history, self._now, self._session))
        listed = {id_ for proof in proofs for page in proof.pages for id_ in page.ids}
        unknown = listed - loaded.keys()
        # what is loaded with another `start` is missing here, and loaded anew
        loaded |= {id_: gone for id_, gone in self._inventory.find(place, unknown).items() if gone}
        returned = frozenset(id_ for id_, gone in loaded.items() if gone and id_ in listed)
        vanished = frozenset(id_ for id_, gone in loaded.items() if not gone and id_ not in listed)
        missing = frozenset(unknown - returned)
        tally = self._tally(place, window) if missing or vanished or returned else LoadedCounts()
        return Difference(place, window, len(listed), tally, missing, vanished, returned, proofs)


def _choose_parts(pages: float) -> int:
    """Into how many parts to cut a span of so many pages first: halves of halves of them fit one page."""
    halvings = max(0, ceil(log2(pages / FILL / FIRST_PARTS)))
    return max(2, ceil(pages / FILL / (1 << halvings)))


def _part(piece: CountedPart, heads: Sequence[tuple[Window, int, LoadedCounts]]) -> Iterator[CountedPart]:
    """Give the parts of a piece, of which everything up to the end of each, but the last, was counted."""
    begin, api, expected = piece.window.start, 0, 0
    for head, total, tally in heads:
        yield CountedPart(Window(begin, head.end), total - api, tally.expected - expected)
        begin, api, expected = head.end, total, tally.expected
    yield CountedPart(Window(begin, piece.window.end), piece.api - api, piece.expected - expected)
