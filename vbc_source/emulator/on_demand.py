"""The endpoints of users' on-demand call recordings."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vbc_source.emulator.accounts import Account
from vbc_source.emulator.api import INDIA, PREFIXES, Api
from vbc_source.emulator.bodies import NO_RIGHTS
from vbc_source.emulator.shelves import (
    Shelf,
    answer_missing,
    delete_recording,
    list_recordings,
    show_recording,
)


def find_user(api: Api, request: HttpRequest) -> tuple[Account, str] | Response:
    """Look up the account and the user in a request's path, or tell what stands in the way."""
    account = api.find_account(request)
    if account is None:
        return PlainTextResponse(NO_RIGHTS, 403)
    user = account.users.resolve(request.path_params["user"])
    if not account.users.knows(user):
        return answer_missing("User")
    if account.users.forbids(user):
        return PlainTextResponse(NO_RIGHTS, 403)
    return account, user


def find_shelf(api: Api, request: HttpRequest) -> Shelf | Response:
    """Look up a user's recordings, or tell what stands in the way."""
    found = find_user(api, request)
    if isinstance(found, Response):
        return found
    account, user = found
    path = f"/accounts/{account.account_id}/users/{user}/call_recordings"
    return Shelf(account.users.recordings(user), path)


@dataclass(frozen=True, slots=True)
class OnDemand:
    """Answers requests for users' call recordings, which do not exist in India."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoints."""
        routes = []
        for prefix in PREFIXES:
            if prefix != INDIA:
                rows = f"{prefix}/accounts/{{account}}/users/{{user}}/call_recordings"
                routes += [
                    Route(rows, self._list, methods=["GET"]),
                    Route(f"{rows}/{{id}}", self._show, methods=["GET"]),
                    Route(f"{rows}/{{id}}", self._delete, methods=["DELETE"]),
                ]
        return routes

    async def _list(self, request: HttpRequest) -> Response:
        return list_recordings(self.api, request, find_shelf(self.api, request))

    async def _show(self, request: HttpRequest) -> Response:
        return show_recording(self.api, request, find_shelf(self.api, request))

    async def _delete(self, request: HttpRequest) -> Response:
        return delete_recording(request, find_shelf(self.api, request))
