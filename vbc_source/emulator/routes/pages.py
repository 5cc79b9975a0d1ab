"""Pages of lists: what a request asks for, the faults of lists, and the JSON of a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response

from vbc_source.emulator.data.call_logs import CallLogs
from vbc_source.emulator.data.people import Fields
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.selection import PageSlice
from vbc_source.emulator.data.stored_recording import DEFAULT_PREFIX
from vbc_source.emulator.data.users import Users
from vbc_source.emulator.faults.altered_rows import ALTERATIONS, encode_row
from vbc_source.emulator.faults.catalogue import TOTALS
from vbc_source.emulator.faults.changes import change_recordings, change_users
from vbc_source.emulator.routes.gateway_state import (
    PROVISIONING_PREFIX,
    RECORDING_PREFIXES,
    REPORTS_PREFIX,
    GatewayState,
)
from vbc_source.emulator.routes.parameters import InvalidParameterError

_MAX_ACCEPTED_PAGE_SIZE = 100
_OMITTING_FAULTS = {"_embedded": "no-embedded", "total_pages": "no-total-pages"}

SelectRows = Callable[[PageSlice], tuple[int, list[bytes]]]
"""Returns the number of matching rows, and those of a page, encoded."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A request for a page of a list.

    Attributes:
        path: Path of the list, without the prefix.
        row_name: Name of the rows in the response.
        page: Requested page, None by default.
        page_size: Requested rows per page.
        select: Selects the rows.
        listed: Store that faults add to and remove from before the page is read.
        newest_first: Requested order.
    """

    path: str
    row_name: str
    page: int | None
    page_size: int
    select: SelectRows
    listed: Recordings | Users | CallLogs | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class PageInfo:
    """Links and numbers around the rows of a page.

    Attributes:
        href: URL of the list, without parameters.
        params: Parameters of the request, repeated in the links.
        number: Number of the page.
        first: Number of the first page, 1 or 0.
        size: Rows per page.
        reported_size: Rows per page as the response reports them.
        total: Number of matching rows.
    """

    href: str
    params: Mapping[str, str]
    number: int
    first: int
    size: int
    reported_size: int
    total: int

    @property
    def page_count(self) -> int:
        """Number of pages."""
        return -(-self.total // self.size)

    @property
    def last(self) -> int:
        """Number of the last page."""
        return max(self.page_count - 1, 0) + self.first

    def to_fields(self) -> Fields:
        """Return the links and numbers of the response."""
        numbers = {"self": self.number, "first": self.first, "last": self.last}
        if self.number > self.first:
            numbers["prev"] = min(self.number - 1, self.last)
        if self.number < self.last:
            numbers["next"] = self.number + 1
        params = [(name, value) for name, value in self.params.items() if name != "page"]
        url = f"{self.href}?{urlencode([*params, ('page', '')])}"
        return {
            "_links": {name: {"href": f"{url}{number}"} for name, number in numbers.items()},
            "page": self.number,
            "page_size": self.reported_size,
            "total_items": self.total,
            "total_pages": self.page_count,
        }


def find_alterations(gateway: GatewayState, request: HttpRequest) -> list[str]:
    """Return the names of active faults that alter rows."""
    return [name for name in ALTERATIONS if gateway.has_fault(name, request)]


def slice_rows(
    gateway: GatewayState, request: HttpRequest, rows: list[Fields], page: PageSlice
) -> tuple[int, list[bytes]]:
    """Count rows and encode those of a page."""
    faults = find_alterations(gateway, request)
    return len(rows), [encode_row(row, faults) for row in rows[page.offset : page.offset + page.size]]


def check_page_size(gateway: GatewayState, request: HttpRequest, page_size: int) -> None:
    """Refuse large pages if the fault is active.

    Raises:
        InvalidParameterError: The page is too large.
    """
    if gateway.has_fault("refuse-page-size", request) and page_size > _MAX_ACCEPTED_PAGE_SIZE:
        raise InvalidParameterError("page_size", f"must not exceed {_MAX_ACCEPTED_PAGE_SIZE}")


def answer_json(gateway: GatewayState, request: HttpRequest, body: bytes) -> Response:
    """Return a JSON response whose links have the host and the prefix of the request."""
    # Rows are stored with links of the default prefix; replacing them is faster than encoding rows anew.
    stored, requested = gateway.base_url + DEFAULT_PREFIX, _get_link_root(gateway, request)
    if stored != requested:
        # with the quote in front: links begin so, and a text that mentions the address stays as it is
        body = body.replace(f'"{stored}/'.encode(), f'"{requested}/'.encode())
    return Response(body, media_type="application/json")


def answer_list(gateway: GatewayState, request: HttpRequest, listing: ListRequest) -> Response:
    """Return a page of a list."""
    _change_listed(gateway, request, listing.listed)
    # Hooks and changes run before anything is read, as rows change between pages of the real API.
    gateway.run_page_hooks(request)
    size, reported_size = _limit_page_size(gateway, request, listing.page_size)
    # the reference counts from 1, and its example links begin with `page=0`: clients must bear both
    first = 0 if gateway.has_fault("page-base-0", request) else 1
    # Page 0 of a list that starts at 1 is its first page.
    number = first if listing.page is None else max(listing.page, first)
    newest_first = listing.newest_first or gateway.has_fault("ignore-order", request)
    total, rows = listing.select(PageSlice((number - first) * size, size, newest_first))
    href = _get_link_root(gateway, request) + listing.path
    info = PageInfo(href, dict(request.query_params), number, first, size, reported_size, total)
    if info.number > info.last and gateway.has_fault("empty-404", request):
        return PlainTextResponse("Not Found", 404)
    fields, omitted = _apply_field_faults(gateway, request, info.to_fields())
    return answer_json(gateway, request, encode_page(rows, fields, omitted, listing.row_name))


def encode_page(rows: list[bytes], fields: Mapping[str, Any], omitted: Iterable[str], name: str) -> bytes:
    """Encode a page.

    Args:
        rows: Encoded rows.
        fields: Links and numbers.
        omitted: Names of fields to omit; `_embedded` is omitted only if there are no rows.
        name: Name of the rows in the response.
    """
    omit = set(omitted)
    rest = json.dumps({name: value for name, value in fields.items() if name not in omit}).encode()
    # how a list without rows looks is not documented: clients must bear both
    if not rows and "_embedded" in omit:
        return rest
    # Start and end are added to the outer rows: joining a second time would copy the whole page again.
    parts = [*rows] or [b""]
    parts[0] = b'{"_embedded":{"%s":[' % name.encode() + parts[0]
    parts[-1] += b"]}," + rest[1:]
    return b",".join(parts)


def _change_listed(
    gateway: GatewayState, request: HttpRequest, listed: Recordings | Users | CallLogs | None
) -> None:
    path = request.scope["path"]
    if isinstance(listed, (Recordings, CallLogs)):
        change_recordings(listed, gateway.faults, gateway.rng, path)
    elif isinstance(listed, Users):
        change_users(listed, gateway.faults, gateway.rng, path)


def _limit_page_size(gateway: GatewayState, request: HttpRequest, requested: int) -> tuple[int, int]:
    """Return the rows per page, and the number that the response reports."""
    path = request.scope["path"]
    size = min(requested, gateway.page_size_cap)
    if cap := gateway.faults.find("cap", path):
        size = min(size, cap.number)
    reported = size
    # after the size to report is taken: this cap is the one that the response does not tell
    if cap := gateway.faults.find("cap-quiet", path):
        size = min(size, cap.number)
    return size, reported


def _apply_field_faults(
    gateway: GatewayState, request: HttpRequest, fields: Fields
) -> tuple[Fields, list[str]]:
    omitted = [name for name, fault in _OMITTING_FAULTS.items() if gateway.has_fault(fault, request)]
    # One-time faults: a client that reads the page again gets the correct total.
    fault = gateway.faults.take(TOTALS, request.scope["path"])
    if fault is not None and fault.name == "wrong-totals":
        fields["total_items"] += 1
    elif fault is not None:
        omitted.append("total_items")
    return fields, omitted


def _get_link_root(gateway: GatewayState, request: HttpRequest) -> str:
    """Return the start of links: the host and the prefix that the client used."""
    path = request.scope["path"]
    prefixes = (*RECORDING_PREFIXES, PROVISIONING_PREFIX, REPORTS_PREFIX)
    prefix = next(prefix for prefix in prefixes if path.startswith(prefix + "/"))
    host = request.headers.get("host")
    return (f"http://{host}" if host else gateway.base_url) + prefix
