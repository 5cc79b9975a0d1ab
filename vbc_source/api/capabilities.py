"""What is found out about an API while its pages are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ApiCapabilities:
    """What was found out about an API; the scans of all its lists share it.

    Attributes:
        page_size: what to ask for.
        page_base: number of the first page, 1 as documented or 0; None until it is found out.
        full: rows of the fullest page so far.
    """

    page_size: int
    page_base: int | None = None
    full: int = 0

    @property
    def first(self) -> int:
        """Number of the first page, as far as is known."""
        return 1 if self.page_base is None else self.page_base
