"""What a page says, what a reading of several comes to, and what a proof is. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from vbc_source.windows import Window

Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One answer of a list endpoint.

    Attributes:
        total_items: how many rows the whole list has.
        page_size: the size the server says it used, or None.
        ids: of the rows.
        seconds: works out, for each id, its `start` in seconds since 1970; seldom wanted.
        count: number of rows.
        rows: the rows, in whatever form the reader of the body gave them.
        links: addresses the answer gives of the list and of its first row.
    """

    total_items: int
    page_size: int | None
    ids: Sequence[int]
    seconds: Callable[[], Mapping[int, int | None]]
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


class Reading(Generic[Rows]):
    """The pages of one reading of a window, until they add up or do not.

    Args:
        first: the first page; its `total_items` is what the others have to state too.
        earlier: pages of earlier readings that stated the same.
    """

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
        """Take the rows of a page in, whatever total it states."""
        self.pages.append(page)
        self.ids.update(page.ids)

    def add(self, page: Page[Rows] | None) -> bool:
        """Take a page in, or None where there is none; False where it contradicts the others."""
        if page is not None:
            self.take(page)
            self.agreed = self.agreed and page.total_items == self.total
        return self.agreed

    @property
    def complete(self) -> bool:
        """Whether the pages agree, and their distinct ids are as many as the server says."""
        return self.agreed and len(self.ids) == self.total

    def torn_seconds(self) -> list[int]:
        """Seconds whose rows came on two pages: equal starts have no fixed order, so one may lack."""
        seen: set[int] = set()
        torn: set[int | None] = set()
        for page in self.pages:
            seconds = page.seconds()
            torn |= {seconds[id_] for id_ in seconds.keys() & seen}
            seen |= seconds.keys()
        return sorted(second for second in torn if second is not None)
