"""The web application: two pages and a CSV export, on 127.0.0.1 only, from a read-only connection."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import chain
from typing import IO, Any
from zoneinfo import ZoneInfo

import uvicorn
from filelock import FileLock, Timeout
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vbc_source.analytics.database import AnalyticsDatabase, find_database
from vbc_source.config import load_config
from vbc_source.dashboard import csv_export, pages
from vbc_source.dashboard.figures import LIST_COLUMNS, Figures
from vbc_source.dashboard.filters import InvalidFilter, read_filters
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import pipeline_lock

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# DNS rebinding: a foreign page whose name resolves to 127.0.0.1 sends its own name in `Host` and is refused
HOST_NAMES = [HOST, "localhost"]
LOCK_SECONDS = 2.0
BUSY = "The database is being loaded. Try again in a moment."
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class DatabaseBusy(VbcError):
    """Another process is writing to the database."""


class DashboardDatabase:
    """Opens the database for one response at a time: an open connection would lock a load out of DuckDB.

    A response holds the lock that loads take too, if there is one.
    """

    def __init__(self, database: AnalyticsDatabase, lock: FileLock | None, zone: str) -> None:
        self.warehouse, self._zone = database, ZoneInfo(zone)
        self._lock, self._guard = lock, threading.Lock()

    @contextmanager
    def open(self) -> Iterator[Figures]:
        """Open the database; raises DatabaseBusy while another process writes to it."""
        with nullcontext() if self._lock is None else self._hold(self._lock), explaining():
            try:
                connection = self.warehouse.connect()
            except VbcError as error:
                if self.warehouse.kind == "duckdb" and type(error.__cause__).__name__ == "IOException":
                    raise DatabaseBusy(BUSY) from error  # opened by a process that does not take the lock
                raise
            with closing(connection):
                yield Figures(connection, self.warehouse, self._zone)

    def has_models(self) -> bool:
        """Return whether the models are built."""
        with self.open() as figures:
            return figures.have_models()

    @contextmanager
    def _hold(self, lock: FileLock) -> Iterator[None]:
        try:
            # concurrent responses share the lock: FileLock counts its holders, but not thread-safely
            with self._guard:
                lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise DatabaseBusy(BUSY) from None
        try:
            yield
        finally:
            with self._guard:
                lock.release()


def open_database(target: Target) -> DashboardDatabase:
    """Return the database of a target for the dashboard."""
    with explaining():
        config = load_config()
    database = find_database(target)
    # all threads of the server share one lock: DuckDB admits one process, and a load must get its turn
    lock = pipeline_lock(target.pipeline, thread_local=False) if database.kind == "duckdb" else None
    return DashboardDatabase(database, lock, config.vbc_timezone)


def make_app(database: DashboardDatabase) -> ASGIApp:
    """Return the ASGI application."""
    templates = pages.open_templates()
    dataset = database.warehouse.dataset

    def show(request: Request, template: str, build: Callable[..., dict[str, Any]]) -> Response:
        with database.open() as figures:
            if not figures.have_models():
                text = f"The models are not built yet for dataset {dataset}. Build them:"
                return show_message(503, "Nothing to show yet", text, "vbc models run")
            options = figures.read_options()
            if options is None:
                text = f"No recordings are loaded in dataset {dataset} yet. Load them, then build the models:"
                return show_message(200, "No recordings yet", text, "vbc sync && vbc models run")
            view = build(figures, options, request.query_params)
        return HTMLResponse(templates.get_template(template).render(view=view))

    def show_message(status: int, heading: str, text: str, command: str = "") -> Response:
        values = {"heading": heading, "text": text, "command": command, "can_retry": status != 400}
        return HTMLResponse(templates.get_template("message.html").render(values), status)

    def export(request: Request) -> Response:
        file = _write_csv(database, dict(request.query_params))
        headers = {"content-disposition": 'attachment; filename="recordings.csv"'}
        return StreamingResponse(
            csv_export.read_chunks(file),
            media_type="text/csv; charset=utf-8",
            headers=headers,
            background=BackgroundTask(file.close),
        )

    def handle_error(_: Request, error: Exception) -> Response:
        if isinstance(error, InvalidFilter):
            return show_message(400, "Invalid filter", str(error))
        if isinstance(error, DatabaseBusy):
            return show_message(503, "One moment", str(error))
        log.warning("dashboard: a request failed: %s", error)
        return show_message(503, "The figures cannot be read", str(error))

    routes = [
        Route("/", lambda request: show(request, "dashboard.html", pages.build_dashboard)),
        Route("/recordings", lambda request: show(request, "recordings.html", pages.build_list)),
        Route("/recordings.csv", export),
        Route("/style.css", lambda _: FileResponse(pages.TEMPLATES / "style.css")),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOST_NAMES, www_redirect=False)
    app = Starlette(routes=routes, middleware=[hosts], exception_handlers={VbcError: handle_error})
    return _add_headers(app)


def _add_headers(app: ASGIApp) -> ASGIApp:
    """Add `SECURITY_HEADERS` to every response, also to those of Starlette's own middleware."""
    headers = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await app(scope, receive, send_with_headers)

    return respond


def _write_csv(database: DashboardDatabase, query: Mapping[str, str]) -> IO[str]:
    with database.open() as figures:
        options = figures.read_options() if figures.have_models() else None
        if options is None:
            raise VbcError("there are no recordings to export: run vbc sync, then vbc models run")
        filters = read_filters(query, options.earliest, options.latest)
        return csv_export.write_csv(chain([LIST_COLUMNS], figures.iterate_recordings(filters)))


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of 127.0.0.1."""
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError:
        raise VbcError(f"port {port} is taken: choose another with --port") from None


def serve(database: DashboardDatabase, listener: socket.socket) -> None:
    """Serve until interrupted."""
    config = uvicorn.Config(
        make_app(database),
        log_config=None,
        log_level="critical",
        access_log=False,  # URLs show what somebody looks at
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
        uvicorn.Server(config).run([listener])
