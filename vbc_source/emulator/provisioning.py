"""The endpoints of the Provisioning API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.api import PROVISIONING, Api, Listing
from vbc_source.emulator.order import Cut
from vbc_source.emulator.queries import BadQueryError, parse_paging
from vbc_source.emulator.users import Users

_ROWS: dict[str, Callable[[Users], list[dict[str, Any]]]] = {
    "users": Users.all,
    "extensions": Users.extensions,
}


def _refuse(name: str, reason: str) -> Response:
    problem = {"name": name, "reason": reason}
    title = "Invalid parameters given"
    return JSONResponse(
        {"status": 400, "title": title, "instance": "emulator", "invalid_parameters": [problem]}, 400
    )


@dataclass(frozen=True, slots=True)
class Provisioning:
    """Answers requests for users and extensions."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoints."""
        return [Route(f"{PROVISIONING}/accounts/{{account}}/{name}", self._list) for name in _ROWS]

    async def _list(self, request: HttpRequest) -> Response:
        if request.path_params["account"] == "self" and self.api.has("provisioning-no-self", request):
            return _refuse("account_id", "must be a number")
        account = self.api.find_account(request)
        if account is None:
            return JSONResponse({"msg": "User is not authorized to access this account", "status": 403}, 403)
        try:
            page, page_size = parse_paging(request.query_params)
            self.api.check_page_size(request, page_size)
        except BadQueryError as error:
            return _refuse(error.name, error.reason)
        name, users = request.scope["path"].rsplit("/", 1)[1], account.users

        def select(cut: Cut) -> tuple[int, list[bytes]]:
            return self.api.cut_rows(request, _ROWS[name](users), cut)

        path = f"/accounts/{account.account_id}/{name}"
        return self.api.answer_list(request, Listing(path, "data", page, page_size, select, users))
