"""The question a list request asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vbc_source.emulator.people import DIRECTIONS
from vbc_source.emulator.rows import Row
from vbc_source.emulator.times import parse_filter_date

DEFAULT_PAGE_SIZE = 10
FOREVER = 1 << 62

_EQUAL = ("call_direction", "call_id", "caller_id", "cnam", "dnis", "extension")
_ORDERS = {"START:DESC": True, "START:ASC": False}


class BadQueryError(ValueError):
    """A parameter cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        """Word the message; keep its parts for whoever words it otherwise."""
        super().__init__(f"Parameter {name} {reason}")
        self.name = name
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a list request.

    Attributes:
        equal: Filters by the value of a field, as text.
        duration_gte: Milliseconds.
        duration_lte: Milliseconds.
        start_gte: Milliseconds since 1970.
        start_lte: Milliseconds since 1970.
        newest_first: The order asked for.
        page: The page's number, None when not given.
        page_size: Rows a page.
    """

    equal: tuple[tuple[str, str], ...] = ()
    duration_gte: int = 0
    duration_lte: int = FOREVER
    start_gte: int = -FOREVER
    start_lte: int = FOREVER
    newest_first: bool = True
    page: int | None = None
    page_size: int = DEFAULT_PAGE_SIZE

    @property
    def is_narrow(self) -> bool:
        """Whether it filters by more than start."""
        return bool(self.equal) or self.duration_gte > 0 or self.duration_lte < FOREVER

    def matches(self, row: Row) -> bool:
        """Tell whether a row passes the filters other than start."""
        # Looking for the bytes first spares decoding nearly all rows.
        if any(_needle(text) not in row.body for _, text in self.equal):
            return False
        fields = row.decode()
        duration = fields.get("duration")
        if not self.duration_gte <= (duration if isinstance(duration, int) else 0) <= self.duration_lte:
            return False
        return all(_has_value(fields, name, text) for name, text in self.equal)


def _needle(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def _has_value(fields: Mapping[str, Any], name: str, text: str) -> bool:
    values = [fields.get(name)]
    if name == "extension":
        values += fields.get("extensions") or []
    return any(value is not None and str(value) == text for value in values)


def _read_number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise BadQueryError(name, "is not a number") from None


def _read_date(params: Mapping[str, str], name: str, default: int) -> int:
    return parse_filter_date(params[name]) if name in params else default


def parse_paging(params: Mapping[str, str]) -> tuple[int | None, int]:
    """Read which page is asked for, None when not given, and how many rows a page.

    Raises:
        BadQueryError: A number cannot be read.
    """
    size = _read_number(params, "page_size", DEFAULT_PAGE_SIZE)
    if size < 1:
        raise BadQueryError("page_size", "must be positive")
    return _read_number(params, "page", 0) if "page" in params else None, size


def parse_query(params: Mapping[str, str]) -> Query:
    """Read the parameters of a list request; unknown ones are passed over.

    Raises:
        BadQueryError: A number, an order or a direction cannot be read.
        MalformedDateError: A date cannot be read.
    """
    order = params.get("order", "start:DESC").upper()
    if order not in _ORDERS:
        raise BadQueryError("order", "must be start:ASC or start:DESC")
    if params.get("call_direction", "INBOUND") not in DIRECTIONS:
        raise BadQueryError("call_direction", f"must be one of {', '.join(DIRECTIONS)}")
    page, size = parse_paging(params)
    return Query(
        equal=tuple((name, params[name]) for name in _EQUAL if name in params),
        duration_gte=_read_number(params, "duration:gte", 0),
        duration_lte=_read_number(params, "duration:lte", FOREVER),
        start_gte=_read_date(params, "start:gte", -FOREVER),
        start_lte=_read_date(params, "start:lte", FOREVER),
        newest_first=_ORDERS[order],
        page=page,
        page_size=size,
    )
