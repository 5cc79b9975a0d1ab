"""The gateway: what guards the API, and what a test can do to it."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random
from urllib.parse import parse_qsl

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vbc_source.emulator.accounts import Account, Size, make_account
from vbc_source.emulator.api import Api
from vbc_source.emulator.bodies import answer_fault
from vbc_source.emulator.breaks import HalfSender, hang_up
from vbc_source.emulator.catalogue import ANSWERS, BREAKS, LOGINS
from vbc_source.emulator.endpoints import make_router
from vbc_source.emulator.faults import Fault, Faults
from vbc_source.emulator.jobs import Jobs
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


class Gateway:
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
        self._scene = Scene(DEFAULT_BASE_URL, clock, lock)
        self.tokens = Tokens(
            Credentials(client_id, client_secret, username, password), expires_in, clock, lock
        )
        self.before_page: list[PageHook] = []
        rng = Random(f"{seed}/requests")
        self._api = Api(self._scene, self._faults, rng, self._prepare_page, str(account_id), {})
        end = clock() if until is None else (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
        size = Size(recordings, held_back, users, user_recordings, days, end)
        self._open(str(account_id), seed, size, login_name=username.removesuffix(TENANT))
        self._router = make_router(self._api)

    def add_account(
        self,
        account_id: str,
        *,
        seed: int | None = None,
        recordings: int = 0,
        users: int = 1,
        user_recordings: int = 0,
        days: int = 365,
    ) -> Account:
        """Invent another account that the API user may see.

        Args:
            account_id: Of the account.
            seed: Equal seeds invent equal calls, of equal ids; follows from the account when not given.
            recordings: How many the company has.
            users: How many it has.
            user_recordings: How many on-demand recordings they have, parted unevenly.
            days: Over how many days recordings are spread, on average, until now.

        Raises:
            ValueError: There is an account of that id.
        """
        if str(account_id) in self.accounts:
            raise ValueError(f"there is an account {account_id}")
        seed = zlib.crc32(str(account_id).encode()) if seed is None else seed
        size = Size(recordings, 0, users, user_recordings, days, self._clock())
        return self._open(str(account_id), seed, size)

    def _open(self, account_id: str, seed: int, size: Size, **first: str) -> Account:
        main = account_id == self._api.main
        account = make_account(self._scene, self._faults, account_id, seed, size, main=main, **first)
        with self._scene.lock:
            self.accounts[account_id] = account
        return account

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts that the API user may see, by id, the main one first."""
        return self._api.accounts

    @property
    def main(self) -> Account:
        """The account to which the API user belongs."""
        return self._api.accounts[self._api.main]

    @property
    def company(self) -> Recordings:
        """The recordings of the main account's company."""
        return self.main.company

    @property
    def users(self) -> Users:
        """The users of the main account."""
        return self.main.users

    @property
    def jobs(self) -> Jobs:
        """The export jobs of the main account."""
        return self.main.jobs

    @property
    def page_size_cap(self) -> int:
        """The largest page; asking for more gets this, and the answer says so."""
        return self._api.page_size_cap

    @page_size_cap.setter
    def page_size_cap(self, rows: int) -> None:
        self._api.page_size_cap = rows

    @property
    def job_seconds(self) -> float:
        """How long an export job takes that is started from now on."""
        return self._scene.job_seconds

    @job_seconds.setter
    def job_seconds(self, seconds: float) -> None:
        self._scene.job_seconds = seconds

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

    def release(self) -> None:
        """Let the recordings that were held back appear."""
        self.company.release()

    @property
    def base_url(self) -> str:
        """Where links point."""
        return self._scene.base_url

    def bind(self, base_url: str) -> None:
        """Let links point to where the gateway is served."""
        with self._scene.lock:
            self._scene.base_url = base_url
            for account in self.accounts.values():
                account.move(base_url)

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
