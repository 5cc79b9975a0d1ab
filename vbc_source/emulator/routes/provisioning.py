"""Endpoints of the Provisioning API: users and extensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.data.people import Fields
from vbc_source.emulator.data.selection import PageSlice
from vbc_source.emulator.data.users import Users
from vbc_source.emulator.routes.gateway_state import PROVISIONING_PREFIX, GatewayState
from vbc_source.emulator.routes.pages import ListRequest, answer_list, check_page_size, slice_rows
from vbc_source.emulator.routes.parameters import InvalidParameterError, parse_paging

_LISTS: dict[str, Callable[[Users], list[Fields]]] = {"users": Users.all, "extensions": Users.extensions}


def answer_invalid_parameter(name: str, reason: str) -> Response:
    """Return the response of the Provisioning and Reports APIs to an invalid parameter."""
    # Unlike the Call Recording API, they report invalid parameters in a list.
    body = {
        "status": 400,
        "title": "Invalid parameters given",
        "instance": "emulator",
        "invalid_parameters": [{"name": name, "reason": reason}],
    }
    return JSONResponse(body, 400)


@dataclass(frozen=True, slots=True)
class ProvisioningRoutes:
    """Endpoints of users and extensions."""

    gateway: GatewayState

    def make_routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(f"{PROVISIONING_PREFIX}/accounts/{{account}}/{name}", self._list) for name in _LISTS]

    async def _list(self, request: HttpRequest) -> Response:
        gateway = self.gateway
        if request.path_params["account"] == "self" and gateway.has_fault("provisioning-no-self", request):
            return answer_invalid_parameter("account_id", "must be a number")
        account = gateway.find_account(request)
        if account is None:
            return JSONResponse({"msg": "User is not authorized to access this account", "status": 403}, 403)
        try:
            page, page_size = parse_paging(request.query_params)
            check_page_size(gateway, request, page_size)
        except InvalidParameterError as error:
            return answer_invalid_parameter(error.name, error.reason)
        name, users = request.scope["path"].rsplit("/", 1)[1], account.users

        def select(page: PageSlice) -> tuple[int, list[bytes]]:
            return slice_rows(gateway, request, _LISTS[name](users), page)

        path = f"/accounts/{account.account_id}/{name}"
        return answer_list(gateway, request, ListRequest(path, "data", page, page_size, select, users))
