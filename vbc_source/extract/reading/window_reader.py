"""Reads the pages of a window until they add up (`window_attempt`), or gives it up as a known gap.

Nothing is trusted but `total_items` and ids: not `order`, not the page base, not links, not that rows keep
their places. A window that changed is read again in smaller pieces, in the end one response each.

A window may never add up: the API lists a recording twice, or counts one that it does not list. Then smaller
pieces are read until the second is found; it is returned as not proven, with the rows that were found, and
reading goes on after it. What that costs is bounded: after `MAX_LOCATED` such seconds, `MAX_FRUITLESS` in a
row, or `MAX_EMPTY` readings without a row, larger windows are returned as not proven, and after
`MAX_UNPROVEN` in a row the rest of the span is.

One change does not show in the counts: one recording is deleted and another arrives between two requests. A
row that moved across the page boundary is then lost although the counts agree. Recordings arrive only in
recent time, so recent windows are split until a single response holds each. Older windows can only lose rows,
which shows in `total_items`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from math import ceil
from typing import Any, Generic

from vbc_source.api.endpoints import ApiCapabilities
from vbc_source.errors import BadRequest, NotFound
from vbc_source.extract.reading.window_attempt import ReadWindow, WindowAttempt
from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import SECOND, Window, floor_second

log = logging.getLogger(__name__)

Fetch = Callable[[Window, int, int], Page[Rows]]

SMALLER_PAGES = (100, 10)  # to request when a page size is refused; 10 is the API's default
WINDOW_ROWS, WINDOW_PAGES = 60_000, 100  # a settled window with more is split
FILL = 0.6  # how full the pieces should be: calls are not spread evenly
MAX_REPAIRED_SECONDS = 5  # torn seconds of a window to read by themselves; with more, the window is split
MAX_ATTEMPTS = 12  # readings of a span that cannot be split any more
SETTLED_ATTEMPTS = 3  # the same, of a span in which nothing new appears, or of one that is not to be split
SEPARATE_ATTEMPTS = 3  # readings of one recent second before their pages are combined
PREFETCHED_WINDOWS = 4  # whose first page is requested in advance
MAX_ITEMS = 100_000_000  # rows of a window; a larger total is an error of the server
MAX_PIECES = 5_000  # of a window that is split at once; a piece that is still too large is split again
FEW_PIECES = 4  # the same, where requests are limited
MAX_LOCATED = 20  # unproven spans to find to the second
MAX_FRUITLESS = 10  # unproven spans in a row, after which each other window is read once
MAX_EMPTY = 60  # readings in a row that count rows and list none: a search for one second needs fewer
MAX_UNPROVEN = 1_000  # unproven spans in a row, after which the rest is not read


@dataclass(frozen=True, slots=True)
class _Part:
    """A span to read; `same` counts how often this very span is read, `attempt` its larger ones too."""

    window: Window
    attempt: int = 1
    same: int = 1


class WindowReader(Generic[Rows]):
    """Reads the windows of one list.

    It may itself run in a thread of the pool: a request that no thread has started is sent by the reader,
    so that readers which occupy all threads never wait for each other. No new recording is expected to start
    before `settled_before`; `capabilities` are shared with other lists, and updated. A settled window with
    more than `window_pages` pages is split.
    """

    def __init__(
        self,
        fetch: Fetch[Rows],
        capabilities: ApiCapabilities,
        pool: ThreadPoolExecutor,
        settled_before: datetime,
        window_pages: int = WINDOW_PAGES,
    ) -> None:
        self._fetch, self._pool, self.capabilities = fetch, pool, capabilities
        self._window_pages = window_pages
        # each empty piece costs a request: where those are limited, a span is searched in a few large steps
        self._pieces = MAX_PIECES if window_pages >= WINDOW_PAGES else FEW_PIECES
        self._settled_before = floor_second(settled_before)
        # by window: page number, page size, and the page
        self._prefetched: dict[Window, tuple[int, int, Future[Page[Rows]]]] = {}
        self._requests = 0
        self._unproven = self._fruitless = 0  # spans that were returned as not proven: all, and in a row
        self._empty = 0  # readings in a row without any row, although some are counted

    def read(self, window: Window) -> Generator[ReadWindow[Rows], None, None]:
        """Read a span and yield its windows, oldest first; large ones are split.

        Windows that never add up are yielded as not proven; together all windows cover the span.
        """
        self._unproven = self._fruitless = self._empty = 0
        try:
            earlier: list[Page[Rows]] = []  # of an indivisible second: each reading finds other rows of it
            todo = [_Part(window)]
            while todo:
                part = todo.pop()
                first = self._first_page(part.window)
                # a page of the whole span serves none of its pieces: with its total, a recording that is
                # deleted between two requests could hide one that moved
                if pieces := self._split(part.window, first):
                    # a stack, whose last part is read next: windows have to come oldest first
                    todo += reversed([_Part(piece, part.attempt) for piece in pieces])
                self._prefetch(part.window for part in reversed(todo))
                if pieces:
                    continue
                reading = self._read_pages(part.window, WindowAttempt(first, earlier))
                earlier, self._empty = [], 0 if reading.ids or not reading.total else self._empty + 1
                if reading.complete:
                    yield self._finish(part.window, part, reading)
                elif smaller := self._smaller(part, reading):
                    if reading.agreed and smaller == [part.window] and self._combines(part):
                        earlier = reading.pages
                    same = part.same + 1 if smaller == [part.window] else 1
                    todo += reversed([_Part(piece, part.attempt + 1, same) for piece in smaller])
                else:
                    todo = todo if self._fruitless < MAX_UNPROVEN else []
                    end = part.window.end if todo else window.end
                    yield self._finish(Window(part.window.start, end), part, reading)
        finally:
            # also where the caller stops between two windows, or a request has failed:
            # no request is left behind
            for *_, page in self._prefetched.values():
                page.cancel()
            self._prefetched.clear()

    def _finish(self, window: Window, part: _Part, reading: WindowAttempt[Rows]) -> ReadWindow[Rows]:
        """Return what was read of a window; what is not proven is logged."""
        proven, requests, pages = reading.complete, self._requests, tuple(reading.pages)
        self._requests = 0
        read = ReadWindow(window, pages, reading.total, requests, part.attempt, proven)
        self._fruitless = 0 if proven else self._fruitless + 1
        if not proven:
            self._unproven += 1
            log.info(
                "the window %s does not add up: the API counts %d, and lists %d",
                window,
                reading.total,
                read.found,
            )
        return read

    def _prefetch(self, windows: Iterable[Window]) -> None:
        """Request the first pages of the next windows, so that no thread idles between two windows."""
        # with a distant gateway this takes a tenth off the time
        for window in islice(windows, PREFETCHED_WINDOWS):
            if window not in self._prefetched:
                number, size = self.capabilities.first, self.capabilities.page_size
                page = self._pool.submit(self._fetch, window, number, size)
                self._prefetched[window] = number, size, page

    def _first_page(self, window: Window) -> Page[Rows]:
        """Request a window's first page, and find out how the server counts pages and what size it allows."""
        first = self._page_as_allowed(window)
        self.capabilities.accept_page_size()
        self.capabilities.full = max(self.capabilities.full, first.count)
        if self.capabilities.page_base is not None or not self._is_short(first):
            return first
        # some servers repeat the last page after it: that is no further page
        if first.count and (second := self._probe(window, 2)) and not _repeats(second, first.ids):
            self.capabilities.page_size = first.count  # capped without notice
            return first
        return self._page_zero(window, first) or first

    def _page_zero(self, window: Window, first: Page[Rows]) -> Page[Rows] | None:
        """Request page 0; where it has rows that page 1 has not, the server counts from 0."""
        page = self._probe(window, 0)
        if not page or _repeats(page, first.ids):
            return None
        self.capabilities.page_base = 0
        return page

    def _page_as_allowed(self, window: Window) -> Page[Rows]:
        while True:
            # as it is before the request: lists that are read side by side may change it meanwhile
            known = self.capabilities.first, self.capabilities.page_size
            try:
                return self._take_prefetched(window) or self._page(window, self.capabilities.first)
            except (BadRequest, NotFound) as fault:
                if self._has_learned_since(known):
                    continue
                missing = isinstance(fault, NotFound)
                if self.capabilities.page_base is None or (missing and self.capabilities.page_base):
                    # a server that counts from 0 may answer so to the page after a single one
                    self._requests += 1
                    if first := self._page_if_any(window, 0):
                        self.capabilities.page_base = 0
                        return first
                    if self._has_learned_since(known):
                        continue
                # a refusal does not name the size that is allowed
                smaller = [size for size in SMALLER_PAGES if size < known[1]]
                if missing or not smaller:
                    self.capabilities.restore_page_size()
                    raise
                log.warning("page_size %d was refused: set it to %d", known[1], smaller[0])
                self.capabilities.page_size, self.capabilities.full = smaller[0], 0

    def _has_learned_since(self, known: tuple[int, int]) -> bool:
        """Whether another list has found out meanwhile how to ask, so that a refusal says nothing."""
        return known != (self.capabilities.first, self.capabilities.page_size)

    def _take_prefetched(self, window: Window) -> Page[Rows] | None:
        """Return a window's first page where it was requested in the way it would be requested now."""
        if window not in self._prefetched:
            return None
        number, size, page = self._prefetched.pop(window)
        # no thread has begun it: the caller sends it, rather than wait for a thread of the pool
        if page.cancel():
            return None
        self._requests += 1
        known = self.capabilities.first, self.capabilities.page_size
        return page.result() if known == (number, size) else None

    def _page(self, window: Window, number: int) -> Page[Rows]:
        self._requests += 1
        return self._fetch(window, number, self.capabilities.page_size)

    def _page_if_any(self, window: Window, number: int) -> Page[Rows] | None:
        """Request a page; None where the server refuses a page after the last one, as some do."""
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
        # a wrong total, or dates that the server ignores: smaller windows would get the same response
        if first.total_items > MAX_ITEMS or _ignores(window, [first]):
            return []
        most = min(WINDOW_ROWS, self._window_pages * first.count)
        if window.end >= self._settled_before and self._fruitless < MAX_FRUITLESS:
            settled = self._settled_before - SECOND  # in the second itself a recording may still appear
            # only the recent part has to be read in pieces of one page, so the settled one is
            # cut off where it is longer
            if settled - window.start > window.end - settled > SECOND:
                return [
                    *_split_evenly(Window(window.start, settled), first, most, self._pieces),
                    Window(settled, window.end),
                ]
            # where rows come in ascending order, one response holds the window up to this second
            if edge := _find_edge(window, first):
                return [Window(window.start, edge), Window(edge, window.end)]
            most = first.count
        return _split_evenly(window, first, most, self._pieces) if first.total_items > most else []

    def _read_pages(self, window: Window, reading: WindowAttempt[Rows]) -> WindowAttempt[Rows]:
        first = reading.pages[0]
        if reading.complete:
            if self.capabilities.page_base is None and first.count:
                self.capabilities.page_base = 1
            return reading
        if first.total_items > MAX_ITEMS or (first.count and first.total_items / first.count > MAX_PIECES):
            return reading  # no account has so many recordings: the total is wrong
        if self._is_broken(first):
            self.capabilities.page_base = None  # it may not be the first page after all: find out again
            return reading
        # by the rows that came, not by those that were requested: the server may cap a page without notice
        base, pages = self.capabilities.first, ceil(reading.total / first.count)
        if not self._read_rest(window, reading, range(base + 1, base + pages)) or reading.complete:
            if reading.complete:
                self.capabilities.page_base = base
            return reading
        if self.capabilities.page_base is None and pages > 1:
            # a server that counts from 0 has no page of this number, or repeats the one before
            last = self._probe(window, base + pages - 1)
            if last and not _repeats(last, reading.repeated):
                self.capabilities.page_base = 1
            else:
                reading.add(self._page_zero(window, first))
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
        absent = 0
        self._requests += len(waiting)
        try:
            while waiting:
                number = min(waiting, key=lambda number: _rank(waiting[number]))
                page = waiting.pop(number)
                # all threads may be readers that wait for pages: a page in the queue is read here instead
                found = self._page_if_any(window, number) if page.cancel() else page.result()
                # where pages are counted from 0, one is not there; where two are not, the total is wrong
                absent += not (found and found.count)
                if not reading.add(found) or absent > 1:
                    return False
            return True
        finally:
            self._requests -= sum(page.cancel() for page in waiting.values())

    def _repair(self, window: Window, reading: WindowAttempt[Rows]) -> None:
        """Read torn seconds again, each by itself: one response holds all its rows."""
        torn = reading.torn_seconds(window) if window.divisible else []
        for second in torn if len(torn) <= MAX_REPAIRED_SECONDS else ():
            moment = datetime.fromtimestamp(second, timezone.utc)
            page = self._page_as_allowed(Window(moment, min(moment + SECOND, window.end)))
            if page.count == page.total_items:
                reading.take(page)

    def _smaller(self, part: _Part, reading: WindowAttempt[Rows]) -> Sequence[Window]:
        """Return what to read instead of a window that does not add up; empty to give it up.

        A window of several pages has changed, most likely: it is halved, then split so that one response
        holds a piece. One response that contradicts itself is read again, then halved, down to the second.
        """
        window = part.window
        log.info("%s does not add up (%d of %d recordings)", window, len(reading.ids), reading.total)
        hopeless = self._unproven >= MAX_LOCATED or self._finds_nothing
        if hopeless or not window.divisible or reading.total > MAX_ITEMS or _ignores(window, reading.pages):
            return [window] if part.same < self._patience(part, reading) else []
        torn = reading.torn_seconds(window) if part.attempt >= SETTLED_ATTEMPTS else []
        if len(pieces := window.cut_around(torn[:MAX_REPAIRED_SECONDS])) > 1:
            return pieces
        if len(reading.pages) == 1:
            return window.split(2) if part.attempt >= SETTLED_ATTEMPTS else [window]
        # what a response holds shows in the fullest page
        size = max(page.count for page in reading.pages)
        parts = max(2, ceil(reading.total / (FILL * max(size, 1))))
        return window.split(2 if part.attempt == 1 else min(parts, MAX_PIECES))

    @property
    def _finds_nothing(self) -> bool:
        """Whether so many readings found nothing new that smaller windows would not help either."""
        return self._fruitless >= MAX_FRUITLESS or self._empty >= MAX_EMPTY

    def _patience(self, part: _Part, reading: WindowAttempt[Rows]) -> int:
        """Return how often to read a window that is not split."""
        if self._finds_nothing:
            return 1
        page_rows = reading.pages[0].page_size or self.capabilities.page_size
        changes = part.window.end >= self._settled_before or reading.total > page_rows
        return MAX_ATTEMPTS if changes and not part.window.divisible else SETTLED_ATTEMPTS

    def _combines(self, part: _Part) -> bool:
        """Whether the pages of the next reading of a second are added to those of this one."""
        settled = part.window.end < self._settled_before
        return not part.window.divisible and (settled or part.same >= SEPARATE_ATTEMPTS)


