"""The dashboard: two pages and an export, served to this machine alone, from a database that is only read."""

from __future__ import annotations

import csv
import io
import logging
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from zoneinfo import ZoneInfo

import uvicorn
from filelock import FileLock, Timeout
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vbc_source.analytics.database import AnalyticsDatabase, find_database
from vbc_source.config import load_config
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import InvalidFilter, read_filters
from vbc_source.dashboard.pages import PAGES, open_templates, show_figures, show_recordings, spell_row
from vbc_source.dashboard.queries import COLUMNS
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import pipeline_lock

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]  # a page elsewhere that has its own name lead here is refused
TURN_SECONDS = 2.0
BUSY = "The database is being loaded. Try again in a moment."
EMPTY = "No recordings are loaded in dataset {dataset} yet. Load some, then build the models:"
UNBUILT = "The models are not built yet in dataset {dataset}. Build them:"
SECURE = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Busy(VbcError):
    """Another process has the database to itself for a while."""


class DashboardDatabase:
    """Opens the database for one answer at a time, and closes it: DuckDB lets a load in only then.

    Args:
        warehouse: where the models are.
        turn: keeps loads away for as long as an answer takes; None where that is not needed.
        zone: in which days and hours are counted.
    """

    def __init__(self, warehouse: AnalyticsDatabase, turn: FileLock | None, zone: str) -> None:
        self.warehouse, self.zone = warehouse, ZoneInfo(zone)
        self._turn, self._guard = turn, threading.Lock()

    @contextmanager
    def open(self) -> Iterator[Figures]:
        """Open the database.

        Raises:
            Busy: another process has it.
            VbcError: it cannot be opened.
        """
        with self._take_turn(), explaining():
            connection = self._connect()
            try:
                yield Figures(connection, self.warehouse, self.zone)
            finally:
                connection.close()

    def has_models(self) -> bool:
        """Whether the models are built."""
        with self.open() as figures:
            return figures.are_there()

    @contextmanager
    def _take_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        try:
            with self._guard:  # several answers at once share one turn
                self._turn.acquire(timeout=TURN_SECONDS)
        except Timeout:
            raise Busy(BUSY) from None
        try:
            yield
        finally:
            with self._guard:
                self._turn.release()

    def _connect(self) -> Any:
        try:
            return self.warehouse.connect()
        except VbcError as error:
            if self.warehouse.kind == "duckdb" and type(error.__cause__).__name__ == "IOException":
                raise Busy(BUSY) from error  # a process that takes no turns has it open
            raise


def open_database(target: Target) -> DashboardDatabase:
    """Open the database of a target for the dashboard.

    Raises:
        VbcError: A setting is malformed, or the destination has no models.
    """
    with explaining():
        config = load_config()
    warehouse = find_database(target)
    # threads of the server share one lock: DuckDB admits one process, and a load in between needs its turn
    lock = pipeline_lock(target.pipeline, thread_local=False) if warehouse.kind == "duckdb" else None
    return DashboardDatabase(warehouse, lock, config.vbc_timezone)


def make_app(desk: DashboardDatabase) -> ASGIApp:
    """Make the application that answers."""
    templates = open_templates()

    def page(request: Request, template: str, show: Callable[..., dict[str, Any] | None]) -> Response:
        with desk.open() as figures:
            if not figures.are_there():
                return say(
                    503,
                    "Nothing to show yet",
                    UNBUILT.format(dataset=desk.warehouse.dataset),
                    "vbc models run",
                )
            view = show(figures, request.query_params, desk.zone.key)
        if view is None:
            text = EMPTY.format(dataset=desk.warehouse.dataset)
            return say(200, "No recordings yet", text, "vbc sync && vbc models run")
        return HTMLResponse(templates.get_template(template).render(view=view))

    def say(status: int, heading: str, text: str, command: str = "") -> Response:
        told = {"heading": heading, "text": text, "command": command, "again": status != 400}
        return HTMLResponse(templates.get_template("message.html").render(told), status)

    def figures(request: Request) -> Response:
        return page(request, "dashboard.html", show_figures)

    def recordings(request: Request) -> Response:
        return page(request, "recordings.html", show_recordings)

    def export(request: Request) -> Response:
        lines = _write_csv(desk, dict(request.query_params))
        next(lines)  # what goes wrong before the first line still has a status of its own
        return _Export(lines)

    def style(_: Request) -> Response:
        return FileResponse(PAGES / "style.css")

    def fail(_: Request, error: Exception) -> Response:
        if isinstance(error, InvalidFilter):
            return say(400, "That cannot be shown", str(error))
        if isinstance(error, Busy):
            return say(503, "One moment", str(error))
        log.warning("a page failed: %s", error)
        return say(503, "The figures cannot be read", str(error))

    routes = [
        Route("/", figures),
        Route("/recordings", recordings),
        Route("/recordings.csv", export),
        Route("/style.css", style),
    ]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)]
    return _Secured(Starlette(routes=routes, middleware=guard, exception_handlers={VbcError: fail}))


class _Secured:
    """Has every answer say what the browser must not do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in SECURE.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        await self._app(scope, receive, secured)


class _Export(StreamingResponse):
    """Gives the database back at its end, also where the reader leaves before that."""

    def __init__(self, lines: Generator[str, None, None]) -> None:
        named = {"content-disposition": 'attachment; filename="recordings.csv"'}
        super().__init__(lines, media_type="text/csv; charset=utf-8", headers=named)
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._lines.close()


def _write_csv(desk: DashboardDatabase, asked: Mapping[str, str]) -> Generator[str, None, None]:
    """Yield nothing once, when all is well, and then the lines, some at a time."""
    with desk.open() as figures:
        choices = figures.choices() if figures.are_there() else None
        if choices is None:
            raise VbcError("there are no recordings to export: run vbc sync, then vbc models run")
        rows = figures.every_recording(read_filters(asked, choices.earliest, choices.latest))
        yield ""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for number, row in enumerate(rows, 1):
            writer.writerow(spell_row(row))
            if number % 1000 == 0:
                yield text.getvalue()
                text.seek(0)
                text.truncate()
        yield text.getvalue()


def listen(port: int) -> socket.socket:
    """Take a port of this machine, which no other can reach.

    Raises:
        VbcError: it is taken.
    """
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError:
        raise VbcError(f"port {port} is taken: choose another with --port") from None


def serve(desk: DashboardDatabase, listener: socket.socket) -> None:
    """Serve until interrupted."""
    config = uvicorn.Config(
        make_app(desk),
        log_config=None,
        log_level="critical",
        access_log=False,  # addresses hold what somebody looks at
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        uvicorn.Server(config).run([listener])
