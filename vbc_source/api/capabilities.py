"""What was learned about an API while reading its pages: the page size and the number of the first page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ApiCapabilities:
    """What was learned about an API; shared by the readers of all its lists.

    Attributes:
        page_size: Rows to request per page; lowered when the server refuses it.
        page_base: Number of the first page: 1 as documented, or 0; None until it is known.
        full: Rows of the largest page so far.
    """

    page_size: int
    page_base: int | None = None
    full: int = 0

    @property
    def first(self) -> int:
        """Number of the first page, as far as is known."""
        return 1 if self.page_base is None else self.page_base
