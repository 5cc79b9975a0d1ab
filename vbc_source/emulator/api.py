"""What the endpoints of all APIs share: accounts, lists, and links as the caller sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response

from vbc_source.emulator.accounts import Account
from vbc_source.emulator.archives import MembersHook
from vbc_source.emulator.bodies import ELSEWHERE
from vbc_source.emulator.catalogue import TOTALS
from vbc_source.emulator.disguises import DISGUISES, encode_fields
from vbc_source.emulator.faults import Faults
from vbc_source.emulator.order import Cut
from vbc_source.emulator.pages import Frame, encode_page
from vbc_source.emulator.queries import BadQueryError
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import DEFAULT_PREFIX
from vbc_source.emulator.scene import Scene
from vbc_source.emulator.users import Users

INDIA = "/t/vbc.prod/call_recording_india/api"
V1 = "/t/vbc.prod/call_recording/v1/api"
PREFIXES = (DEFAULT_PREFIX, V1, INDIA)
PROVISIONING = "/t/vbc.prod/provisioning/api"
PAGE_SIZE_CAP = 1000
REFUSED_PAGE_SIZE = 100

_LEFT_OUT = {"_embedded": "no-embedded", "total_pages": "no-total-pages"}

Select = Callable[[Cut], tuple[int, list[bytes]]]
Prepare = Callable[[HttpRequest, "Recordings | Users | None"], None]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that is asked for.

    Attributes:
        path: Of the list, behind the prefix.
        name: What its rows are called.
        page: Which page is asked for, None when not said.
        page_size: How many rows a page.
        select: Gives how many rows there are, and those of a page, encoded.
        store: What it is a list of, for habits that change it.
        newest_first: The order asked for.
    """

    path: str
    name: str
    page: int | None
    page_size: int
    select: Select
    store: Recordings | Users | None = None
    newest_first: bool = True


@dataclass(slots=True)
class Api:
    """What all endpoints know.

    Attributes:
        scene: Where links point, the time and the lock.
        faults: What is to go wrong.
        rng: Where the order of equals comes from.
        prepare: Called before a list page is read.
        main: The id of the account for which ``self`` stands.
        accounts: Those that the API user may see, by id.
        page_size_cap: The largest page there is.
        zip_members: Changes what is in exports' archives.
        storage_url: Where requests for audio are redirected to when that is to go wrong.
    """

    scene: Scene
    faults: Faults
    rng: Random
    prepare: Prepare
    main: str
    accounts: dict[str, Account]
    page_size_cap: int = PAGE_SIZE_CAP
    zip_members: MembersHook | None = None
    storage_url: str = ELSEWHERE

    def find_account(self, request: HttpRequest) -> Account | None:
        """Look up the account in a request's path; None when the API user may not see it."""
        asked = request.path_params["account"]
        return self.accounts.get(self.main if asked == "self" else asked)

    def has(self, name: str, request: HttpRequest) -> bool:
        """Tell whether a fault is on for a request."""
        return self.faults.has(name, request.scope["path"])

    def find_disguises(self, request: HttpRequest) -> list[str]:
        """Tell how rows are to be shown differently."""
        return [name for name in DISGUISES if self.has(name, request)]

    def send_json(self, request: HttpRequest, body: bytes) -> Response:
        """Answer with JSON whose links follow the host name and the prefix that the caller used."""
        stored, seen = self.scene.base_url + DEFAULT_PREFIX, self._find_root(request)
        if stored != seen:
            body = body.replace(f'"{stored}/'.encode(), f'"{seen}/'.encode())
        return Response(body, media_type="application/json")

    def cut_rows(self, request: HttpRequest, rows: list[dict[str, Any]], cut: Cut) -> tuple[int, list[bytes]]:
        """Count rows and encode those of a page."""
        names = self.find_disguises(request)
        page = rows[cut.offset : cut.offset + cut.size]
        return len(rows), [encode_fields(row, names) for row in page]

    def check_page_size(self, request: HttpRequest, page_size: int) -> None:
        """Refuse large pages when told to.

        Raises:
            BadQueryError: The page is too large.
        """
        if self.has("refuse-page-size", request) and page_size > REFUSED_PAGE_SIZE:
            raise BadQueryError("page_size", f"must not exceed {REFUSED_PAGE_SIZE}")

    def answer_list(self, request: HttpRequest, listing: Listing) -> Response:
        """Answer with a page of a list."""
        self.prepare(request, listing.store)
        size, said = self._read_size(request, listing.page_size)
        first = 0 if self.has("page-base-0", request) else 1
        number = first if listing.page is None else max(listing.page, first)
        newest_first = listing.newest_first or self.has("ignore-order", request)
        total, rows = listing.select(Cut((number - first) * size, size, newest_first))
        href = self._find_root(request) + listing.path
        frame = Frame(href, dict(request.query_params), number, first, size, said, total)
        if frame.is_beyond and self.has("empty-404", request):
            return PlainTextResponse("Not Found", 404)
        return self.send_json(request, encode_page(rows, *self._describe(request, frame), listing.name))

    def _describe(self, request: HttpRequest, frame: Frame) -> tuple[dict[str, Any], list[str]]:
        description = frame.describe()
        without = [name for name, fault in _LEFT_OUT.items() if self.has(fault, request)]
        fault = self.faults.take(TOTALS, request.scope["path"])
        if fault and fault.name == "wrong-totals":
            description["total_items"] += 1
        elif fault:
            without.append("total_items")
        return description, without

    def _read_size(self, request: HttpRequest, asked: int) -> tuple[int, int]:
        path = request.scope["path"]
        size = said = min(asked, self.page_size_cap)
        if cap := self.faults.find("cap", path):
            size = said = min(size, cap.number)
        if cap := self.faults.find("cap-quiet", path):
            size = min(size, cap.number)
        return size, said

    def _find_root(self, request: HttpRequest) -> str:
        """Tell what links begin with for a caller who used another host name or another prefix."""
        path = request.scope["path"]
        prefix = next(prefix for prefix in (*PREFIXES, PROVISIONING) if path.startswith(prefix + "/"))
        host = request.headers.get("host")
        return (f"http://{host}" if host else self.scene.base_url) + prefix
