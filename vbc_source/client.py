"""The only place that sends: pooled connections, retries, throttling, one token for all threads."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from vbc_source.auth import Tokens, VbcCredentials
from vbc_source.faults import (
    BrokenAnswer,
    Forbidden,
    GatewayFault,
    NotFound,
    SettingsError,
    Throttled,
    TokenRejected,
    Unavailable,
    read_fault,
    redact,
)
from vbc_source.throttle import Throttle

log = logging.getLogger(__name__)

T = TypeVar("T")
Params = Mapping[str, str | int]

CONNECT_SECONDS, READ_SECONDS = 10, 60
CHUNK = 1 << 20  # bytes to read at once; requests' own 10 KB doubles the time of a page
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 20.0  # seconds
LONGEST_THROTTLE = 3600.0  # seconds without a single request let through


class Answer(NamedTuple):
    """What the gateway answered, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Bearer(AuthBase):
    """Sets the token on one request; as an auth object, so that no .netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on."""
        request.headers["Authorization"] = f"Bearer {self._token.strip()}"
        return request


class NoAuth(AuthBase):
    """Leaves a request as it is, so that no .netrc adds to it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave it."""
        return request


class _DropQuery(logging.Filter):
    """Keeps query strings, which may hold phone numbers, out of urllib3's debug log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.split("?", 1)[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


_drop_query = _DropQuery()


class Client:
    """Sends requests to one gateway for one login.

    Constructing it sends nothing and opens nothing.

    Args:
        base_url: the gateway, such as `https://api.vonage.com`.
        credentials: how to log in.
        requests_per_minute: a budget for all requests of all threads; None for none.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        connections: how many connections to keep open.
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
        throttle: Throttle | None = None,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise SettingsError("base_url must begin with https://")
        if "@" in base_url:
            raise SettingsError("base_url must hold no user and no password")
        self.base_url = base_url.rstrip("/")
        self.throttle = throttle or Throttle(requests_per_minute)
        self.requests_sent = 0
        self._count = threading.Lock()
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._session = _open_session(connections)
        self._tokens = Tokens(credentials, self.base_url, self._post_login, clock=clock)

    def get(self, path: str, params: Params | None, read: Callable[[bytes], T], *, what: str) -> T:
        """Get a resource and read it; repeats what may be repeated.

        Args:
            path: below `base_url`, such as `/t/vbc.prod/…`.
            params: the query.
            read: turns the body into the result; a ValueError from it means the body is broken.
            what: names the request in errors and logs, without personal data.

        Raises:
            GatewayFault: the gateway's last word; its class says what kind.
            LoginRefused: the credentials were refused.
        """
        # dates hold "+" and ":"; a bare "+" would read as a space
        url = f"{self.base_url}{path}" + (f"?{urlencode(params)}" if params else "")
        token = self._tokens.current()

        def attempt() -> T:
            return self._read(self._send("GET", url, auth=Bearer(token)), read)

        with _named(what):
            try:
                return self._repeat(attempt, what)
            except TokenRejected:
                token = self._tokens.renew(token)
                return self._repeat(attempt, what)

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
        self._session.close()

    def _post_login(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Post to /token; only a gateway that fails is asked again, never one that refuses."""

        def attempt() -> tuple[int, bytes]:
            answer = self._send("POST", f"{self.base_url}/token", auth=NoAuth(), data=dict(form))
            if answer.status == 200:
                return 200, self._read(answer, _check_object)
            fault = read_fault(answer.status, answer.body, answer.headers, self._clock())
            if isinstance(fault, (Unavailable, Throttled, NotFound, Forbidden)):
                raise fault  # nobody has looked at the credentials
            return answer.status, answer.body

        with _named(f"login at {self.base_url}/token"):
            return self._repeat(attempt, "login")

    def _send(self, method: str, url: str, **options: Any) -> Answer:
        self.throttle.pass_through()
        with self._count:
            self.requests_sent += 1
        try:
            # redirects are answers here: a token never follows one
            timeout = (CONNECT_SECONDS, READ_SECONDS)
            with self._session.request(
                method, url, timeout=timeout, allow_redirects=False, stream=True, **options
            ) as answer:
                return Answer(answer.status_code, answer.headers, b"".join(answer.iter_content(CHUNK)))
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            urllib3.exceptions.LocationValueError,
        ):
            raise SettingsError(f"base_url is not a usable address: {self.base_url!r}") from None
        except requests.RequestException as error:
            # its text holds the address with the query, so only its kind is told
            raise Unavailable(0, hint=f"{type(error).__name__} at {self.base_url}") from None

    def _read(self, answer: Answer, read: Callable[[bytes], T]) -> T:
        fault = read_fault(answer.status, answer.body, answer.headers, self._clock())
        if not isinstance(fault, Throttled):
            self.throttle.succeeded()
        if fault:
            raise fault
        if answer.status != 200:
            raise BrokenAnswer(answer.status)
        try:
            return read(answer.body)
        except ValueError as error:
            raise BrokenAnswer(answer.status, hint=redact(str(error))) from None

    def _repeat(self, attempt: Callable[[], T], what: str) -> T:
        failures = throttles = 0
        failing_since = self._clock()
        while True:
            try:
                result = attempt()
            except Throttled as fault:
                throttles, failures = throttles + 1, 0
                self._wait_for_all(fault, throttles, what)
            except Unavailable as fault:
                seconds, now = _backoff(failures), self._clock()
                failing_since = failing_since if failures else now
                failures += 1
                if now + seconds - failing_since > self._retry_seconds:
                    raise
                log.warning("%s: %s; trying again in %.1f s", what, fault, seconds)
                self.throttle.sleep(seconds)
            else:
                return result

    def _wait_for_all(self, fault: Throttled, throttles: int, what: str) -> None:
        told = fault.retry_after or 0.0
        seconds = told + random.uniform(0, 0.5) if told > 0 else _backoff(throttles)
        if self.throttle.pause(seconds, LONGEST_THROTTLE) + seconds > LONGEST_THROTTLE:
            raise fault
        log.warning("%s: throttled by the gateway; all threads wait %.0f s", what, seconds)


def _backoff(failures: int) -> float:
    """Exponential, with jitter; seconds."""
    return min(FIRST_BACKOFF * 2.0**failures, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Have a fault say what was asked for."""
    try:
        yield
    except GatewayFault as fault:
        fault.args = (f"{what}: {fault}",)
        raise


def _check_object(body: bytes) -> bytes:
    if not isinstance(json.loads(body), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what a reader says of a broken body
    return body


def _open_session(connections: int) -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = f"vbc-source/{version('vbc-source')}"
    session.headers["Accept"] = "application/json"
    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(_drop_query)
    return session
