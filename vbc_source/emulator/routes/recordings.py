"""Endpoints of company recordings and of users' on-demand recordings."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from vbc_source.emulator.data.selection import PageSlice
from vbc_source.emulator.data.stored_recording import StoredRecording
from vbc_source.emulator.faults.altered_rows import encode_recordings
from vbc_source.emulator.routes.gateway_state import (
    INDIA_PREFIX,
    RECORDING_PREFIXES,
    GatewayState,
    RequestedRecordings,
    refuse_missing,
)
from vbc_source.emulator.routes.pages import (
    ListRequest,
    answer_json,
    answer_list,
    check_page_size,
    find_alterations,
)
from vbc_source.emulator.routes.parameters import parse_query


def find_recording(recordings: RequestedRecordings, request: HttpRequest) -> StoredRecording:
    """Look up the recording in a path.

    Raises:
        Refusal: There is no such recording.
    """
    recording = recordings.recordings.find(request.path_params["id"])
    if recording is None:
        raise refuse_missing("Recording")
    return recording


@dataclass(frozen=True, slots=True)
class RecordingRoutes:
    """Endpoints of recordings."""

    gateway: GatewayState

    def make_routes(self) -> list[Route]:
        """Return the routes under every prefix; India has no on-demand recordings."""
        routes = []
        for prefix in RECORDING_PREFIXES:
            account = f"{prefix}/accounts/{{account}}"
            paths = [f"{account}/company_call_recordings"]
            if prefix != INDIA_PREFIX:
                paths.append(f"{account}/users/{{user}}/call_recordings")
            for path in paths:
                routes += [
                    Route(path, self._list, methods=["GET"]),
                    Route(f"{path}/{{id}}", self._get, methods=["GET"]),
                    Route(f"{path}/{{id}}", self._delete, methods=["DELETE"]),
                ]
        return routes

    async def _list(self, request: HttpRequest) -> Response:
        gateway, found = self.gateway, self.gateway.find_recordings(request)
        query = parse_query(request.query_params)
        check_page_size(gateway, request, query.page_size)

        def select(page: PageSlice) -> tuple[int, list[bytes]]:
            shuffled = gateway.has_fault("random-order", request)
            total, rows = found.recordings.select(query, page, gateway.rng, shuffled=shuffled)
            return total, encode_recordings(rows, find_alterations(gateway, request))

        return answer_list(
            gateway,
            request,
            ListRequest(
                path=found.path,
                row_name="recordings",
                page=query.page,
                page_size=query.page_size,
                select=select,
                listed=found.recordings,
                newest_first=query.newest_first,
            ),
        )

    async def _get(self, request: HttpRequest) -> Response:
        recording = find_recording(self.gateway.find_recordings(request), request)
        [row] = encode_recordings([recording], find_alterations(self.gateway, request))
        return answer_json(self.gateway, request, row)

    async def _delete(self, request: HttpRequest) -> Response:
        found = self.gateway.find_recordings(request)
        found.recordings.delete(find_recording(found, request).key)
        return Response(status_code=204)
