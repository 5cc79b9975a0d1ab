"""The web application: pages, audio and a CSV export, on 127.0.0.1 only, from a read-only connection."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import date, datetime
from itertools import chain
from typing import IO, Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import uvicorn
from filelock import FileLock, Timeout
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vbc_source.analytics.database import AnalyticsDatabase, find_database
from vbc_source.config import load_config
from vbc_source.dashboard import csv_export, pages
from vbc_source.dashboard.details import find_file, parse_key, read_details
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import (
    NEWEST_FIRST,
    FilterOptions,
    InvalidFilter,
    is_canonical,
    read_filters,
    read_page_number,
)
from vbc_source.dashboard.player import AudioNotFound, PlayableFile, Player, find_archive, name_download
from vbc_source.dashboard.plays import PlaysHead, PlaysLedger, find_account, open_ledger
from vbc_source.dashboard.search import InvalidSearch, read_search
from vbc_source.dashboard.statements import LIST_COLUMNS
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import pipeline_lock
from vbc_source.pii import PiiPolicy

log = logging.getLogger(__name__)

BuildPage = Callable[[Figures, FilterOptions, Mapping[str, str]], dict[str, Any]]

HOST = "127.0.0.1"
# DNS rebinding: a foreign page whose name resolves to 127.0.0.1 sends its own name in `Host` and is refused
HOST_NAMES = [HOST, "localhost"]
LOCK_SECONDS = 2.0
BUSY = "The database is being loaded. This page tries again by itself."
BUSY_SEARCH = "The database is being loaded. Reload this page in a moment to search again."
BUSY_FILE = "The database is being loaded. Try again in a moment."
BUSY_SECONDS = 5  # until the page tries again
FILES = ("/recordings.csv", "/audio/")
MOST_FORM_BYTES = 4096
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "media-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # pages have numbers and names in them, which no cache of a browser should keep
    "cache-control": "no-store",
}


class DatabaseBusy(VbcError):
    """Another process is writing to the database."""


class RecordingNotFound(VbcError):
    """There is no such recording."""


class DashboardDatabase:
    """Opens the database for one response at a time: an open connection would lock a load out of DuckDB.

    A response holds the lock that loads take too, if there is one.
    """

    def __init__(
        self,
        database: AnalyticsDatabase,
        lock: FileLock | None,
        zone: str,
        pii: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
    ) -> None:
        self.warehouse, self._zone, self.pii = database, ZoneInfo(zone), pii
        self._lock, self._guard = lock, threading.Lock()

    @contextmanager
    def open(self) -> Iterator[Figures]:
        """Open the database; raises DatabaseBusy while another process writes to it."""
        with nullcontext() if self._lock is None else self._hold(self._lock), explaining():
            try:
                connection = self.warehouse.connect()
            except VbcError as error:
                if self.warehouse.kind == "duckdb" and type(error.__cause__).__name__ == "IOException":
                    raise DatabaseBusy(
                        str(error)
                    ) from error  # opened by a process that does not take the lock
                raise
            with closing(connection):
                yield Figures(connection, self.warehouse, self._zone)

    def today(self) -> date:
        """Return today in the time zone of the models."""
        return datetime.now(self._zone).date()

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
            raise DatabaseBusy("another vbc command is loading into the database: wait for it") from None
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
    return DashboardDatabase(database, lock, config.vbc_timezone, config.pii_policy)


class Dashboard:
    """Answers the requests. Everything that has a number or a name in it comes by POST or by a key."""

    def __init__(self, database: DashboardDatabase, plays: PlaysLedger) -> None:
        self._database, self._plays, self._head = database, plays, PlaysHead(plays)
        self._templates, self._player = pages.open_templates(), Player()
        for name in self._templates.list_templates(extensions=["html"]):
            self._templates.get_template(name)  # compiled now, so that the first page does not wait for it

    def show(self, template: str, build: BuildPage) -> Callable[[Request], Response]:
        """Return the endpoint of a page that has filters."""

        def answer(request: Request) -> Response:
            given = request.query_params.multi_items()
            with self._open() as (figures, options):
                if not is_canonical(given):  # what a form leaves empty does not stay in the address
                    filters = read_filters(request.query_params, options)
                    kept = {name: request.query_params.get(name) or None for name in ("page", "at")}
                    return RedirectResponse(filters.write_address(request.url.path, **kept), 303)
                view = build(figures, options, request.query_params)
            return self._render(template, view)

        return answer

    async def search(self, request: Request) -> Response:
        """Show what was found; without a text, the form alone."""
        form: dict[str, str] = {}
        if request.method == "POST":
            body = b""
            # in parts: a body of any size would be read whole otherwise
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_FORM_BYTES:
                    raise InvalidSearch("The text to search for is too long.")
            form = dict(parse_qsl(body.decode("utf-8", "replace"), errors="replace"))
        # this endpoint alone is asynchronous, to read the body: a query must not hold up the others
        return await run_in_threadpool(self._find, form)

    def _find(self, form: Mapping[str, str]) -> Response:
        if not form.get("q", "").strip():
            return self._render("search.html", {"text": "", "problem": "", "rows": []})
        try:
            search = read_search(form["q"], self._database.pii)
        except InvalidSearch as error:
            return self._render("search.html", {"text": "", "problem": str(error), "rows": []}, 400)
        page = read_page_number(form.get("page") or "1")
        with self._open() as (figures, options):
            view = pages.build_search(figures, options, search, form.get("sort") or NEWEST_FIRST, page)
        return self._render("search.html", view)

    def recording(self, request: Request) -> Response:
        """Show one recording."""
        key = request.path_params["key"]
        with self._open() as (figures, _):
            details = read_details(figures, key)
            if details is None:
                raise RecordingNotFound("There is no recording with this key. Was it loaded?")
            view = pages.build_recording(figures, details, self._plays.list_plays(key))
        return self._render("recording.html", view)

    def audio(self, request: Request) -> Response:
        """Stream archived audio, and record who plays it."""
        # another site could play it in a hidden player and so write into the ledger
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Response(status_code=403)
        key, is_get = request.path_params["key"], request.method == "GET"
        file = self._player.recall(key) or self._locate(key)
        response = self._player.answer(file, request.headers.get("range"), send_body=is_get)
        download = "download" in request.query_params
        if download:
            response.headers["content-disposition"] = f'attachment; filename="{name_download(file)}"'
        # a HEAD, or a range that the file does not have, plays nothing
        if is_get and response.status_code != 416:
            # before a byte is sent: what cannot be recorded is not played
            self._plays.record(key, find_account(request.client), "download" if download else "play")
            self._head.store(find_archive(file))
        return response

    def _locate(self, text: str) -> PlayableFile:
        key = parse_key(text)
        with self._database.open() as figures:
            file = find_file(figures, key) if key else None
        if file is None:
            raise AudioNotFound("The audio of this recording is not archived.")
        self._player.remember(text, file)
        return file

    def export(self, request: Request) -> Response:
        """Send the chosen recordings as CSV."""
        file = _write_csv(self._database, dict(request.query_params))
        headers = {"content-disposition": 'attachment; filename="recordings.csv"'}
        return StreamingResponse(
            csv_export.read_chunks(file),
            media_type="text/csv; charset=utf-8",
            headers=headers,
            background=BackgroundTask(file.close),
        )

    @contextmanager
    def _open(self) -> Iterator[tuple[Figures, FilterOptions]]:
        """Open the database; raises NothingToShow where models or recordings are missing."""
        dataset = self._database.warehouse.dataset
        with self._database.open() as figures:
            if not figures.have_models():
                raise NothingToShow(
                    503,
                    "Nothing to show yet",
                    f"The models of dataset {dataset} are not built yet, or were built by an earlier "
                    "version. Build them:",
                    "vbc models run",
                )
            options = figures.read_options(self._database.today())
            if options is None:
                raise NothingToShow(
                    200,
                    "No recordings yet",
                    f"No recordings are loaded in dataset {dataset} yet. Load them, then build the models:",
                    "vbc sync && vbc models run",
                )
            yield figures, options

    def handle_error(self, request: Request, error: Exception) -> Response:
        """Answer an error with one message."""
        if isinstance(error, NothingToShow):
            return self._show_message(error.status, error.heading, error.text, error.command)
        if isinstance(error, InvalidFilter):
            return self._show_message(400, "Invalid filter", str(error))
        if isinstance(error, InvalidSearch):
            return self._show_message(400, "Search", str(error))
        if isinstance(error, (RecordingNotFound, AudioNotFound)):
            return self._show_message(404, "Not found", str(error))
        if isinstance(error, DatabaseBusy):
            return self._show_busy(request)
        log.warning("dashboard: a request failed: %s", error)
        return self._show_message(503, "The figures cannot be read", str(error))

    def _show_busy(self, request: Request) -> Response:
        text, refresh = BUSY, 0
        if request.method == "POST":  # loading its address again would lose the text of the search
            text = BUSY_SEARCH
        elif request.url.path.startswith(FILES):  # a page that waits would stay, and download it again
            text = BUSY_FILE
        else:
            refresh = BUSY_SECONDS
        return self._show_message(503, "One moment", text, refresh=refresh)

    def handle_unknown_address(self, _: Request, __: Exception) -> Response:
        """Answer a request for a page that does not exist."""
        return self._show_message(404, "Not found", "There is no page at this address.")

    def _render(self, template: str, view: dict[str, Any], status: int = 200) -> Response:
        return HTMLResponse(self._templates.get_template(template).render(view=view), status)

    def _show_message(
        self, status: int, heading: str, text: str, command: str = "", refresh: int = 0
    ) -> Response:
        values = {"heading": heading, "text": text, "command": command, "refresh": refresh}
        can_retry = status not in (400, 404)
        page = self._templates.get_template("message.html").render(**values, can_retry=can_retry)
        return HTMLResponse(page, status, {"retry-after": str(refresh)} if refresh else None)


class NothingToShow(VbcError):
    """The models, or recordings, are missing; the page says what to run."""

    def __init__(self, status: int, heading: str, text: str, command: str) -> None:
        super().__init__(text)
        self.status, self.heading, self.text, self.command = status, heading, text, command


def make_app(database: DashboardDatabase, plays: PlaysLedger | None = None) -> ASGIApp:
    """Return the ASGI application."""
    answers = Dashboard(database, plays or open_ledger(database.warehouse))
    routes = [
        Route("/", answers.show("dashboard.html", pages.build_dashboard)),
        Route("/recordings", answers.show("recordings.html", pages.build_recordings)),
        Route("/extensions", answers.show("people.html", pages.build_people("extensions"))),
        Route("/users", answers.show("people.html", pages.build_people("users"))),
        Route("/coverage", answers.show("call_coverage.html", pages.build_call_coverage)),
        Route("/recordings.csv", answers.export),
        Route("/search", answers.search, methods=["GET", "POST"]),
        # a key has slashes
        Route("/recording/{key:path}", answers.recording),
        Route("/audio/{key:path}", answers.audio),
        *(Route(f"/{name}", _serve_file(name)) for name in ("style.css", "hover.js", "wait.js")),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOST_NAMES, www_redirect=False)
    errors = {VbcError: answers.handle_error, 404: answers.handle_unknown_address}
    app = Starlette(routes=routes, middleware=[hosts], exception_handlers=errors)
    return _add_headers(app)


def _serve_file(name: str) -> Callable[[Request], Response]:
    return lambda _: FileResponse(pages.TEMPLATES / name)


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
        options = figures.read_options(database.today()) if figures.have_models() else None
        if options is None:
            raise VbcError("there are no recordings to export: run vbc sync, then vbc models run")
        filters = read_filters(query, options)
        return csv_export.write_csv(chain([LIST_COLUMNS], figures.iterate_recordings(filters)))


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of 127.0.0.1; raises VbcError if the port is taken."""
    try:
        return socket.create_server((HOST, port), backlog=64)
    except OSError:
        raise VbcError(f"port {port} is taken: choose another with --port") from None


def serve_dashboard(database: DashboardDatabase, listener: socket.socket) -> None:
    """Serve until interrupted."""
    config = uvicorn.Config(
        make_app(database),
        log_config=None,
        log_level="critical",
        access_log=False,  # URLs show what a person looks at
        ws="none",
        lifespan="off",
        server_header=False,
        # browsers keep their connections open: Ctrl-C must not wait for them
        timeout_graceful_shutdown=1,
    )
    with suppress(KeyboardInterrupt):  # Ctrl-C is the normal end
        uvicorn.Server(config).run([listener])
