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

from vbc_source.emulator.bodies import answer_fault
from vbc_source.emulator.breaks import HalfSender, hang_up
from vbc_source.emulator.calls import newest_calls
from vbc_source.emulator.catalogue import ANSWERS, BREAKS, LOGINS
from vbc_source.emulator.company import PAGE_SIZE_CAP, Company
from vbc_source.emulator.faults import Fault, Faults
from vbc_source.emulator.journal import Journal, Request, read_request
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import Site
from vbc_source.emulator.times import UTC
from vbc_source.emulator.tokens import Credentials, Tokens

TOKEN_PATH = "/token"  # noqa: S105 - a path
DEFAULT_BASE_URL = "http://127.0.0.1:8080"

_API_FAULTS = {**ANSWERS, **BREAKS}

PageHook = Callable[["Gateway", Request], None]


class Gateway:
    """A gateway with one account, as an ASGI application.

    Everything may be used from any thread while it is served.

    Attributes:
        company: The company's recordings.
        tokens: What was issued, and whether the user is locked out.
        before_page: Called with the gateway and the request before a list page is read. A hook runs
            in the server's thread and must not send requests to it.
        page_size_cap: The largest page; asking for more gets this, and the answer says so.
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
    ) -> None:
        """Invent a company's recordings.

        Args:
            seed: Equal seeds invent equal calls for equal days.
            recordings: How many, those not visible yet included.
            account_id: Of the one account.
            days: Over how many days they are spread, on average.
            until: No call begins later; now when not given. Taken as UTC when it has no zone.
            clock: Epoch seconds; decides what is visible, expired and allowed again.
            faults: Switched on from the start, written ``NAME[:FORMAT][*TIMES]``.
            expires_in: Seconds an access token lives.
            client_id: Accepted, alone.
            client_secret: Accepted, alone.
            username: Accepted, alone.
            password: Accepted, alone.
            held_back: So many of the newest visible recordings wait for ``release``.
        """
        lock = threading.RLock()
        self._clock = clock
        self._faults = Faults(faults, clock, lock)
        self._journal = Journal(clock, lock)
        self._rng = Random(f"{seed}/requests")
        self._site = Site(DEFAULT_BASE_URL, account_id)
        self.tokens = Tokens(
            Credentials(client_id, client_secret, username, password), expires_in, clock, lock
        )
        self.company = Recordings(self._site, clock, lock, Random(f"{seed}/added"))
        self.before_page: list[PageHook] = []
        self.page_size_cap = PAGE_SIZE_CAP
        end = clock() if until is None else (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp()
        self.company.load(newest_calls(seed, recordings, days, end), held_back)
        self._router = Company(
            recordings=self.company,
            faults=self._faults,
            site=lambda: self._site,
            cap=lambda: self.page_size_cap,
            rng=self._rng,
            before_page=self._prepare_page,
        ).make_router()

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
            spec: ``NAME[:FORMAT][*TIMES]``, see ``FAULTS``.

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
        return self._site.base_url

    def bind(self, base_url: str) -> None:
        """Let links point to where the gateway is served."""
        self._site = Site(base_url, self._site.account_id)
        self.company.move(self._site)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = read_request(scope, self._clock())
        send = self._journal.watch(request, send)
        if latency := self._faults.find("latency"):
            await asyncio.sleep(latency.number / 1000)
        if down := self._faults.find("down"):
            await self._answer(down)(scope, receive, send)
        elif request.path == TOKEN_PATH:
            await (await self._answer_token(scope, receive))(scope, receive, send)
        else:
            await self._answer_api(request, scope, receive, send)

    async def _answer_api(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.take(_API_FAULTS)
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
        allowed_at = self._faults.spend_quota()
        if allowed_at is not None:
            quota = self._faults.find("quota") or Fault("quota")
            return answer_fault(quota, self._clock(), allowed_at)
        return None

    def _answer(self, fault: Fault) -> Response:
        return answer_fault(fault, self._clock())

    async def _answer_token(self, scope: Scope, receive: Receive) -> Response:
        if fault := self._faults.take(LOGINS):
            return self._answer(fault)
        if scope["method"] != "POST":
            return PlainTextResponse("Method Not Allowed", 405, {"allow": "POST"})
        http = HttpRequest(scope, receive)
        form = dict(parse_qsl((await http.body()).decode("utf-8", "replace"), keep_blank_values=True))
        keep_old = self._faults.has("keep-old-tokens")
        grant = self.tokens.grant(form, http.headers.get("authorization"), keep_old=keep_old)
        return JSONResponse(grant.body, grant.status, {"cache-control": "no-store"})

    def _prepare_page(self, http: HttpRequest) -> None:
        if self._faults.has("churn"):
            self._churn()
        if self._faults.has("arrivals"):
            self.company.add()
        if self.before_page:
            request = read_request(http.scope, self._clock())
            for hook in list(self.before_page):
                hook(self, request)

    def _churn(self) -> None:
        chance = self._rng.random()
        gone = self.company.pick(self._rng) if chance < 2 / 3 else None
        if gone is not None:
            self.company.delete(gone.key)
        if chance >= 1 / 3:
            self.company.add()
