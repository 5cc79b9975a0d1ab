"""Log of the requests that a gateway has answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Message, Scope, Send

from vbc_source.emulator.data.dates import format_http_date


@dataclass(frozen=True, slots=True)
class Request:
    """A received request.

    Attributes:
        time: Epoch seconds.
        method: Method in upper case.
        path: Decoded path, without parameters.
        query: Decoded parameters.
        status: Status of the response; 0 without one.
        headers: Headers with names in lower case.
    """

    time: float
    method: str
    path: str
    query: dict[str, str]
    status: int
    headers: dict[str, str]


def read_request(scope: Scope, now: float) -> Request:
    """Read a request from an ASGI scope."""
    return Request(
        time=now,
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
        status=0,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )


class RequestLog:
    """Requests answered so far. Thread-safe."""

    def __init__(self, clock: Callable[[], float], lock: AbstractContextManager[Any]) -> None:
        """Create an empty log."""
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
        """Remove all requests."""
        with self._lock:
            self._requests.clear()

    def append(self, request: Request) -> None:
        """Add a request."""
        with self._lock:
            self._requests.append(request)

    def wrap_send(self, request: Request, send: Send) -> Send:
        """Return an ASGI `send` that logs the request before the client receives the response."""

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Before the first byte: a client that has the response finds its request in the log.
                self.append(replace(request, status=message["status"]))
                # The server's own Date would not follow the gateway's clock, as Retry-After does.
                date = (b"date", format_http_date(self._clock()).encode())
                message = {**message, "headers": [date, *message["headers"]]}
            await send(message)

        return send_logged
