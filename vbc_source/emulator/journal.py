"""What was asked, and what was answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Scope, Send

from vbc_source.emulator.times import format_http_date


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was received.

    Attributes:
        time: Epoch seconds.
        method: In capitals.
        path: Decoded, without parameters.
        query: The decoded parameters.
        status: Of the answer; 0 while there is none.
        headers: Of the request, names in lower case.
    """

    time: float
    method: str
    path: str
    query: dict[str, str]
    status: int
    headers: dict[str, str]


def read_request(scope: Scope, now: float) -> Request:
    """Read a request's line and headers."""
    return Request(
        time=now,
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        status=0,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )


class Journal:
    """The requests answered so far."""

    def __init__(self, clock: Callable[[], float], lock: AbstractContextManager[Any]) -> None:
        """Begin empty."""
        self._clock = clock
        self._lock = lock
        self._requests: list[Request] = []

    def copy(self) -> list[Request]:
        """Copy the requests, oldest first."""
        with self._lock:
            return list(self._requests)

    def count(self, path_part: str) -> int:
        """Count the requests whose path contains a text."""
        with self._lock:
            return sum(path_part in request.path for request in self._requests)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._requests.clear()

    def note(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self._requests.append(request)

    def watch(self, request: Request, send: Send) -> Send:
        """Keep a request at the moment its answer begins, before the caller can see it."""

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.note(replace(request, status=message["status"]))
                # The server's own Date would not follow the gateway's clock, but Retry-After does.
                date = (b"date", format_http_date(self._clock()).encode())
                message = {**message, "headers": [date, *message["headers"]]}
            await send(message)

        return send_noted
