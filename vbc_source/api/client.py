"""The only place that sends: pooled connections, retries, throttling, one token for all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
import urllib3
from requests.auth import AuthBase
from urllib3.exceptions import LocationValueError

from vbc_source.api.auth import TokenProvider
from vbc_source.api.concurrency import AdaptiveConcurrency
from vbc_source.api.faults import read_fault, redact
from vbc_source.api.rate_limit import RateLimiter
from vbc_source.api.retry import Retry, certain, named
from vbc_source.api.transport import (
    Bearer,
    NoAuth,
    Response,
    StreamingResponse,
    check_object,
    find_own,
    follow,
    open_session,
)
from vbc_source.config import VbcConfig, VbcCredentials, check_base_url
from vbc_source.errors import (
    Forbidden,
    ForeignAddress,
    InvalidResponse,
    NotFound,
    SettingsError,
    Throttled,
    TokenRejected,
    Unavailable,
)

T = TypeVar("T")
Params = Mapping[str, str | int]

CONNECT_SECONDS, READ_SECONDS = 10, 60
PIECE = 1 << 16  # bytes of a stream to hold at once; so many are lost where it breaks off
HEAD = 4096  # bytes by which a fault is told from what was asked for
REDIRECTS = 3
STORAGE = "the storage it redirects to"
_NO_ADDRESS = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, LocationValueError)


class Client:
    """Sends requests to one gateway for one login.

    Constructing it sends nothing and opens nothing.

    Args:
        base_url: the gateway, such as `https://api.vonage.com`.
        credentials: how to log in.
        requests_per_minute: a budget for all requests of all threads; None for none.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        connections: how many requests may be in flight.
        clock: wall clock, seconds since 1970.
        throttle: the gate all threads pass; made from `requests_per_minute` unless given.
    """

    def __init__(
        self,
        base_url: str,
        credentials: VbcCredentials,
        *,
        requests_per_minute: int | None = None,
        retry_seconds: float = 60.0,
        connections: int = 8,
        clock: Callable[[], float] = time.time,
        throttle: RateLimiter | None = None,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self.throttle = throttle or RateLimiter(requests_per_minute)
        self.slots = AdaptiveConcurrency(connections)
        self.requests_sent = 0
        self._count = threading.Lock()
        self._clock = clock
        self._retries = Retry(self.throttle, retry_seconds, clock)
        self._session = open_session(connections, self.base_url)
        self._storage = open_session(connections, cookies=False)  # for where redirects lead
        self._tokens = TokenProvider(credentials, self.base_url, self._post_login, clock=clock)

    @classmethod
    def from_config(cls, config: VbcConfig, **changes: Any) -> Client:
        """Make a client from the settings.

        Args:
            config: The settings.
            **changes: Arguments that differ from the settings.
        """
        arguments: dict[str, Any] = {
            "requests_per_minute": config.requests_per_minute,
            "retry_seconds": config.retry_seconds,
            "connections": config.max_concurrency,
        }
        return cls(config.base_url, config.login, **{**arguments, **changes})

    def get(
        self,
        path: str,
        params: Params | None,
        read: Callable[[bytes], T],
        *,
        what: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> T:
        """Get a resource and read it; repeats what may be repeated.

        Args:
            path: below `base_url`, such as `/t/vbc.prod/…`.
            params: the query.
            read: turns the body into the result; a ValueError from it means the body is broken.
            what: names the request in errors and logs, without personal data.
            stopped: whether nobody waits for the result any more; asked before each try is sent.

        Raises:
            Closed: it was stopped.
            GatewayFault: the gateway's last word; its class says what kind.
            LoginRefused: the credentials were refused.
        """

        def attempt(auth: AuthBase) -> T:
            return self._read(self._send("GET", url, stopped, auth=auth), read)

        # dates hold "+" and ":"; a bare "+" would read as a space
        url = f"{self.base_url}{path}" + (f"?{urlencode(params)}" if params else "")
        return self._authorized(attempt, what)

    def delete(self, path: str, *, what: str) -> None:
        """Delete a resource; repeats what may be repeated.

        Raises:
            NotFound: it was gone already.
            GatewayFault: the gateway's last word; its class says what kind.
            LoginRefused: the credentials were refused.
        """
        url = f"{self.base_url}{path}"
        self._authorized(lambda auth: self._read(self._send("DELETE", url, auth=auth), len, (202, 204)), what)

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[bytes], T], *, what: str) -> T:
        """Start something and read the answer; repeats only what the back end has not seen.

        Raises:
            Uncertain: it may have been started all the same.
            GatewayFault: the gateway's last word; its class says what kind.
            LoginRefused: the credentials were refused.
        """

        def attempt(auth: AuthBase) -> T:
            with certain():
                answer = self._send("POST", f"{self.base_url}{path}", auth=auth, json=dict(body))
                return self._read(answer, read, (200, 201, 202))

        return self._authorized(attempt, what)

    @contextmanager
    def stream(self, link: str, headers: Mapping[str, str], *, what: str) -> Iterator[StreamingResponse]:
        """Get what a link of the gateway leads to, while it comes; repeats until the body begins.

        The token goes to the gateway alone: a redirect to another host is followed without it.

        Args:
            link: a whole address.
            headers: to send along, such as a range.
            what: names the request in errors and logs, without personal data.

        Raises:
            ForeignAddress: the link does not lead to the gateway.
            GatewayFault: the gateway's last word; its class says what kind.
            LoginRefused: the credentials were refused.
        """
        url = find_own(self.base_url, link)
        if url is None:
            raise ForeignAddress(f"{what}: its address leads to another host than {self.base_url}")
        answer = self._authorized(lambda auth: self._open(str(url), headers, auth), what)
        try:
            yield answer
        finally:
            answer.close()

    def log_in(self) -> str:
        """Make sure that there is a token; returns the gateway it is for.

        Raises:
            LoginRefused: the credentials were refused.
        """
        self._tokens.current()
        return self.base_url

    def close(self) -> None:
        """Wake waiting threads and drop the connections."""
        self.throttle.close()
        self.slots.close()
        self._session.close()
        self._storage.close()

    def _authorized(self, send: Callable[[AuthBase], T], what: str) -> T:
        """Send with the token, and once more with a new one where it is rejected."""
        token = self._tokens.current()
        with named(what):
            try:
                return self._retries.repeat(lambda: send(Bearer(token)), what)
            except TokenRejected:
                renewed = self._tokens.renew(token)
                return self._retries.repeat(lambda: send(Bearer(renewed)), what)

    def _post_login(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Post to /token; only a gateway that fails is asked again, never one that refuses."""

        def attempt() -> tuple[int, bytes]:
            answer = self._send("POST", f"{self.base_url}/token", auth=NoAuth(), data=dict(form))
            if answer.status == 200:
                return 200, self._read(answer, check_object)
            fault = read_fault(answer.status, answer.body, answer.headers, self._clock())
            if isinstance(fault, (Unavailable, Throttled, NotFound, Forbidden)):
                raise fault  # nobody has looked at the credentials
            return answer.status, answer.body

        with named(f"login at {self.base_url}/token"):
            return self._retries.repeat(attempt, "login")

    def _send(self, method: str, url: str, stopped: Callable[[], bool] = bool, **options: Any) -> Response:
        with (
            self.slots.hold(stopped),
            self._explaining(self.base_url),
            self._request(self._session, method, url, **options) as answer,
        ):
            # at once: requests' own way of reading takes twice the time of a page
            body = answer.raw.read(decode_content=True) or b""
        self.slots.judge(answer.status_code, answer.elapsed.total_seconds(), url)
        return Response(answer.status_code, answer.headers, body)

    def _request(self, session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        if session is self._session:
            self.throttle.pass_through()
            with self._count:
                self.requests_sent += 1
        # redirects are answers here: a token never follows one
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        return session.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **options)

    def _open(self, url: str, headers: Mapping[str, str], auth: AuthBase) -> StreamingResponse:
        session = self._session
        for _ in range(REDIRECTS + 1):
            with self._explaining(self._place(session)):
                response = self._request(session, "GET", url, headers=headers, auth=auth)
            if not response.is_redirect:
                return self._begin(response, self._place(session))
            response.close()
            url = follow(self.base_url, url, response.headers["Location"])
            if find_own(self.base_url, url) is None:
                session, auth = self._storage, NoAuth()
        raise InvalidResponse(response.status_code, hint="too many redirects")

    def _place(self, session: requests.Session) -> str:
        return self.base_url if session is self._session else STORAGE

    def _begin(self, response: requests.Response, place: str) -> StreamingResponse:
        """Read as much of a body as tells a fault from what was asked for."""
        try:
            status, headers = response.status_code, response.headers
            with self._explaining(place):
                pieces, head = response.iter_content(PIECE), b""
                while len(head) < HEAD and (piece := next(pieces, b"")):
                    head += piece
            if place == STORAGE and status not in (200, 206):
                raise Unavailable(status, hint=f"at {STORAGE}")  # noqa: TRY301
            if status != 206:  # the middle of a file may begin like a fault
                self._judge(status, head, headers, (200,))
            return StreamingResponse(response, self._pass_on(chain([head], pieces), place))
        except BaseException:
            response.close()
            raise

    def _pass_on(self, pieces: Iterator[bytes], place: str) -> Iterator[bytes]:
        with self._explaining(place):
            for piece in pieces:
                self.throttle.check_open()
                yield piece

    @contextmanager
    def _explaining(self, place: str) -> Iterator[None]:
        try:
            yield
        except _NO_ADDRESS:
            if place == STORAGE:
                raise Unavailable(0, hint=f"no usable address of {STORAGE}") from None
            raise SettingsError(f"base_url is not a usable address: {self.base_url!r}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            self.slots.troubled()
            # its text holds the address with the query, so only its kind is told
            raise Unavailable(0, hint=f"{type(error).__name__} at {place}") from None

    def _read(self, answer: Response, read: Callable[[bytes], T], expected: tuple[int, ...] = (200,)) -> T:
        self._judge(answer.status, answer.body, answer.headers, expected)
        try:
            return read(answer.body)
        except ValueError as error:
            raise InvalidResponse(answer.status, hint=redact(str(error))) from None

    def _judge(self, status: int, body: bytes, headers: Mapping[str, str], expected: tuple[int, ...]) -> None:
        fault = read_fault(status, body, headers, self._clock())
        if not isinstance(fault, Throttled):
            self.throttle.succeeded()
        if fault:
            raise fault
        if status not in expected:
            raise InvalidResponse(status)
