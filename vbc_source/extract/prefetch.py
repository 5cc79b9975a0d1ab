"""Asks for pages before their turn, so that no thread idles where one window ends and the next begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from typing import Any, Generic

from vbc_source.api.capabilities import ApiCapabilities
from vbc_source.errors import BadRequest, NotFound
from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import Window

Fetch = Callable[[Window, int, int], Page[Rows]]

WINDOWS = 4  # whose first page is asked for in advance
PAGES = 16  # of the next window that are asked for as well: a run that ends has no use for them


@dataclass(frozen=True, slots=True)
class PrefetchedPage(Generic[Rows]):
    """A first page that was asked for in advance, by which number, and of which size."""

    number: int
    size: int
    page: Future[Page[Rows]]

    def fits(self, habits: ApiCapabilities) -> bool:
        """Whether it would be asked for in the same way now."""
        return (self.number, self.size) == (habits.first, habits.page_size)


class Prefetcher(Generic[Rows]):
    """The pages of one scan that were asked for and are not read yet.

    Args:
        fetch: gets one page: window, page number, page size.
        habits: what is known of the API.
        pool: runs the requests, in the order in which they are asked for.
        ending: whether no further window will be wanted, so that nothing is asked for in advance.
    """

    def __init__(
        self,
        fetch: Fetch[Rows],
        habits: ApiCapabilities,
        pool: ThreadPoolExecutor,
        ending: Callable[[], bool],
    ) -> None:
        self._fetch, self._habits, self._pool, self._ending = fetch, habits, pool, ending
        self._first: dict[Window, PrefetchedPage[Rows]] = {}
        self._rest: dict[Window, dict[tuple[int, int], Future[Page[Rows] | None]]] = {}  # by number, size

    def ask_first(self, windows: Iterator[Window]) -> None:
        """Ask for the first pages of the windows that come next."""
        for window in islice(windows, WINDOWS):
            if window not in self._first and not self._ending():
                number, size = self._habits.first, self._habits.page_size
                page = self._pool.submit(self._fetch, window, number, size)
                self._first[window] = PrefetchedPage(number, size, page)

    def take_first(self, window: Window) -> PrefetchedPage[Rows] | None:
        """Give a window's first page, where it was asked for."""
        return self._first.pop(window, None)

    def ask_rest(self, window: Window | None, is_readable: Callable[[Window, Page[Rows]], bool]) -> None:
        """Ask for more of the window that comes next, once its first page is there.

        What is asked for waits behind the pages of the window that is being read.
        """
        if self._ending():
            self.drop()
        elif window in self._first and window not in self._rest:
            early = self._first[window]
            known = early.fits(self._habits) and early.page.done() and not early.page.exception()
            if known and is_readable(window, first := early.page.result()):
                self._rest[window] = dict(map(partial(self._ask, window), self._number(first)[:PAGES]))

    def take_rest(self, window: Window, first: Page[Rows]) -> list[Future[Page[Rows] | None]]:
        """Give a window's further pages, asked for in advance or now."""
        early, further = self._rest.pop(window, {}), []
        for number in self._number(first):
            asked = early.pop((number, self._habits.page_size), None)
            further.append(asked or self._ask(window, number)[1])
        _cancel(early.values())  # the server counts otherwise than it seemed, or gives fewer
        return further

    def drop(self) -> None:
        """Cancel whatever was asked for and is not taken."""
        _cancel(early.page for early in self._first.values())
        for further in self._rest.values():
            _cancel(further.values())
        self._first.clear()
        self._rest.clear()

    def fetch(self, window: Window, number: int) -> Page[Rows] | None:
        """Get a page, or None where it is behind the last one: some servers say so."""
        try:
            return self._fetch(window, number, self._habits.page_size)
        except (BadRequest, NotFound):
            return None

    def _number(self, first: Page[Rows]) -> range:
        return range(self._habits.first + 1, self._habits.first + ceil(first.total_items / first.count))

    def _ask(self, window: Window, number: int) -> tuple[tuple[int, int], Future[Page[Rows] | None]]:
        return (number, self._habits.page_size), self._pool.submit(self.fetch, window, number)


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
