"""The endpoints of company call recordings."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vbc_source.emulator.api import PREFIXES, Api
from vbc_source.emulator.bodies import NO_RIGHTS
from vbc_source.emulator.shelves import Shelf, delete_recording, list_recordings, show_recording


def find_company(api: Api, request: HttpRequest) -> Shelf | Response:
    """Look up a company's recordings, or tell what stands in the way."""
    account = api.find_account(request)
    if account is None:
        return PlainTextResponse(NO_RIGHTS, 403)
    return Shelf(account.company, f"/accounts/{account.account_id}/company_call_recordings")


@dataclass(frozen=True, slots=True)
class Company:
    """Answers requests for company call recordings."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoints under every prefix."""
        routes = []
        for prefix in PREFIXES:
            rows = f"{prefix}/accounts/{{account}}/company_call_recordings"
            routes += [
                Route(rows, self._list, methods=["GET"]),
                Route(f"{rows}/{{id}}", self._show, methods=["GET"]),
                Route(f"{rows}/{{id}}", self._delete, methods=["DELETE"]),
            ]
        return routes

    async def _list(self, request: HttpRequest) -> Response:
        return list_recordings(self.api, request, find_company(self.api, request))

    async def _show(self, request: HttpRequest) -> Response:
        return show_recording(self.api, request, find_company(self.api, request))

    async def _delete(self, request: HttpRequest) -> Response:
        return delete_recording(request, find_company(self.api, request))
