"""ASGI application with the endpoints of all APIs."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from vbc_source.emulator.data.dates import MalformedDateError
from vbc_source.emulator.faults.responses import answer_bad_request
from vbc_source.emulator.routes.audio import AudioRoutes
from vbc_source.emulator.routes.exports import ExportRoutes
from vbc_source.emulator.routes.gateway_state import GatewayState, Refusal
from vbc_source.emulator.routes.parameters import InvalidParameterError
from vbc_source.emulator.routes.provisioning import ProvisioningRoutes
from vbc_source.emulator.routes.recordings import RecordingRoutes
from vbc_source.emulator.routes.reports import ReportRoutes


async def _answer_refusal(_request: HttpRequest, error: Exception) -> Response:
    return error.response if isinstance(error, Refusal) else answer_bad_request(str(error))


def make_application(gateway: GatewayState) -> Starlette:
    """Return the application of a gateway."""
    groups = (
        ExportRoutes(gateway),  # first: the id of a recording would match "jobs"
        RecordingRoutes(gateway),
        AudioRoutes(gateway),
        ProvisioningRoutes(gateway),
        ReportRoutes(gateway),
    )
    application = Starlette(
        routes=[route for group in groups for route in group.make_routes()],
        exception_handlers=dict.fromkeys(
            (Refusal, InvalidParameterError, MalformedDateError), _answer_refusal
        ),
    )
    application.router.redirect_slashes = False  # the gateway does not redirect either
    return application
