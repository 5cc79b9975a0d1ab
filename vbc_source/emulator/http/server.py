"""HTTP server of a gateway."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vbc_source.emulator.faults.broken_responses import TRANSPORT
from vbc_source.emulator.http.gateway import Gateway

_START_SECONDS = 30
_STOP_SECONDS = 5


class _Protocol(HttpToolsProtocol):
    """Passes the transport to the application, which closes it for some faults."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]


class ThreadServer(uvicorn.Server):
    """Server in a thread that signals when it is ready, and stops at once.

    uvicorn looks for a request to stop every 0.1 s and sleeps for another 0.1 s while it stops, which is
    long for tests that start hundreds of servers.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    async def main_loop(self) -> None:
        """Serve until `stop` is called."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self.ready.set()
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, those with a request in flight too."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # idle connections close now; those with a request in flight are cut off
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def stop(self) -> None:
        """Stop the server from another thread."""
        # first: uvicorn looks at it before it enters the loop, where there may be nothing to wake yet
        self.should_exit = self.force_exit = True
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


def _configure(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http=_Protocol,
        ws="none",
        lifespan="off",
        # uvicorn would configure the logging of the whole process
        log_config=None,
        log_level="critical",
        access_log=False,
        date_header=False,  # the gateway sends a Date that follows its own clock
        timeout_graceful_shutdown=1,
    )


def _bind(gateway: Gateway, host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=2048)
    reachable = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - only compared
    gateway.bind(f"http://{reachable}:{listener.getsockname()[1]}")
    return listener


class Emulator:
    """Context manager that serves a gateway from a thread.

    `with Emulator(gateway) as url` returns the base URL as soon as the server accepts requests.
    """

    def __init__(self, gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Prepare the server.

        Args:
            gateway: Gateway to serve; it outlives the server and can be served again.
            host: Address to listen on.
            port: Port to listen on; 0 for any free port.
        """
        self._gateway = gateway
        self._host = host
        self._port = port
        self._server: ThreadServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> str:
        """Start the server and return its base URL.

        Raises:
            RuntimeError: The server did not start in 30 seconds.
        """
        # before the thread starts: links need the port, and a client that is early waits in the backlog
        listener = _bind(self._gateway, self._host, self._port)
        self._server = ThreadServer(_configure(self._gateway))
        # a daemon: a test that never leaves the block does not keep its process alive
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="emulator", daemon=True
        )
        self._thread.start()
        if not self._server.ready.wait(_START_SECONDS):
            raise RuntimeError(f"the emulator did not start in {_START_SECONDS} seconds")
        return self._gateway.base_url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and close its connections."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(_STOP_SECONDS)


def serve(gateway: Gateway, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve a gateway until interrupted.

    Args:
        gateway: Gateway to serve.
        host: Address to listen on.
        port: Port to listen on.
    """
    listener = _bind(gateway, host, port)
    uvicorn.Server(_configure(gateway)).run([listener])
