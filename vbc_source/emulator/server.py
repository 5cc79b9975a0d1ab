"""Serving a gateway over HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vbc_source.emulator.breaks import TRANSPORT
from vbc_source.emulator.gateway import Gateway

_START_SECONDS = 30
_STOP_SECONDS = 5


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, which may want to hang up."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


class _Server(uvicorn.Server):
    """Tells when it is up, and stops without waiting for its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.up.set()
        await self._stopping.wait()

    def stop(self) -> None:
        self.should_exit = self.force_exit = True
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


def _configure(gateway: Gateway) -> uvicorn.Config:
    # No Date: the gateway sets it by its own clock.
    return uvicorn.Config(
        gateway,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )


def _bind(gateway: Gateway, host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=2048)
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - only compared
    gateway.bind(f"http://{shown}:{listener.getsockname()[1]}")
    return listener


class Emulator:
    """Serves a gateway from a thread, for as long as a ``with`` block lasts.

    Entering gives the base URL, once the server answers.
    """

    def __init__(self, gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Prepare to serve.

        Args:
            gateway: What to serve; it outlives the server and can be served again.
            host: Address to listen on.
            port: Port to listen on; 0 for a free one.
        """
        self._gateway = gateway
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> str:
        """Start the server and return its base URL."""
        listener = _bind(self._gateway, self._host, self._port)
        self._server = _Server(_configure(self._gateway))
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="emulator", daemon=True
        )
        self._thread.start()
        if not self._server.up.wait(_START_SECONDS):
            raise RuntimeError("the emulator did not start")
        return self._gateway.base_url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, and cut off whoever is still connected."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(_STOP_SECONDS)


def serve(gateway: Gateway, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve a gateway until interrupted.

    Args:
        gateway: What to serve.
        host: Address to listen on.
        port: Port to listen on.
    """
    listener = _bind(gateway, host, port)
    uvicorn.Server(_configure(gateway)).run([listener])
