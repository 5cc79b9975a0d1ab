"""The endpoints of export jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.api import INDIA, PREFIXES, Api, Listing
from vbc_source.emulator.bodies import answer_bad_request
from vbc_source.emulator.company import find_company
from vbc_source.emulator.files import plan_file
from vbc_source.emulator.on_demand import find_shelf, find_user
from vbc_source.emulator.order import Cut
from vbc_source.emulator.queries import BadQueryError, Query, parse_paging, parse_query
from vbc_source.emulator.shelves import Shelf, answer_missing
from vbc_source.emulator.times import MalformedDateError

FindShelf = Callable[[Api, HttpRequest], "Shelf | Response"]


def _read_filters(body: bytes) -> Query:
    """Read an export's filters: those of a list, as JSON.

    Raises:
        BadQueryError: The body or a filter cannot be read.
        MalformedDateError: A date cannot be read.
    """
    try:
        filters: Any = json.loads(body)
    except ValueError:
        raise BadQueryError("body", "is not JSON") from None
    if not isinstance(filters, dict):
        raise BadQueryError("body", "is not an object")
    names = set(filters) - {"order", "page", "page_size"}
    return parse_query({name: str(filters[name]) for name in names if filters[name] is not None})


@dataclass(frozen=True, slots=True)
class Exports:
    """Answers requests to export recordings and to look after the jobs that do."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoints; they must come before those that take anything for a recording's id."""
        routes = []
        for prefix in PREFIXES:
            account = f"{prefix}/accounts/{{account}}"
            rows = f"{account}/users/{{user}}/call_recordings"
            export = f"{account}/company_call_recordings/export"
            routes += [
                Route(export, self._export_company, methods=["POST"]),
                Route(f"{rows}/jobs", self._list, methods=["GET"]),
                Route(f"{rows}/jobs/{{id}}", self._show, methods=["GET"]),
            ]
            if prefix != INDIA:
                routes.append(Route(f"{rows}/export", self._export_user, methods=["POST"]))
        return routes

    async def _export_company(self, request: HttpRequest) -> Response:
        return await self._export(request, find_company)

    async def _export_user(self, request: HttpRequest) -> Response:
        return await self._export(request, find_shelf)

    async def _export(self, request: HttpRequest, find: FindShelf) -> Response:
        shelf = find(self.api, request)
        account = self.api.find_account(request)
        if isinstance(shelf, Response) or account is None:
            return shelf if isinstance(shelf, Response) else answer_missing("Account")
        try:
            query = _read_filters(await request.body())
        except (BadQueryError, MalformedDateError) as error:
            return answer_bad_request(str(error))
        store = shelf.recordings
        files = tuple(plan_file(row, store) for row in store.match(query))
        # A company's export is listed under whoever started it.
        user = account.users.resolve(request.path_params.get("user", "self"))
        job = account.jobs.start(user, files, partly=self.api.has("jobs-partly", request))
        return JSONResponse({"job_ids": [job.id]}, 202)

    async def _list(self, request: HttpRequest) -> Response:
        found = find_user(self.api, request)
        if isinstance(found, Response):
            return found
        account, user = found
        try:
            page, page_size = parse_paging(request.query_params)
            self.api.check_page_size(request, page_size)
        except BadQueryError as error:
            return answer_bad_request(str(error))

        def select(cut: Cut) -> tuple[int, list[bytes]]:
            rows = account.jobs.select(user, keep_expired=self.api.has("expired-listed", request))
            status = request.query_params.get("status")
            return self.api.cut_rows(request, [row for row in rows if status in (None, row["status"])], cut)

        path = f"/accounts/{account.account_id}/users/{user}/call_recordings/jobs"
        return self.api.answer_list(request, Listing(path, "jobs", page, page_size, select))

    async def _show(self, request: HttpRequest) -> Response:
        found = find_user(self.api, request)
        if isinstance(found, Response):
            return found
        account, user = found
        rows = account.jobs.select(user, keep_expired=self.api.has("expired-listed", request))
        row = next((row for row in rows if str(row["id"]) == request.path_params["id"]), None)
        if row is None:
            return answer_missing("Job")
        return self.api.send_json(request, self.api.cut_rows(request, [row], Cut(0, 1))[1][0])
