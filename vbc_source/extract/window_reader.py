"""Reads a window's pages and proves that nothing is missing, or reads it again.

A window is complete when every page states the same `total_items` and the pages together hold that
many distinct ids. Nothing else is trusted: not `order`, not the page base, not links, not that rows
stand still. A window that moved is read again in smaller pieces, at last one answer each.

One change escapes that rule: a recording vanishes and another arrives between two pages, and a row
that shifted across the boundary is lost while the counts agree. Recordings arrive only in recent
time, so recent windows are cut until a single answer holds each; older ones can only lose rows,
which `total_items` shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime, timezone
from math import ceil
from typing import Generic

from vbc_source.api.capabilities import ApiCapabilities
from vbc_source.errors import BadRequest, IncompleteWindow, NotFound
from vbc_source.extract.completeness import ProvenWindow, WindowAttempt
from vbc_source.extract.prefetch import Fetch, Prefetcher
from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import SECOND, Window, floor_second

log = logging.getLogger(__name__)

SMALLER_PAGES = (100, 10)  # what to ask for when a page size is refused; 10 is the API's default
WINDOW_ROWS, WINDOW_PAGES = 60_000, 100  # a settled window that holds more is cut
FILL = 0.6  # how full the pieces are meant to be: calls are not spread evenly
MOST_MENDED = 5  # seconds of a window that are read by themselves; with more, the window is cut
MOST_ATTEMPTS = 12  # readings of one span that cannot be cut any more, before it is given up
FEW_ATTEMPTS = 3  # after so many, readings of a crowded second are put together even in recent time


class WindowReader(Generic[Rows]):
    """Reads windows of one list.

    Args:
        fetch: gets one page: window, page number, page size.
        habits: what is known of the API.
        pool: runs the requests.
        settled_before: nothing new is expected to appear before this instant.
        ending: whether no further window will be wanted, so that nothing is asked for in advance.
    """

    def __init__(
        self,
        fetch: Fetch[Rows],
        habits: ApiCapabilities,
        pool: ThreadPoolExecutor,
        settled_before: datetime,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._fetch, self._settled_before, self.habits = fetch, floor_second(settled_before), habits
        self._advance = Prefetcher(fetch, habits, pool, ending)
        self._requests = 0

    def read(self, window: Window) -> Iterator[ProvenWindow[Rows]]:
        """Read a span and yield its proven windows, oldest first; too large ones are cut.

        Raises:
            ScanFailed: a window never added up.
            GatewayFault: the gateway would not answer.
        """
        try:
            yield from self._read(window)
        finally:
            self._advance.drop()

    def _read(self, window: Window) -> Iterator[ProvenWindow[Rows]]:
        earlier: list[Page[Rows]] = []  # of an indivisible second: each reading finds others of its rows
        todo = [(window, 1, 1)]
        while todo:
            part, attempt, same = todo.pop()  # `same`: how often this very span was read
            first = self._first_page(part)
            if pieces := self._cut(part, first):
                todo += reversed([(piece, attempt, 1) for piece in pieces])
            self._advance.ask_first(window for window, *_ in reversed(todo))
            if pieces:
                continue
            coming = todo[-1][0] if todo else None
            reading = self._read_pages(part, WindowAttempt(first, earlier), coming)
            earlier = []
            if reading.complete:
                yield ProvenWindow(part, tuple(reading.pages), reading.total, self._requests, attempt)
                self._requests = 0
                continue
            pieces = self._smaller(part, attempt, reading)
            same = same + 1 if pieces == [part] else 1
            self._check_attempts(part, same - 1, reading)
            settled = part.end < self._settled_before
            if reading.agreed and not part.divisible and (settled or same > FEW_ATTEMPTS):
                earlier = reading.pages
            todo += reversed([(piece, attempt + 1, same) for piece in pieces])

    def _first_page(self, window: Window) -> Page[Rows]:
        """Ask for a window's first page, finding out how the server counts and what it allows."""
        first = self._page_as_allowed(window)
        self.habits.full = max(self.habits.full, first.count)
        if self.habits.page_base is not None or not self._is_short(first):
            return first
        if not self._is_beyond(window, 2):
            self.habits.page_size = max(1, first.count)  # capped, and not told
            return first
        return self._page_zero(window) or first

    def _page_zero(self, window: Window) -> Page[Rows] | None:
        """Ask for page 0; where it has rows, the server counts from 0."""
        page = self._probe(window, 0)
        if page:
            self.habits.page_base = 0
        return page

    def _page_as_allowed(self, window: Window) -> Page[Rows]:
        while True:
            asked = self.habits.first, self.habits.page_size
            try:
                if early := self._advance.take_first(window):
                    self._requests += 1
                    if early.fits(self.habits):
                        return early.page.result()
                return self._page(window, self.habits.first)
            except (BadRequest, NotFound) as fault:
                if asked != (self.habits.first, self.habits.page_size):
                    continue  # another list has found out meanwhile how to ask
                missing = isinstance(fault, NotFound)
                if self.habits.page_base is None or (missing and self.habits.page_base):
                    # a server that counts from 0 may say so of the page behind a single one
                    self._requests += 1
                    if first := self._advance.fetch(window, 0):
                        self.habits.page_base = 0
                        return first
                smaller = [size for size in SMALLER_PAGES if size < self.habits.page_size]
                if missing or not smaller:
                    raise
                log.warning("page_size %d was refused: set it to %d", self.habits.page_size, smaller[0])
                self.habits.page_size, self.habits.full = smaller[0], 0

    def _page(self, window: Window, number: int) -> Page[Rows]:
        self._requests += 1
        return self._fetch(window, number, self.habits.page_size)

    def _is_short(self, first: Page[Rows]) -> bool:
        """Whether a first page has fewer rows than it should: it is not the first, or it is capped."""
        return first.count < min(
            first.total_items, first.page_size or self.habits.page_size, self.habits.page_size
        )

    def _is_beyond(self, window: Window, number: int) -> bool:
        """Whether a page is behind the last one."""
        return self._probe(window, number) is None

    def _probe(self, window: Window, number: int) -> Page[Rows] | None:
        """Ask for a page that may not be there; None where it is not, or has no rows."""
        self._requests += 1
        page = self._advance.fetch(window, number)
        return page if page and page.count else None

    def _cut(self, window: Window, first: Page[Rows]) -> Sequence[Window]:
        """Cut a window that is too large to be read at once; empty where it is not."""
        if first.total_items <= first.count or not first.count or not window.divisible:
            return []
        most = min(WINDOW_ROWS, WINDOW_PAGES * first.count)
        if window.end >= self._settled_before:
            settled = self._settled_before - SECOND  # in the second itself something may still appear
            if settled - window.start > window.end - settled > SECOND:
                return [*_split(Window(window.start, settled), first, most), Window(settled, window.end)]
            if edge := _edge(window, first):
                return [Window(window.start, edge), Window(edge, window.end)]
            most = first.count
        return _split(window, first, most) if first.total_items > most else []

    def _read_pages(
        self, window: Window, reading: WindowAttempt[Rows], coming: Window | None
    ) -> WindowAttempt[Rows]:
        first = reading.pages[0]
        if reading.complete:
            if self.habits.page_base is None and first.count:
                self.habits.page_base = 1
            return reading
        if self._is_broken(first):
            self.habits.page_base = None  # it may not be the first page after all: find out anew
            return reading
        base = self.habits.first
        further = self._advance.take_rest(window, first)
        if not self._read_rest(reading, further, coming) or reading.complete:
            if reading.complete:
                self.habits.page_base = base
            return reading
        if self.habits.page_base is None and further:
            if self._is_beyond(window, base + len(further)):
                reading.add(self._page_zero(window))
            else:
                self.habits.page_base = 1
        if reading.agreed and not reading.complete:
            self._mend(window, reading)
        return reading

    def _is_readable(self, window: Window, first: Page[Rows]) -> bool:
        """Whether a window is to be read as it is, by what its first page tells."""
        return not self._cut(window, first) and not self._is_broken(first)

    def _is_broken(self, first: Page[Rows]) -> bool:
        """Whether a first page lacks rows: there are more, and pages of this server hold more."""
        expected = min(first.total_items, self.habits.full, first.page_size or self.habits.full)
        return not first.count or first.count < expected

    def _read_rest(
        self,
        reading: WindowAttempt[Rows],
        futures: Sequence[Future[Page[Rows] | None]],
        coming: Window | None,
    ) -> bool:
        """Read further pages at once; stops early, with False, when the window has moved."""
        self._requests += len(futures)
        try:
            for future in as_completed(futures):
                if not reading.add(future.result()):
                    return False
                self._advance.ask_rest(coming, self._is_readable)
            return True
        finally:
            self._requests -= sum(future.cancel() for future in futures)

    def _mend(self, window: Window, reading: WindowAttempt[Rows]) -> None:
        """Read torn seconds once more, each by itself: one answer holds all its rows."""
        torn = reading.torn_seconds() if window.divisible else []
        for second in torn if len(torn) <= MOST_MENDED else ():
            moment = datetime.fromtimestamp(second, timezone.utc)
            page = self._page(Window(moment, min(moment + SECOND, window.end)), self.habits.first)
            if page.count == page.total_items:
                reading.take(page)

    def _smaller(self, window: Window, attempt: int, reading: WindowAttempt[Rows]) -> list[Window]:
        """Halve a window that moved; one that moved again is cut so that an answer holds a piece."""
        size = max(page.count for page in reading.pages)
        if len(reading.pages) == 1 or not window.divisible:
            return [window]
        return window.split(2 if attempt == 1 else max(2, ceil(reading.total / (FILL * max(size, 1)))))

    def _check_attempts(self, window: Window, attempts: int, reading: WindowAttempt[Rows]) -> None:
        found = len(reading.ids)
        log.info("%s moved while it was read (%d of %d recordings)", window, found, reading.total)
        if attempts >= MOST_ATTEMPTS:
            raise IncompleteWindow(
                f"the window {window} was read {attempts} times and never added up: the API says "
                f"{reading.total} recordings, the last reading gave {found}. Nothing of it was taken for "
                "complete; run again later, or report the window to Vonage if it stays so"
            )


def _split(window: Window, first: Page[Rows], most: int) -> Sequence[Window]:
    """Split a window for as many rows as a first page tells of; whole where they are few enough.

    Of pieces that hold many pages the last is halved: nothing is left to be fetched while it is written.
    """
    if first.total_items <= most:
        return [window]
    *pieces, last = window.split(ceil(first.total_items / (FILL * most)))
    return [*pieces, *last.split(2 if most > first.count else 1)]


def _edge(window: Window, first: Page[Rows]) -> datetime | None:
    """Up to which second a first page in ascending order surely reaches; None where it has no order."""
    seconds = [second for second in first.seconds().values() if second is not None]
    if not seconds or len(seconds) < first.count or seconds != sorted(seconds):
        return None
    edge = datetime.fromtimestamp(seconds[-1] - 1, timezone.utc)
    return edge if window.start < edge < window.end else None
