"""Shared by the tests of the API client: a clock, emulated gateways, and a server of raw bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from starlette.types import Receive, Scope, Send

from vbc_source.config import VbcCredentials
from vbc_source.emulator import Emulator, Gateway

NOON = 1_750_248_000.0  # Wednesday, 18 June 2025, 12:00 UTC
API = "/t/vbc.prod/call_recording/api"
LIST = f"{API}/accounts/self/company_call_recordings"
PASSWORD = {
    "client_id": "demo-client",
    "client_secret": "demo-secret",
    "username": "demo@vbc.prod",
    "password": "demo-password",
}


def make_credentials(**changes: str | None) -> VbcCredentials:
    """Return credentials that the emulator accepts, with changes."""
    return VbcCredentials(**{**PASSWORD, **changes})


class Clock:
    """A clock that moves only while threads wait; threads that wait at the same time wait in parallel."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        until = self.now + seconds
        with self._lock:
            self.waits.append(seconds)
            self.now = max(self.now, until)
        return False

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)


class Stage(Gateway):
    """One server for many gateways: each test gets a new gateway, and the server keeps running."""

    current: Gateway

    def start(self, **options: Any) -> Gateway:
        return self.show(Gateway(**options))

    def show(self, gateway: Gateway) -> Gateway:
        self.current = gateway
        gateway.bind(self.base_url)
        return gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.current(scope, receive, send)


@contextmanager
def serve_gateways() -> Iterator[Stage]:
    stage = Stage()
    with Emulator(stage):
        yield stage


@dataclass(frozen=True)
class Seen:
    """A request that a raw server received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class RawServer:
    """The address of a raw server, and the requests that it received."""

    url: str
    seen: list[Seen]


@contextmanager
def serve_bytes(answer: Callable[[Seen], bytes]) -> Iterator[RawServer]:
    """Serve the bytes that a function returns, for responses that the emulator does not send."""
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append(Seen(self.command, self.path, headers, body))
            self.wfile.write(answer(seen[-1]))
            self.close_connection = True

        do_GET = do_POST = handle_any  # noqa: N815 - names of http.server

        def log_message(self, *parts: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield RawServer(f"http://127.0.0.1:{server.server_port}", seen)
        finally:
            server.shutdown()
            thread.join()


def write_answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP response as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def write_login(token: str = "raw-token", **fields: object) -> bytes:
    """Return a valid response of /token."""
    body = {"access_token": token, "refresh_token": "raw-refresh", "expires_in": 86_400, **fields}
    return write_answer("200 OK", json.dumps(body).encode(), "Content-Type: application/json")