def _ignores(window: Window, pages: Sequence[Page[Any]]) -> bool:
    """Whether the server ignores the dates of a window, so that smaller ones would not help."""
    seconds = [second for page in pages for second in page.seconds().values() if second is not None]
    return 2 * sum(not window.holds(second) for second in seconds) > len(seconds)


def _repeats(page: Page[Any], ids: Collection[int]) -> bool:
    """Whether a page shows what was read before; rows with equal starts may have changed places."""
    return 2 * len(set(page.ids).intersection(ids)) > len(page.ids)


def _rank(page: Future[Any]) -> int:
    """Order pages: those received, then those that no thread has started, then those in flight."""
    return 0 if page.done() else 2 if page.running() else 1


def _split_evenly(window: Window, first: Page[Rows], most: int, pieces: int) -> Sequence[Window]:
    """Split a window by the total that its first page reports; return it whole where that is small enough.

    Of pieces with many pages the last is halved: nothing is left to request while it is written.
    """
    if first.total_items <= most:
        return [window]
    *others, last = window.split(min(pieces, ceil(first.total_items / (FILL * most))))
    return [*others, *last.split(2 if most > first.count else 1)]


def _find_edge(window: Window, first: Page[Rows]) -> datetime | None:
    """Return the second that a first page in ascending order certainly reaches; None without an order."""
    seconds = [second for second in first.seconds().values() if second is not None]
    if not seconds or len(seconds) < first.count or seconds != sorted(seconds):
        return None
    # rows of the last second may go on on the next page
    edge = seconds[-1] - 1
    inside = window.holds(edge) and edge not in (window.start.timestamp(), window.end.timestamp())
    return datetime.fromtimestamp(edge, timezone.utc) if inside else None
