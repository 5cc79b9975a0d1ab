"""The gateway in front of the APIs, and what a test can do with it."""

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

from vbc_source.emulator.data.accounts import Account, AccountSize, make_account
from vbc_source.emulator.data.call_logs import DEFAULT_GAPS, CallLogs
from vbc_source.emulator.data.dates import UTC
from vbc_source.emulator.data.jobs import Jobs
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.users import Users
from vbc_source.emulator.faults.active import ActiveFaults, Fault
from vbc_source.emulator.faults.broken_responses import HalfBodySender, close_connection
from vbc_source.emulator.faults.catalogue import BROKEN_RESPONSES, ERROR_RESPONSES, TOKEN_FAULTS
from vbc_source.emulator.faults.responses import answer_fault
from vbc_source.emulator.http.request_log import Request, RequestLog, read_request
from vbc_source.emulator.http.tokens import TENANT, AcceptedCredentials, Tokens
from vbc_source.emulator.routes.application import make_application
from vbc_source.emulator.routes.gateway_state import GatewayState

TOKEN_PATH = "/token"  # noqa: S105 - a path
DEFAULT_BASE_URL = "http://127.0.0.1:8080"

PageHook = Callable[["Gateway", Request], None]


class Gateway(GatewayState):
    """A gateway with one account or several, as an ASGI application. Thread-safe while it is served.

    Attributes:
        tokens: Issued tokens, and whether the user is locked.
        before_page: Functions called with the gateway and the request before a page of a list is read.
            They run in the server's thread and must not send requests to it.
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
        client_secret: str = "demo-secret",  # noqa: S107 - accepted by the emulator only
        username: str = "demo@vbc.prod",
        password: str = "demo-password",  # noqa: S107 - accepted by the emulator only
        held_back: int = 0,
        users: int = 1,
        user_recordings: int = 0,
        call_log_gaps: float = DEFAULT_GAPS,
    ) -> None:
        """Generate the main account, the one of the API user.

        Args:
            seed: Equal seeds generate equal calls for equal days.
            recordings: Number of company recordings, including those not visible yet.
            account_id: Id of the main account.
            days: Number of days over which recordings are spread, on average.
            until: No call starts later; now by default. Without a time zone it is UTC.
            clock: Returns epoch seconds; decides what is visible, expired and allowed again.
            faults: Faults to switch on, see `fault`.
            expires_in: Lifetime of access tokens in seconds.
            client_id: The only accepted client id.
            client_secret: The only accepted client secret.
            username: The only accepted user name.
            password: The only accepted password.
            held_back: Number of the newest visible recordings that are hidden until `release`.
            users: Number of users. The first is the API user, which is not listed if there are none.
            user_recordings: Number of on-demand recordings, distributed unevenly over the users.
            call_log_gaps: Share of recorded calls whose log does not say so; as many are flagged without a
                recording.
        """
        # reentrant: methods that hold it call others that take it, such as `add` and `start` of jobs
        lock = threading.RLock()
        super().__init__(
            base_url=DEFAULT_BASE_URL,
            clock=clock,
            lock=lock,
            faults=ActiveFaults(faults, clock, lock),
            rng=Random(f"{seed}/requests"),
            main_id=str(account_id),
        )
        credentials = AcceptedCredentials(client_id, client_secret, username, password)
        self.tokens = Tokens(credentials, expires_in, clock, lock)
        self.before_page: list[PageHook] = []
        self._log = RequestLog(clock, lock)
        self._application = make_application(self)
        end = clock() if until is None else (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
        size = AccountSize(recordings, users, user_recordings, days, end, held_back, call_log_gaps)
        self._make_account(self.main_id, seed, size, login_name=username.removesuffix(TENANT))

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
        """Generate another account that the API user may access.

        Args:
            account_id: Id of the account.
            seed: Equal seeds generate equal calls with equal ids; depends on the id by default.
            recordings: Number of company recordings.
            users: Number of users.
            user_recordings: Number of on-demand recordings, distributed unevenly over the users.
            days: Number of days until now over which recordings are spread, on average.

        Raises:
            ValueError: The id exists already.
        """
        account_id = str(account_id)
        if account_id in self.accounts:
            raise ValueError(f"account {account_id} exists already")
        seed = zlib.crc32(account_id.encode()) if seed is None else seed
        size = AccountSize(recordings, users, user_recordings, days, self.clock())
        return self._make_account(account_id, seed, size)

    def _make_account(self, account_id: str, seed: int, size: AccountSize, **first: str) -> Account:
        account = make_account(
            self,
            # a method of a test has no path: faults for some paths alone do not apply
            lambda name: self.faults.has(name, ""),
            account_id,
            seed,
            size,
            main=account_id == self.main_id,
            **first,
        )
        with self.lock:
            self.accounts[account_id] = account
        return account

    @property
    def main(self) -> Account:
        """Account of the API user."""
        return self.accounts[self.main_id]

    @property
    def company(self) -> Recordings:
        """Company recordings of the main account."""
        return self.main.company

    @property
    def users(self) -> Users:
        """Users of the main account."""
        return self.main.users

    @property
    def call_logs(self) -> CallLogs:
        """Call logs of the main account."""
        return self.main.call_logs

    @property
    def jobs(self) -> Jobs:
        """Export jobs of the main account."""
        return self.main.jobs

    def release(self) -> None:
        """Show the recordings that were held back."""
        self.company.release()

    def bind(self, base_url: str) -> None:
        """Let links start with the URL at which the gateway is served."""
        with self.lock:
            self.base_url = base_url
            for account in self.accounts.values():
                account.update_links()

    @property
    def requests(self) -> list[Request]:
        """Copy of all requests answered so far, oldest first."""
        return self._log.copy()

    def count(self, path_part: str = "") -> int:
        """Count the requests whose path contains a text."""
        return self._log.count(path_part)

    def clear(self) -> None:
        """Clear the list of requests."""
        self._log.clear()

    def fault(self, spec: str) -> None:
        """Switch a fault on.

        Args:
            spec: `NAME[:FORMAT][*TIMES][@TEXT]` with a name of `FAULTS`, see `parse_fault`.

        Raises:
            ValueError: The syntax or the name is unknown.
        """
        self.faults.add(spec)

    def heal(self) -> None:
        """Switch all faults off."""
        self.faults.clear()

    def run_page_hooks(self, request: HttpRequest) -> None:
        """Run the hooks in `before_page`."""
        for hook in list(self.before_page):  # a copy: a hook may remove itself
            hook(self, read_request(request.scope, self.clock()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = read_request(scope, self.clock())
        send = self._log.wrap_send(request, send)
        if latency := self.faults.find("latency", request.path):
            await asyncio.sleep(latency.number / 1000)
        if down := self.faults.find("down", request.path):
            await self._answer_fault(down)(scope, receive, send)
        elif request.path == TOKEN_PATH:
            response = await self._answer_token_request(HttpRequest(scope, receive))
            await response(scope, receive, send)
        else:
            await self._answer_api_request(request, scope, receive, send)

    async def _answer_token_request(self, request: HttpRequest) -> Response:
        if fault := self.faults.take(TOKEN_FAULTS, TOKEN_PATH):
            return self._answer_fault(fault)
        if request.method != "POST":
            return PlainTextResponse("Method Not Allowed", 405, {"allow": "POST"})
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        keep_old = self.faults.has("keep-old-tokens", TOKEN_PATH)
        response = self.tokens.grant(form, request.headers.get("authorization"), keep_old=keep_old)
        return JSONResponse(response.body, response.status, {"cache-control": "no-store"})

    async def _answer_api_request(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self.faults.take({**ERROR_RESPONSES, **BROKEN_RESPONSES}, request.path)
        if fault is not None and fault.name == "reset":
            # without a response nothing passes `wrap_send`, which logs all others
            self._log.append(request)
            await close_connection(scope, receive)
        elif fault is not None and fault.name in ERROR_RESPONSES:
            await self._answer_fault(fault)(scope, receive, send)
        else:
            if fault is not None:
                send = HalfBodySender(send, fix_length=fault.name == "cut-json")
            application = self._refuse(request) or self._application
            await application(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        """Return the response to a request without a valid token or above the quota."""
        problem = self.tokens.check(request.headers.get("authorization"))
        if problem == "token-invalid" and self.faults.has("revoked-expired", request.path):
            problem = "token-expired"
        if problem is not None:
            return self._answer_fault(Fault(problem))
        # Only requests with a valid token count: the default quota of an application is per token.
        exceeded = self.faults.use_quota(request.path)
        return None if exceeded is None else answer_fault(exceeded[0], self.clock(), exceeded[1])

    def _answer_fault(self, fault: Fault) -> Response:
        return answer_fault(fault, self.clock())
