"""Endpoints of audio files."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vbc_source.emulator.data.audio import AudioFile, make_wav
from vbc_source.emulator.faults.active import Fault
from vbc_source.emulator.faults.broken_responses import HalfResponse
from vbc_source.emulator.faults.catalogue import AUDIO
from vbc_source.emulator.faults.responses import answer_fault
from vbc_source.emulator.routes.gateway_state import INDIA_PREFIX, RECORDING_PREFIXES, GatewayState
from vbc_source.emulator.routes.ranges import answer_bytes
from vbc_source.emulator.routes.recordings import find_recording


@dataclass(frozen=True, slots=True)
class AudioRoutes:
    """Endpoints of audio files."""

    gateway: GatewayState

    def make_routes(self) -> list[Route]:
        """Return the routes under every prefix."""
        routes = []
        for prefix in RECORDING_PREFIXES:
            path = f"{prefix}/audio/recording"
            routes += [
                Route(f"{path}/{{id}}", self._get_of_main_account, methods=["GET"]),
                Route(f"{path}/{{account}}/{{id}}", self._get, methods=["GET"]),
            ]
            if prefix != INDIA_PREFIX:
                path = f"{prefix}/audio/user_recording/{{account}}/{{user}}/{{id}}"
                routes.append(Route(path, self._get, methods=["GET"]))
        return routes

    async def _get_of_main_account(self, request: HttpRequest) -> Response:
        # Links of the main account have no account in their path.
        request.path_params["account"] = "self"
        return await self._get(request)

    async def _get(self, request: HttpRequest) -> Response:
        found = self.gateway.find_recordings(request)
        file = found.recordings.audio_file(find_recording(found, request))
        fault = self.gateway.faults.take(AUDIO, request.scope["path"])
        if fault is None:
            return answer_bytes(file.make_audio(), request.headers.get("range"))
        return self._apply_fault(fault, file, request)

    def _apply_fault(self, fault: Fault, file: AudioFile, request: HttpRequest) -> Response:
        audio, range_header = file.make_audio(), request.headers.get("range")
        if fault.name == "audio-short":
            return answer_bytes(replace(audio, size=audio.size * 2 // 3), range_header)
        if fault.name == "audio-cut":
            return HalfResponse(answer_bytes(audio, range_header))
        if fault.name == "audio-no-range":
            return answer_bytes(audio, None)
        if fault.name == "audio-redirect":
            return RedirectResponse(self.gateway.storage_url + request.scope["path"], 302)
        if fault.name == "audio-wav":
            return answer_bytes(make_wav(file.size), range_header)
        return answer_fault(fault, self.gateway.clock())
