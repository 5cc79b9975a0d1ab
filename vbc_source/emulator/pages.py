"""The answer to a list request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the rows of a page.

    Attributes:
        href: The list's address, without parameters.
        params: The parameters of the request, repeated in the links.
        number: The page's number as the caller counts.
        first: The number of the first page, 1 or 0.
        size: Rows a page.
        said_size: Rows a page, as the answer states them.
        total: How many rows match.
    """

    href: str
    params: Mapping[str, str]
    number: int
    first: int
    size: int
    said_size: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.size)

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(self.pages - 1, 0) + self.first

    @property
    def is_beyond(self) -> bool:
        """Whether the page lies after the last one."""
        return self.number > self.last

    def describe(self) -> dict[str, Any]:
        """Make the links and figures of the answer."""
        numbers = {"self": self.number, "first": self.first, "last": self.last}
        if self.number > self.first:
            numbers["prev"] = min(self.number - 1, self.last)
        if self.number < self.last:
            numbers["next"] = self.number + 1
        others = urlencode(
            [(name, value) for name, value in self.params.items() if name != "page"] + [("page", "")]
        )
        links = {name: {"href": f"{self.href}?{others}{number}"} for name, number in numbers.items()}
        return {
            "_links": links,
            "page": self.number,
            "page_size": self.said_size,
            "total_items": self.total,
            "total_pages": self.pages,
        }


def encode_page(
    rows: list[bytes], description: Mapping[str, Any], without: Iterable[str], name: str = "recordings"
) -> bytes:
    """Put a page together.

    Args:
        rows: Encoded recordings, or whatever is listed.
        description: Links and figures.
        without: Names of parts left out; ``_embedded`` is left out only when there are no rows.
        name: What the rows are called.
    """
    leave = set(without)
    rest = json.dumps({name: value for name, value in description.items() if name not in leave}).encode()
    if not rows and "_embedded" in leave:
        return rest
    # The ends are glued to the outer rows, as joining twice would copy the whole page twice.
    outer = [*rows] or [b""]
    outer[0] = b'{"_embedded":{"%s":[' % name.encode() + outer[0]
    outer[-1] += b"]}," + rest[1:]
    return b",".join(outer)
