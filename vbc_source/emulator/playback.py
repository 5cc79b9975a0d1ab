"""The endpoints of audio."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vbc_source.emulator.api import INDIA, PREFIXES, Api
from vbc_source.emulator.audio import make_wav
from vbc_source.emulator.bodies import answer_fault
from vbc_source.emulator.breaks import HalfResponse
from vbc_source.emulator.catalogue import AUDIO
from vbc_source.emulator.company import find_company
from vbc_source.emulator.faults import Fault
from vbc_source.emulator.files import File, plan_file
from vbc_source.emulator.on_demand import find_shelf
from vbc_source.emulator.ranges import answer_content
from vbc_source.emulator.shelves import Shelf, answer_missing


@dataclass(frozen=True, slots=True)
class Playback:
    """Answers requests for the audio of recordings."""

    api: Api

    def make_routes(self) -> list[Route]:
        """Route the endpoints under every prefix."""
        routes = []
        for prefix in PREFIXES:
            audio = f"{prefix}/audio/recording"
            routes += [
                Route(f"{audio}/{{id}}", self._play_main, methods=["GET"]),
                Route(f"{audio}/{{account}}/{{id}}", self._play_company, methods=["GET"]),
            ]
            if prefix != INDIA:
                path = f"{prefix}/audio/user_recording/{{account}}/{{user}}/{{id}}"
                routes.append(Route(path, self._play_user, methods=["GET"]))
        return routes

    async def _play_main(self, request: HttpRequest) -> Response:
        request.path_params["account"] = "self"
        return await self._play_company(request)

    async def _play_company(self, request: HttpRequest) -> Response:
        return self._play(request, find_company(self.api, request))

    async def _play_user(self, request: HttpRequest) -> Response:
        return self._play(request, find_shelf(self.api, request))

    def _play(self, request: HttpRequest, shelf: Shelf | Response) -> Response:
        if isinstance(shelf, Response):
            return shelf
        row = shelf.recordings.find(request.path_params["id"])
        if row is None:
            return answer_missing()
        file = plan_file(row, shelf.recordings)
        fault = self.api.faults.take(AUDIO, request.scope["path"])
        if fault is None:
            return answer_content(file.make_audio(), request.headers.get("range"))
        return self._spoil(fault, file, request)

    def _spoil(self, fault: Fault, file: File, request: HttpRequest) -> Response:
        """Answer with audio that something is wrong with, or with something else."""
        audio, span = file.make_audio(), request.headers.get("range")
        if fault.name == "audio-short":
            return answer_content(replace(audio, size=audio.size * 2 // 3), span)
        if fault.name == "audio-cut":
            return HalfResponse(answer_content(audio, span))
        if fault.name == "audio-no-range":
            return answer_content(audio, None)
        if fault.name == "audio-redirect":
            return RedirectResponse(self.api.storage_url + request.scope["path"], 302)
        if fault.name == "audio-wav":
            return answer_content(make_wav(file.size), span)
        return answer_fault(fault, self.api.scene.clock())
