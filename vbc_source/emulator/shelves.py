"""Listing, showing and deleting recordings, whoever they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from vbc_source.emulator.api import Api, Listing
from vbc_source.emulator.bodies import answer_bad_request
from vbc_source.emulator.disguises import encode_rows
from vbc_source.emulator.order import Cut
from vbc_source.emulator.queries import BadQueryError, parse_query
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.times import MalformedDateError


@dataclass(frozen=True, slots=True)
class Shelf:
    """The recordings that a request is about.

    Attributes:
        recordings: The store.
        path: Of their list, behind the prefix.
    """

    recordings: Recordings
    path: str


def answer_missing(what: str = "Recording") -> Response:
    """Answer that there is no such thing."""
    return JSONResponse({"status": 404, "message": f"{what} not found"}, 404)


def list_recordings(api: Api, request: HttpRequest, shelf: Shelf | Response) -> Response:
    """Answer with a page of recordings, or with what stands in the way."""
    if isinstance(shelf, Response):
        return shelf
    try:
        query = parse_query(dict(request.query_params))
        api.check_page_size(request, query.page_size)
    except (BadQueryError, MalformedDateError) as error:
        return answer_bad_request(str(error))
    store = shelf.recordings

    def select(cut: Cut) -> tuple[int, list[bytes]]:
        total, rows = store.select(query, cut, api.rng, mixed=api.has("random-order", request))
        return total, encode_rows(rows, api.find_disguises(request))

    return api.answer_list(
        request,
        Listing(shelf.path, "recordings", query.page, query.page_size, select, store, query.newest_first),
    )


def show_recording(api: Api, request: HttpRequest, shelf: Shelf | Response) -> Response:
    """Answer with one recording, or with what stands in the way."""
    if isinstance(shelf, Response):
        return shelf
    row = shelf.recordings.find(request.path_params["id"])
    if row is None:
        return answer_missing()
    return api.send_json(request, encode_rows([row], api.find_disguises(request))[0])


def delete_recording(request: HttpRequest, shelf: Shelf | Response) -> Response:
    """Delete one recording, or answer with what stands in the way."""
    if isinstance(shelf, Response):
        return shelf
    row = shelf.recordings.find(request.path_params["id"])
    if row is None:
        return answer_missing()
    shelf.recordings.delete(row.key)
    return Response(status_code=204)
