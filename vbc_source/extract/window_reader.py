"""Reads the pages of a window and proves that nothing is missing, or reads the window again.

A window is complete when every page states the same `total_items` and the pages together hold that many
distinct ids. Nothing else is trusted: not `order`, not the page base, not links, not that rows keep their
places. A window that changed is read again in smaller pieces, in the end one answer each.

One change escapes this rule: one recording is deleted and another arrives between two requests. A row that
moved across the page boundary is then lost although the counts agree. Recordings arrive only in recent
time, so recent windows are split until a single answer holds each. Older windows can only lose rows, which
shows in `total_items`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from math import ceil
from typing import Any, Generic

from vbc_source.api.endpoints import ApiCapabilities
from vbc_source.errors import BadRequest, IncompleteWindow, NotFound
from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import SECOND, Window, floor_second

log = logging.getLogger(__name__)

Fetch = Callable[[Window, int, int], Page[Rows]]

SMALLER_PAGES = (100, 10)  # to request when a page size is refused; 10 is the API's default
WINDOW_ROWS, WINDOW_PAGES = 60_000, 100  # a settled window with more is split
FILL = 0.6  # how full the pieces should be: calls are not spread evenly
MAX_REPAIRED_SECONDS = 5  # torn seconds of a window to read by themselves; with more, the window is split
MAX_ATTEMPTS = 12  # readings of a span that cannot be split any more
SEPARATE_ATTEMPTS = 3  # readings of one recent second before their pages are combined
PREFETCHED_WINDOWS = 4  # whose first page is requested in advance


@dataclass(frozen=True, slots=True)
class ProvenWindow(Generic[Rows]):
    """A window that was read and proven complete.

    Attributes:
        window: The span.
        pages: Its pages; they hold `total_items` distinct ids, some of them twice.
        total_items: How many rows the server reports.
        requests: Requests spent since the previous window was proven.
        attempts: Readings that this span needed; 1 where nothing changed meanwhile.
    """

    window: Window
    pages: tuple[Page[Rows], ...]
    total_items: int
    requests: int
    attempts: int


class WindowAttempt(Generic[Rows]):
    """The pages of one reading of a window."""

    def __init__(self, first: Page[Rows], earlier: Iterable[Page[Rows]] = ()) -> None:
        self.total = first.total_items
        self.pages: list[Page[Rows]] = []
        self.ids: set[int] = set()  # the distinct ids of all pages
        self.agreed = True
        self.take(first)
        for page in earlier:
            if page.total_items == self.total:
                self.take(page)

    def take(self, page: Page[Rows]) -> None:
        """Add the rows of a page, whatever total it reports."""
        self.pages.append(page)
        self.ids.update(page.ids)

    def add(self, page: Page[Rows] | None) -> bool:
        """Add a page, or None for a page that does not exist; return False where totals disagree."""
        if page is not None:
            self.take(page)
            self.agreed = self.agreed and page.total_items == self.total
        return self.agreed

    @property
    def complete(self) -> bool:
        """Whether all pages agree and hold as many distinct ids as the server reports."""
        return self.agreed and len(self.ids) == self.total

    def torn_seconds(self) -> list[int]:
        """Return seconds with a row on two pages: equal starts have no fixed order, so one may be lost."""
        seen: set[int] = set()
        torn: set[int | None] = set()
        for page in self.pages:
            seconds = page.seconds()
            torn |= {seconds[id_] for id_ in seconds.keys() & seen}
            seen |= seconds.keys()
        return sorted(second for second in torn if second is not None)


class WindowReader(Generic[Rows]):
    """Reads the windows of one list.

    It may itself run in a thread of the pool: a request that no thread has started is sent by the reader,
    so that readers which occupy all threads never wait for each other. No new recording is expected to start
    before `settled_before`; `capabilities` are shared with other lists, and updated.
    """

    def __init__(
        self,
        fetch: Fetch[Rows],
        capabilities: ApiCapabilities,
        pool: ThreadPoolExecutor,
        settled_before: datetime,
    ) -> None:
        self._fetch, self._pool, self.capabilities = fetch, pool, capabilities
        self._settled_before = floor_second(settled_before)
        # by window: page number, page size, and the page
        self._prefetched: dict[Window, tuple[int, int, Future[Page[Rows]]]] = {}
        self._requests = 0

    def read(self, window: Window) -> Generator[ProvenWindow[Rows], None, None]:
        """Read a span and yield its proven windows, oldest first; large ones are split."""
        try:
            earlier: list[Page[Rows]] = []  # of an indivisible second: each reading finds other rows of it
            todo = [(window, 1, 1)]
            while todo:
                part, attempt, same = todo.pop()  # `same`: how often this very span was read
                first = self._first_page(part)
                if pieces := self._split(part, first):
                    todo += reversed([(piece, attempt, 1) for piece in pieces])
                self._prefetch(window for window, *_ in reversed(todo))
                if pieces:
                    continue
                reading = self._read_pages(part, WindowAttempt(first, earlier))
                earlier = []
                if reading.complete:
                    yield ProvenWindow(part, tuple(reading.pages), reading.total, self._requests, attempt)
                    self._requests = 0
                    continue
                pieces = self._smaller(part, attempt, reading)
                same = same + 1 if pieces == [part] else 1
                self._check_attempts(part, same - 1, reading)
                settled = part.end < self._settled_before
                if reading.agreed and not part.divisible and (settled or same > SEPARATE_ATTEMPTS):
                    earlier = reading.pages
                todo += reversed([(piece, attempt + 1, same) for piece in pieces])
        finally:
            for *_, page in self._prefetched.values():
                page.cancel()
            self._prefetched.clear()

    def _prefetch(self, windows: Iterable[Window]) -> None:
        """Request the first pages of the next windows, so that no thread idles between two windows."""
        for window in islice(windows, PREFETCHED_WINDOWS):
            if window not in self._prefetched:
                number, size = self.capabilities.first, self.capabilities.page_size
                page = self._pool.submit(self._fetch, window, number, size)
                self._prefetched[window] = number, size, page

    def _first_page(self, window: Window) -> Page[Rows]:
        """Request a window's first page, and find out how the server counts pages and what size it allows."""
        first = self._page_as_allowed(window)
        self.capabilities.full = max(self.capabilities.full, first.count)
        if self.capabilities.page_base is not None or not self._is_short(first):
            return first
        if self._probe(window, 2):
            self.capabilities.page_size = max(1, first.count)  # capped without notice
            return first
        return self._page_zero(window) or first

    def _page_zero(self, window: Window) -> Page[Rows] | None:
        """Request page 0; where it has rows, the server counts from 0."""
        page = self._probe(window, 0)
        if page:
            self.capabilities.page_base = 0
        return page

    def _page_as_allowed(self, window: Window) -> Page[Rows]:
        while True:
            known = self.capabilities.first, self.capabilities.page_size
            try:
                return self._take_prefetched(window) or self._page(window, self.capabilities.first)
            except (BadRequest, NotFound) as fault:
                if known != (self.capabilities.first, self.capabilities.page_size):
                    continue  # another list has found out meanwhile how to ask
                missing = isinstance(fault, NotFound)
                if self.capabilities.page_base is None or (missing and self.capabilities.page_base):
                    # a server that counts from 0 may answer so to the page behind a single one
                    self._requests += 1
                    if first := self._page_if_any(window, 0):
                        self.capabilities.page_base = 0
                        return first
                smaller = [size for size in SMALLER_PAGES if size < self.capabilities.page_size]
                if missing or not smaller:
                    raise
                log.warning("page_size %d was refused: set it to %d", self.capabilities.page_size, smaller[0])
                self.capabilities.page_size, self.capabilities.full = smaller[0], 0

    def _take_prefetched(self, window: Window) -> Page[Rows] | None:
        """Return a window's first page where it was requested in the way it would be requested now."""
        if window not in self._prefetched:
            return None
        number, size, page = self._prefetched.pop(window)
        if page.cancel():
            return None
        self._requests += 1
        known = self.capabilities.first, self.capabilities.page_size
        return page.result() if known == (number, size) else None

    def _page(self, window: Window, number: int) -> Page[Rows]:
        self._requests += 1
        return self._fetch(window, number, self.capabilities.page_size)

    def _page_if_any(self, window: Window, number: int) -> Page[Rows] | None:
        """Request a page; None where the server refuses a page behind the last one, as some do."""
        try:
            return self._fetch(window, number, self.capabilities.page_size)
        except (BadRequest, NotFound):
            return None

    def _is_short(self, first: Page[Rows]) -> bool:
        """Whether a first page has fewer rows than it should: it is not the first, or it is capped."""
        size = self.capabilities.page_size
        return first.count < min(first.total_items, first.page_size or size, size)

    def _probe(self, window: Window, number: int) -> Page[Rows] | None:
        """Request a page that may not exist; None where it does not, or has no rows."""
        self._requests += 1
        page = self._page_if_any(window, number)
        return page if page and page.count else None

    def _split(self, window: Window, first: Page[Rows]) -> Sequence[Window]:
        """Split a window that is too large to be read at once; empty where it is not."""
        if first.total_items <= first.count or not first.count or not window.divisible:
            return []
        most = min(WINDOW_ROWS, WINDOW_PAGES * first.count)
        if window.end >= self._settled_before:
            settled = self._settled_before - SECOND  # in the second itself a recording may still appear
            if settled - window.start > window.end - settled > SECOND:
                return [
                    *_split_evenly(Window(window.start, settled), first, most),
                    Window(settled, window.end),
                ]
            if edge := _find_edge(window, first):
                return [Window(window.start, edge), Window(edge, window.end)]
            most = first.count
        return _split_evenly(window, first, most) if first.total_items > most else []

    def _read_pages(self, window: Window, reading: WindowAttempt[Rows]) -> WindowAttempt[Rows]:
        first = reading.pages[0]
        if reading.complete:
            if self.capabilities.page_base is None and first.count:
                self.capabilities.page_base = 1
            return reading
        if self._is_broken(first):
            self.capabilities.page_base = None  # it may not be the first page after all: find out again
            return reading
        base, pages = self.capabilities.first, ceil(reading.total / first.count)
        if not self._read_rest(window, reading, range(base + 1, base + pages)) or reading.complete:
            if reading.complete:
                self.capabilities.page_base = base
            return reading
        if self.capabilities.page_base is None and pages > 1:
            if self._probe(window, base + pages - 1):
                self.capabilities.page_base = 1
            else:
                reading.add(self._page_zero(window))
        if reading.agreed and not reading.complete:
            self._repair(window, reading)
        return reading

    def _is_broken(self, first: Page[Rows]) -> bool:
        """Whether a first page lacks rows: there are more, and pages of this server hold more."""
        full = self.capabilities.full
        return not first.count or first.count < min(first.total_items, full, first.page_size or full)

    def _read_rest(self, window: Window, reading: WindowAttempt[Rows], numbers: Iterable[int]) -> bool:
        """Read further pages in parallel; stop early, with False, when the window has changed."""
        waiting = {number: self._pool.submit(self._page_if_any, window, number) for number in numbers}
        self._requests += len(waiting)
        try:
            while waiting:
                number = min(waiting, key=lambda number: _rank(waiting[number]))
                page = waiting.pop(number)
                # all threads may be readers that wait for pages: a page in the queue is read here instead
                if not reading.add(self._page_if_any(window, number) if page.cancel() else page.result()):
                    return False
            return True
        finally:
            self._requests -= sum(page.cancel() for page in waiting.values())

    def _repair(self, window: Window, reading: WindowAttempt[Rows]) -> None:
        """Read torn seconds again, each by itself: one answer holds all its rows."""
        torn = reading.torn_seconds() if window.divisible else []
        for second in torn if len(torn) <= MAX_REPAIRED_SECONDS else ():
            moment = datetime.fromtimestamp(second, timezone.utc)
            page = self._page(Window(moment, min(moment + SECOND, window.end)), self.capabilities.first)
            if page.count == page.total_items:
                reading.take(page)

    def _smaller(self, window: Window, attempt: int, reading: WindowAttempt[Rows]) -> list[Window]:
        """Halve a window that changed; at the next change, split it so that one answer holds a piece."""
        size = max(page.count for page in reading.pages)
        if len(reading.pages) == 1 or not window.divisible:
            return [window]
        return window.split(2 if attempt == 1 else max(2, ceil(reading.total / (FILL * max(size, 1)))))

    def _check_attempts(self, window: Window, attempts: int, reading: WindowAttempt[Rows]) -> None:
        found = len(reading.ids)
        log.info("%s changed while it was read (%d of %d recordings)", window, found, reading.total)
        if attempts >= MAX_ATTEMPTS:
            raise IncompleteWindow(
                f"the window {window} was read {attempts} times and never added up: the API reports "
                f"{reading.total} recordings, the last reading returned {found}. No row of it was loaded; "
                "run again later, and report the window to Vonage if this persists"
            )


def _rank(page: Future[Any]) -> int:
    """Order pages: those received, then those that no thread has started, then those in flight."""
    return 0 if page.done() else 2 if page.running() else 1


def _split_evenly(window: Window, first: Page[Rows], most: int) -> Sequence[Window]:
    """Split a window by the total that its first page reports; return it whole where that is small enough.

    Of pieces with many pages the last is halved: nothing is left to request while it is written.
    """
    if first.total_items <= most:
        return [window]
    *pieces, last = window.split(ceil(first.total_items / (FILL * most)))
    return [*pieces, *last.split(2 if most > first.count else 1)]


def _find_edge(window: Window, first: Page[Rows]) -> datetime | None:
    """Return the second that a first page in ascending order certainly reaches; None without an order."""
    seconds = [second for second in first.seconds().values() if second is not None]
    if not seconds or len(seconds) < first.count or seconds != sorted(seconds):
        return None
    edge = datetime.fromtimestamp(seconds[-1] - 1, timezone.utc)
    return edge if window.start < edge < window.end else None
