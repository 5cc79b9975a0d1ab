"""The gateway: what guards the API, and what a test can do to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random
from urllib.parse import parse_qsl

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vbc_source.emulator.accounts import Size
from vbc_source.emulator.api import Api
from vbc_source.emulator.bodies import answer_fault
from vbc_source.emulator.breaks import HalfSender, hang_up
from vbc_source.emulator.catalogue import ANSWERS, BREAKS, LOGINS
from vbc_source.emulator.endpoints import make_router
from vbc_source.emulator.faults import Fault, Faults
from vbc_source.emulator.holdings import Holdings
from vbc_source.emulator.journal import Journal, Request, read_request
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.scene import Scene
from vbc_source.emulator.times import UTC
from vbc_source.emulator.tokens import TENANT, Credentials, Tokens
from vbc_source.emulator.unrest import stir_recordings, stir_users
from vbc_source.emulator.users import Users

TOKEN_PATH = "/token"  # noqa: S105 - a path
DEFAULT_BASE_URL = "http://127.0.0.1:8080"

_API_FAULTS = {**ANSWERS, **BREAKS}

PageHook = Callable[["Gateway", Request], None]


class Gateway(Holdings):
    """A gateway with one account or several, as an ASGI application.

    Everything may be used from any thread while it is served.

    Attributes:
        tokens: What was issued, and whether the user is locked out.
        before_page: Called with the gateway and the request before a list page of any kind is read. A
            hook runs in the server's thread and must not send requests to it.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        recordings: int = 0,
        account_id: str = "549825",
        days: int = 365,
        until: datetime | None = None,
        clock: Callable[[], float] = time.time,
        faults: Iterable[str] = (),
        expires_in: int = 86_400,
        client_id: str = "demo-client",
        client_secret: str = "demo-secret",  # noqa: S107 - opens nothing but this
        username: str = "demo@vbc.prod",
        password: str = "demo-password",  # noqa: S107 - nor does this
        held_back: int = 0,
        users: int = 1,
        user_recordings: int = 0,
    ) -> None:
        """Invent the main account, to which the API user belongs.

        Args:
            seed: Equal seeds invent equal calls for equal days.
            recordings: How many the company has, those not visible yet included.
            account_id: Of the main account.
            days: Over how many days they are spread, on average.
            until: No call begins later; now when not given. Taken as UTC when it has no zone.
            clock: Epoch seconds; decides what is visible, expired and allowed again.
            faults: Switched on from the start, see ``fault``.
            expires_in: Seconds an access token lives.
            client_id: Accepted, alone.
            client_secret: Accepted, alone.
            username: Accepted, alone.
            password: Accepted, alone.
            held_back: So many of the newest visible recordings wait for ``release``.
            users: How many the account has; the first is the API user, who without any is not listed.
            user_recordings: How many on-demand recordings they have, parted unevenly.
        """
        lock = threading.RLock()
        self._clock = clock
        self._faults = Faults(faults, clock, lock)
        self._journal = Journal(clock, lock)
        self.tokens = Tokens(
            Credentials(client_id, client_secret, username, password), expires_in, clock, lock
        )
        self.before_page: list[PageHook] = []
        rng = Random(f"{seed}/requests")
        scene = Scene(DEFAULT_BASE_URL, clock, lock)
        super().__init__(Api(scene, self._faults, rng, self._prepare_page, str(account_id), {}))
        end = clock() if until is None else (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
        size = Size(recordings, held_back, users, user_recordings, days, end)
        self._open(str(account_id), seed, size, login_name=username.removesuffix(TENANT))
        self._router = make_router(self._api)

    @property
    def requests(self) -> list[Request]:
        """Every request answered so far, oldest first; a copy."""
        return self._journal.copy()

    def count(self, path_part: str = "") -> int:
        """Count the requests whose path contains a text."""
        return self._journal.count(path_part)

    def clear(self) -> None:
        """Empty the list of requests."""
        self._journal.clear()

    def fault(self, spec: str) -> None:
        """Switch a fault on.

        Args:
            spec: ``NAME[:FORMAT][*TIMES][@TEXT]`` with a name of ``FAULTS``, as ``parse_fault`` reads it.

        Raises:
            ValueError: There is no such fault.
        """
        self._faults.add(spec)

    def heal(self) -> None:
        """Switch all faults off."""
        self._faults.heal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = read_request(scope, self._clock())
        send = self._journal.watch(request, send)
        if latency := self._faults.find("latency", request.path):
            await asyncio.sleep(latency.number / 1000)
        if down := self._faults.find("down", request.path):
            await self._answer(down)(scope, receive, send)
        elif request.path == TOKEN_PATH:
            await (await self._answer_token(scope, receive))(scope, receive, send)
        else:
            await self._answer_api(request, scope, receive, send)

    async def _answer_api(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(_API_FAULTS, request.path)
        if fault is not None and fault.name == "reset":
            self._journal.note(request)
            await hang_up(scope, receive)
        elif fault is not None and fault.name in ANSWERS:
            await self._answer(fault)(scope, receive, send)
        else:
            if fault is not None:
                send = HalfSender(send, honest=fault.name == "cut-json")
            app = self._refuse(request) or self._router
            await app(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        problem = self.tokens.check(request.headers.get("authorization"))
        if problem is not None:
            return self._answer(Fault(problem))
        spent = self._faults.spend_quota(request.path)
        return None if spent is None else answer_fault(spent[0], self._clock(), spent[1])

    def _answer(self, fault: Fault) -> Response:
        return answer_fault(fault, self._clock())

    async def _answer_token(self, scope: Scope, receive: Receive) -> Response:
        if fault := self._faults.take(LOGINS, TOKEN_PATH):
            return self._answer(fault)
        if scope["method"] != "POST":
            return PlainTextResponse("Method Not Allowed", 405, {"allow": "POST"})
        http = HttpRequest(scope, receive)
        form = dict(parse_qsl((await http.body()).decode("utf-8", "replace"), keep_blank_values=True))
        keep_old = self._faults.has("keep-old-tokens", TOKEN_PATH)
        grant = self.tokens.grant(form, http.headers.get("authorization"), keep_old=keep_old)
        return JSONResponse(grant.body, grant.status, {"cache-control": "no-store"})

    def _prepare_page(self, http: HttpRequest, store: Recordings | Users | None) -> None:
        request = read_request(http.scope, self._clock())
        if isinstance(store, Recordings):
            stir_recordings(store, self._api, request.path)
        elif isinstance(store, Users):
            stir_users(store, self._api, request.path)
        for hook in list(self.before_page):
            hook(self, request)
