"""Which path leads where."""

from __future__ import annotations

from starlette.routing import Router

from vbc_source.emulator.api import Api
from vbc_source.emulator.company import Company
from vbc_source.emulator.downloads import Downloads
from vbc_source.emulator.exports import Exports
from vbc_source.emulator.on_demand import OnDemand
from vbc_source.emulator.playback import Playback
from vbc_source.emulator.provisioning import Provisioning


def make_router(api: Api) -> Router:
    """Route the endpoints of all APIs."""
    groups = (Exports(api), Downloads(api), Company(api), OnDemand(api), Playback(api), Provisioning(api))
    return Router([route for group in groups for route in group.make_routes()], redirect_slashes=False)
