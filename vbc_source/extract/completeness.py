"""What a page says, what a reading of several comes to, and what a proof is. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic

from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import Window


@dataclass(frozen=True, slots=True)
class ProvenWindow(Generic[Rows]):
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


class WindowAttempt(Generic[Rows]):
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
