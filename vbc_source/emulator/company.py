"""The endpoints of the Call Recording API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from vbc_source.emulator.audio import answer_audio, make_audio
from vbc_source.emulator.bodies import NO_RIGHTS, answer_bad_request
from vbc_source.emulator.catalogue import TOTALS
from vbc_source.emulator.disguises import DISGUISES, encode_rows
from vbc_source.emulator.faults import Faults
from vbc_source.emulator.order import Cut
from vbc_source.emulator.pages import Frame, encode_page
from vbc_source.emulator.queries import BadQueryError, Query, parse_query
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import DEFAULT_PREFIX, Site
from vbc_source.emulator.times import MalformedDateError

PREFIXES = (DEFAULT_PREFIX, "/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api")
PAGE_SIZE_CAP = 1000
REFUSED_PAGE_SIZE = 100


@dataclass(frozen=True, slots=True)
class Company:
    """Answers requests for company call recordings.

    Attributes:
        recordings: The store.
        faults: What is to go wrong.
        site: Tells where the emulator answers now.
        cap: Tells the largest page there is.
        rng: Where the order of equals comes from.
        before_page: Called before a list page is read.
    """

    recordings: Recordings
    faults: Faults
    site: Callable[[], Site]
    cap: Callable[[], int]
    rng: Random
    before_page: Callable[[HttpRequest], None]

    def make_router(self) -> Router:
        """Route the endpoints under every prefix."""
        routes = []
        for prefix in PREFIXES:
            rows = f"{prefix}/accounts/{{account}}/company_call_recordings"
            routes += [
                Route(rows, self._list, methods=["GET"]),
                Route(f"{rows}/{{id}}", self._show, methods=["GET"]),
                Route(f"{rows}/{{id}}", self._delete, methods=["DELETE"]),
                Route(f"{prefix}/audio/recording/{{id}}", self._play, methods=["GET"]),
            ]
        return Router(routes, redirect_slashes=False)

    async def _list(self, request: HttpRequest) -> Response:
        if not self._is_own(request):
            return PlainTextResponse(NO_RIGHTS, 403)
        params = dict(request.query_params)
        try:
            query = parse_query(params)
        except (BadQueryError, MalformedDateError) as error:
            return answer_bad_request(str(error))
        if self.faults.has("refuse-page-size") and query.page_size > REFUSED_PAGE_SIZE:
            return answer_bad_request(f"Parameter page_size must not exceed {REFUSED_PAGE_SIZE}")
        self.before_page(request)
        return self._answer_page(request, query, params)

    def _answer_page(self, request: HttpRequest, query: Query, params: dict[str, str]) -> Response:
        size, said = self._read_size(query)
        first = 0 if self.faults.has("page-base-0") else 1
        number = first if query.page is None else max(query.page, first)
        cut = Cut((number - first) * size, size, query.newest_first or self.faults.has("ignore-order"))
        total, rows = self.recordings.select(query, cut, self.rng, mixed=self.faults.has("random-order"))
        frame = Frame(self._find_root(request) + self._find_path(), params, number, first, size, said, total)
        if frame.is_beyond and self.faults.has("empty-404"):
            return PlainTextResponse("Not Found", 404)
        body = encode_page(encode_rows(rows, self._find_disguises()), *self._describe(frame))
        return self._send_json(request, body)

    def _describe(self, frame: Frame) -> tuple[dict[str, Any], list[str]]:
        description = frame.describe()
        without = [name for name, fault in _LEFT_OUT.items() if self.faults.has(fault)]
        fault = self.faults.take(TOTALS)
        if fault and fault.name == "wrong-totals":
            description["total_items"] += 1
        elif fault:
            without.append("total_items")
        return description, without

    def _read_size(self, query: Query) -> tuple[int, int]:
        size = said = min(query.page_size, self.cap())
        if cap := self.faults.find("cap"):
            size = said = min(size, cap.number)
        if cap := self.faults.find("cap-quiet"):
            size = min(size, cap.number)
        return size, said

    async def _show(self, request: HttpRequest) -> Response:
        if not self._is_own(request):
            return PlainTextResponse(NO_RIGHTS, 403)
        row = self.recordings.find(request.path_params["id"])
        if row is None:
            return _answer_missing()
        return self._send_json(request, encode_rows([row], self._find_disguises())[0])

    async def _delete(self, request: HttpRequest) -> Response:
        if not self._is_own(request):
            return PlainTextResponse(NO_RIGHTS, 403)
        row = self.recordings.find(request.path_params["id"])
        if row is None:
            return _answer_missing()
        self.recordings.delete(row.key)
        return Response(status_code=204)

    async def _play(self, request: HttpRequest) -> Response:
        row = self.recordings.find(request.path_params["id"])
        if row is None:
            return _answer_missing()
        size = row.decode().get("file_size_in_bytes")
        audio = make_audio(size if isinstance(size, int) else 0, f"Recording {row.key}")
        return answer_audio(audio, request.headers.get("range"))

    def _is_own(self, request: HttpRequest) -> bool:
        return request.path_params["account"] in ("self", self.site().account_id)

    def _find_disguises(self) -> list[str]:
        return [name for name in DISGUISES if self.faults.has(name)]

    def _find_path(self) -> str:
        return f"/accounts/{self.site().account_id}/company_call_recordings"

    def _find_root(self, request: HttpRequest) -> str:
        """Tell what links begin with for a caller who used another host name or another prefix."""
        prefix = next(prefix for prefix in PREFIXES if request.scope["path"].startswith(prefix + "/"))
        host = request.headers.get("host")
        return (f"http://{host}" if host else self.site().base_url) + prefix

    def _send_json(self, request: HttpRequest, body: bytes) -> Response:
        stored, seen = self.site().root, self._find_root(request)
        if stored != seen:
            body = body.replace(f'"{stored}/'.encode(), f'"{seen}/'.encode())
        return Response(body, media_type="application/json")


_LEFT_OUT = {"_embedded": "no-embedded", "total_pages": "no-total-pages"}


def _answer_missing() -> Response:
    return JSONResponse({"status": 404, "message": "Recording not found"}, 404)
