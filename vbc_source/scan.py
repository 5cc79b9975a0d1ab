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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil
from typing import Generic, TypeVar

from vbc_source.faults import BadRequest, NotFound, ScanFailed
from vbc_source.windows import SECOND, Window, floor_second

log = logging.getLogger(__name__)

Rows = TypeVar("Rows")
Item = TypeVar("Item")

SMALLER_PAGES = (100, 10)  # what to ask for when a page size is refused; 10 is the API's default
WINDOW_ROWS, WINDOW_PAGES = 20_000, 100  # a window that holds more is cut
MOST_MENDED = 5  # seconds of a window that are read by themselves; with more, the window is cut
FILL = 0.75  # how full the pieces are meant to be: calls are not spread evenly
MOST_ATTEMPTS = 12  # readings of one span, each of half the size, before it is given up


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One answer of a list endpoint.

    Attributes:
        total_items: how many rows the whole list has.
        page_size: the size the server says it used, or None.
        seconds: the rows' distinct ids, each with its `start` in seconds since 1970.
        count: number of rows.
        rows: the rows, in whatever form the reader of the body gave them.
        links: addresses the answer gives of the list and of its first row.
    """

    total_items: int
    page_size: int | None
    seconds: Mapping[int, int | None]
    count: int
    rows: Rows
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof(Generic[Rows]):
    """A window that was read and proven complete.

    Attributes:
        window: the span.
        pages: its pages; they hold `total_items` distinct ids, a few of them twice.
        total_items: what the server says the window holds.
        requests: how many requests were spent since the window before was proven.
        attempts: how many readings this span needed, 1 where nothing moved.
    """

    window: Window
    pages: tuple[Page[Rows], ...]
    total_items: int
    requests: int
    attempts: int


Fetch = Callable[[Window, int, int], Page[Rows]]


class _Reading(Generic[Rows]):
    """The pages of one reading of a window."""

    def __init__(self, number: int, first: Page[Rows]) -> None:
        self.total = first.total_items
        self.pages = [first]
        self.numbers = {number}

    def add(self, number: int, page: Page[Rows] | None) -> bool:
        """Take a page in, or None where there is none; False where it contradicts the others."""
        self.numbers.add(number)
        if page is None:
            return True
        self.pages.append(page)
        return page.total_items == self.total

    @property
    def ids(self) -> frozenset[int]:
        return frozenset().union(*(page.seconds for page in self.pages))

    @property
    def complete(self) -> bool:
        """Whether the distinct ids are as many as the server says."""
        return len(self.ids) == self.total

    def torn_seconds(self) -> set[int]:
        """Seconds whose rows came on two pages: equal starts have no fixed order, so one may lack."""
        seen: set[int] = set()
        torn: set[int | None] = set()
        for page in self.pages:
            torn |= {page.seconds[id_] for id_ in page.seconds.keys() & seen}
            seen |= page.seconds.keys()
        return {second for second in torn if second is not None}


class Scan(Generic[Rows]):
    """Reads windows of one list.

    What it finds out about the server (page base, page size) is kept for its life.

    Args:
        fetch: gets one page: window, page number, page size.
        page_size: what to ask for.
        pool: runs the requests.
        settled_before: nothing new is expected to appear before this instant.
    """

    def __init__(
        self, fetch: Fetch[Rows], page_size: int, pool: ThreadPoolExecutor, settled_before: datetime
    ) -> None:
        self._fetch, self._pool, self._settled_before = fetch, pool, floor_second(settled_before)
        self.page_size = page_size
        self.page_base: int | None = None  # found out: 1 as documented, or 0
        self._requests = 0

    def read(self, window: Window) -> Iterator[Proof[Rows]]:
        """Read a span and yield its proven windows, oldest first; too large ones are cut.

        Raises:
            ScanFailed: a window never added up.
            GatewayFault: the gateway would not answer.
        """
        todo = [(part, 1) for part in reversed(self._cut_settled(window))]
        while todo:
            part, attempt = todo.pop()
            number, first = self._first_page(part)
            pieces = self._cut(part, first)
            if pieces:
                todo += reversed([(piece, attempt) for piece in pieces])
                continue
            reading = self._read_pages(part, _Reading(number, first))
            if reading.complete:
                yield Proof(part, tuple(reading.pages), reading.total, self._requests, attempt)
                self._requests = 0
                continue
            self._check_attempts(part, attempt, reading)
            todo += reversed([(piece, attempt + 1) for piece in self._smaller(part, attempt, reading)])

    def _first_page(self, window: Window) -> tuple[int, Page[Rows]]:
        """Ask for a window's first page, finding out which page size the server allows."""
        number = 1 if self.page_base is None else self.page_base
        while True:
            try:
                return number, self._page(window, number)
            except BadRequest:
                smaller = [size for size in SMALLER_PAGES if size < self.page_size]
                if not smaller:
                    raise
                log.warning(
                    "page_size %d was refused, asking for %d; set page_size to save this request",
                    self.page_size,
                    smaller[0],
                )
                self.page_size = smaller[0]
            except NotFound:
                # a server that counts from 0 may say so of the page behind a single one
                if self.page_base is not None:
                    raise
                number, self.page_base = 0, 0

    def _page(self, window: Window, number: int) -> Page[Rows]:
        self._requests += 1
        return self._fetch(window, number, self.page_size)

    def _cut(self, window: Window, first: Page[Rows]) -> list[Window]:
        """Cut a window that is too large to be read at once; empty where it is not."""
        size = max(first.count, 1)
        if first.total_items <= size or not window.divisible or self._is_behind(first):
            return []
        if window.end > self._settled_before:
            edge = _edge(window, first)
            if edge:
                return [Window(window.start, edge), Window(edge, window.end)]
            most = size
        else:
            most = min(WINDOW_ROWS, WINDOW_PAGES * size)
        return window.split(ceil(first.total_items / (FILL * most))) if first.total_items > most else []

    def _cut_settled(self, window: Window) -> list[Window]:
        """Cut a long history where it settles, without asking first."""
        settled = self._settled_before
        if settled - window.start > window.end - settled > SECOND:
            return [Window(window.start, settled), Window(settled, window.end)]
        return [window]

    def _is_behind(self, first: Page[Rows]) -> bool:
        """Whether a page 1 that is not full may be the last page of a server that counts from 0."""
        said = min(first.page_size or self.page_size, self.page_size)
        return self.page_base is None and first.count < min(said, first.total_items)

    def _read_pages(self, window: Window, reading: _Reading[Rows]) -> _Reading[Rows]:
        if self._is_behind(reading.pages[0]):
            self._find_base(window, reading)
        rest = [number for number in self._numbers(reading) if number not in reading.numbers]
        agreed = self._read_rest(window, reading, rest)
        if agreed and not reading.complete:
            self._mend(reading)
        if self.page_base is None and agreed and reading.total:
            if reading.complete:
                self.page_base = 1
            else:
                self._find_base(window, reading)
        for _ in range(MOST_ATTEMPTS if agreed and not window.divisible else 0):
            # more equal starts than a page holds: in no fixed order, each reading finds others
            if reading.complete or not self._read_rest(window, reading, self._numbers(reading)):
                break
        return reading

    def _numbers(self, reading: _Reading[Rows]) -> list[int]:
        """The numbers of all pages that a list should have."""
        size = max(page.count for page in reading.pages)
        base = 1 if self.page_base is None else self.page_base
        return list(range(base, base + ceil(reading.total / size))) if size else []

    def _mend(self, reading: _Reading[Rows]) -> None:
        """Read torn seconds once more, each by itself: one answer holds all its rows."""
        torn = reading.torn_seconds()
        for second in sorted(torn) if len(torn) <= MOST_MENDED else ():
            moment = datetime.fromtimestamp(second, timezone.utc)
            page = self._page(
                Window(moment, moment + SECOND), 1 if self.page_base is None else self.page_base
            )
            if page.count == page.total_items:
                reading.pages.append(page)

    def _find_base(self, window: Window, reading: _Reading[Rows]) -> None:
        """Ask for page 0: rows that the others do not have say that the server counts from 0."""
        known = reading.ids
        try:
            page = self._page(window, 0)
        except (BadRequest, NotFound):
            self.page_base = 1
            return
        if len(page.seconds.keys() - known) * 2 > len(page.seconds):
            self.page_base = 0
            reading.add(0, page)
        else:
            self.page_base = 1

    def _read_rest(self, window: Window, reading: _Reading[Rows], numbers: list[int]) -> bool:
        """Read further pages at once; stops early, with False, when the window has moved."""
        futures = {self._pool.submit(self._page_or_nothing, window, number): number for number in numbers}
        self._requests += len(futures)
        try:
            return all(reading.add(futures[done], done.result()) for done in as_completed(futures))
        finally:
            self._requests -= sum(future.cancel() for future in futures)

    def _page_or_nothing(self, window: Window, number: int) -> Page[Rows] | None:
        try:
            return self._fetch(window, number, self.page_size)
        except NotFound:  # some servers say so of a page behind the last one
            return None

    def _smaller(self, window: Window, attempt: int, reading: _Reading[Rows]) -> list[Window]:
        """Halve a window that moved; one that moved again is cut so that an answer holds a piece."""
        if len(reading.numbers) == 1 or not window.divisible:
            return [window]
        size = max(page.count for page in reading.pages)
        return window.split(2 if attempt == 1 else max(2, ceil(reading.total / (FILL * max(size, 1)))))

    def _check_attempts(self, window: Window, attempt: int, reading: _Reading[Rows]) -> None:
        found = len(reading.ids)
        log.info("%s moved while it was read (%d of %d recordings)", window, found, reading.total)
        if attempt >= MOST_ATTEMPTS:
            raise ScanFailed(
                f"the window {window} was read {attempt} times and never added up: the API says "
                f"{reading.total} recordings, the last reading gave {found}. Nothing of it was taken for "
                "complete; run again later, or report the window to Vonage if it stays so"
            )


def _edge(window: Window, first: Page[Rows]) -> datetime | None:
    """Up to which second a first page in ascending order surely reaches; None where it has no order."""
    seconds = [second for second in first.seconds.values() if second is not None]
    if len(seconds) < first.count or seconds != sorted(seconds):
        return None
    edge = datetime.fromtimestamp(seconds[-1] - 1, timezone.utc)
    return edge if window.start < edge < window.end else None


def read_ahead(items: Iterator[Item], stop: Callable[[], None]) -> Iterator[Item]:
    """Prepare the next item in a thread while the caller works on this one.

    Args:
        items: made one by one, each in the thread.
        stop: called when the caller goes away early, to end the item under way.
    """
    with ThreadPoolExecutor(1) as ahead:
        following: Future[Item | None] = ahead.submit(next, items, None)
        try:
            while (item := following.result()) is not None:
                following = ahead.submit(next, items, None)
                yield item
        except BaseException:
            stop()
            raise
