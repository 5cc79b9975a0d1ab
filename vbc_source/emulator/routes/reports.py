"""Endpoint of the Reports API: call logs."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vbc_source.emulator.data.selection import PageSlice
from vbc_source.emulator.faults.altered_rows import encode_recordings
from vbc_source.emulator.routes.gateway_state import REPORTS_PREFIX, GatewayState
from vbc_source.emulator.routes.pages import (
    ListRequest,
    answer_list,
    check_page_size,
    find_alterations,
)
from vbc_source.emulator.routes.parameters import InvalidParameterError, parse_report_query
from vbc_source.emulator.routes.provisioning import answer_invalid_parameter


@dataclass(frozen=True, slots=True)
class ReportRoutes:
    """Endpoint of call logs."""

    gateway: GatewayState

    def make_routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(f"{REPORTS_PREFIX}/accounts/{{account}}/call-logs", self._list, methods=["GET"])]

    async def _list(self, request: HttpRequest) -> Response:
        gateway = self.gateway
        if request.path_params["account"] == "self":  # unlike the Call Recording API
            return answer_invalid_parameter("account_id", "must be a number")
        account = gateway.find_account(request)
        if account is None:
            return JSONResponse({"msg": "User is not authorized to access this account", "status": 403}, 403)
        try:
            query = parse_report_query(request.query_params)
            check_page_size(gateway, request, query.page_size)
        except InvalidParameterError as error:
            return answer_invalid_parameter(error.name, error.reason)

        def select(page: PageSlice) -> tuple[int, list[bytes]]:
            shuffled = gateway.has_fault("random-order", request)
            total, rows = account.call_logs.select(query, page, gateway.rng, shuffled=shuffled)
            return total, encode_recordings(rows, find_alterations(gateway, request))

        path = f"/accounts/{account.account_id}/call-logs"
        listing = ListRequest(path, "call_logs", query.page, query.page_size, select, account.call_logs)
        return answer_list(gateway, request, listing)
