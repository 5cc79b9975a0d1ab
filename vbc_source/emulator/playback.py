"""The endpoints of audio."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from vbc_source.emulator.api import INDIA, PREFIXES, Api
from vbc_source.emulator.audio import answer_audio
from vbc_source.emulator.company import find_company
from vbc_source.emulator.files import plan_file
from vbc_source.emulator.on_demand import find_shelf
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
        audio = plan_file(row, shelf.recordings).make_audio()
        return answer_audio(audio, request.headers.get("range"))
