"""The pages of one reading of a window, and whether they prove that nothing is missing. Pure.

A window is complete when every page states the same `total_items`, and the pages together hold that many
distinct ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic

from vbc_source.schema.pages import Page, Rows
from vbc_source.windows import Window


@dataclass(frozen=True, slots=True)
class ReadWindow(Generic[Rows]):
    """A window that was read, and whether that proves it complete.

    Attributes:
        window: The span.
        pages: Its pages; they hold `found` distinct ids, some of them twice.
        total_items: How many rows the server reports.
        requests: Requests spent since the previous window was read.
        attempts: Readings that this span needed; 1 where nothing changed meanwhile.
        is_proven: Whether the pages agree, and hold as many distinct ids as the server reports.
    """

    window: Window
    pages: tuple[Page[Rows], ...]
    total_items: int
    requests: int
    attempts: int
    is_proven: bool = True

    @property
    def found(self) -> int:
        """How many distinct rows were read."""
        return self.total_items if self.is_proven else len({id_ for page in self.pages for id_ in page.ids})


class WindowAttempt(Generic[Rows]):
    """The pages of one reading of a window."""

    def __init__(self, first: Page[Rows], earlier: Iterable[Page[Rows]] = ()) -> None:
        self.total = first.total_items
        self.pages: list[Page[Rows]] = []
        self.ids: set[int] = set()  # the distinct ids of all pages
        self.agreed = True
        self.take(first)
        for page in earlier:
            # of another total: something came or went since, so that page proves nothing about this reading
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
    def repeated(self) -> set[int]:
        """The ids that were read more than once."""
        counts = Counter(id_ for page in self.pages for id_ in page.ids)
        return {id_ for id_, count in counts.items() if count > 1}

    @property
    def complete(self) -> bool:
        """Whether all pages agree and hold as many distinct ids as the server reports."""
        return self.agreed and len(self.ids) == self.total

    def torn_seconds(self, window: Window) -> list[int]:
        """Return seconds of a window with a row that was read twice.

        Equal starts have no fixed order, so a row may be on two pages, and another one on none.
        """
        repeated = self.repeated
        torn = {second for page in self.pages for id_, second in page.seconds().items() if id_ in repeated}
        return sorted(second for second in torn if second is not None and window.holds(second))
