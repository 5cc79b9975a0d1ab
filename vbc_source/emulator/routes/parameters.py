"""Parsing of query parameters and of export filters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vbc_source.emulator.data.call_logs import REPORT_DIRECTIONS
from vbc_source.emulator.data.calls import DIRECTIONS
from vbc_source.emulator.data.dates import parse_filter_date, parse_report_date
from vbc_source.emulator.data.selection import DEFAULT_PAGE_SIZE, UNLIMITED, Query

_EQUAL_FILTERS = ("call_direction", "call_id", "caller_id", "cnam", "dnis", "extension")
_REPORT_DATES = ("start:gte", "start:lte", "end:gte", "end:lte")
_REPORT_FILTERS = ("to", "from", "source_user", "destination_user", "direction")
_ORDERS = {"START:DESC": True, "START:ASC": False}


class InvalidParameterError(ValueError):
    """A parameter of a request is invalid.

    Attributes:
        name: Name of the parameter.
        reason: What is wrong with it; Provisioning reports both in fields of their own.
    """

    def __init__(self, name: str, reason: str) -> None:
        """Format the message."""
        super().__init__(f"Parameter {name} {reason}")
        self.name = name
        self.reason = reason


def _parse_number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise InvalidParameterError(name, "is not a number") from None


def _parse_date(params: Mapping[str, str], name: str, default: int) -> int:
    return parse_filter_date(params[name]) if name in params else default


def parse_paging(params: Mapping[str, str]) -> tuple[int | None, int]:
    """Parse the requested page, None by default, and the rows per page.

    Raises:
        InvalidParameterError: A number is invalid.
    """
    size = _parse_number(params, "page_size", DEFAULT_PAGE_SIZE)
    if size < 1:
        raise InvalidParameterError("page_size", "must be positive")
    return _parse_number(params, "page", 0) if "page" in params else None, size


def parse_query(params: Mapping[str, str]) -> Query:
    """Parse the parameters of a request for a list of recordings; unknown ones are ignored.

    Raises:
        InvalidParameterError: A number, an order or a direction is invalid.
        MalformedDateError: A date is invalid.
    """
    order = params.get("order", "start:DESC").upper()
    if order not in _ORDERS:
        raise InvalidParameterError("order", "must be start:ASC or start:DESC")
    if params.get("call_direction", "INBOUND") not in DIRECTIONS:
        raise InvalidParameterError("call_direction", f"must be one of {', '.join(DIRECTIONS)}")
    page, size = parse_paging(params)
    return Query(
        equal=tuple((name, params[name]) for name in _EQUAL_FILTERS if name in params),
        duration_gte=_parse_number(params, "duration:gte", 0),
        duration_lte=_parse_number(params, "duration:lte", UNLIMITED),
        start_gte=_parse_date(params, "start:gte", -UNLIMITED),
        start_lte=_parse_date(params, "start:lte", UNLIMITED),
        newest_first=_ORDERS[order],
        page=page,
        page_size=size,
    )


def parse_report_query(params: Mapping[str, str]) -> Query:
    """Parse the parameters of a request for call logs; unknown ones are ignored.

    Raises:
        InvalidParameterError: A parameter is invalid, or one of the required dates is missing.
    """
    dates = dict[str, int]()
    for name in _REPORT_DATES:
        if name not in params:
            if name.startswith("start"):
                raise InvalidParameterError(name, "is required")
            continue
        try:
            dates[name.replace(":", "_")] = parse_report_date(params[name])
        except ValueError:
            raise InvalidParameterError(name, "must be yyyy-MM-dd HH:mm:ss") from None
    if params.get("direction", "Inbound") not in REPORT_DIRECTIONS:
        raise InvalidParameterError("direction", f"must be one of {', '.join(REPORT_DIRECTIONS)}")
    page, size = parse_paging(params)
    equal = tuple((name, params[name]) for name in _REPORT_FILTERS if name in params)
    return replace(Query(equal=equal, page=page, page_size=size), **dates)  # type: ignore[arg-type]


def parse_export_filters(body: bytes) -> Query:
    """Parse the filters of an export: those of a list, as JSON.

    Raises:
        InvalidParameterError: The body or a filter is invalid.
        MalformedDateError: A date is invalid.
    """
    try:
        filters: Any = json.loads(body)
    except ValueError:
        raise InvalidParameterError("body", "is not JSON") from None
    if not isinstance(filters, dict):
        raise InvalidParameterError("body", "is not an object")
    # An export has neither order nor pages.
    names = set(filters) - {"order", "page", "page_size"}
    return parse_query({name: str(filters[name]) for name in names if filters[name] is not None})
