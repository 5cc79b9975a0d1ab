"""The HTTP client: the only place that sends requests to the gateway."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests

from vbc_source.api.auth import TokenProvider
from vbc_source.api.clock import GatewayClock
from vbc_source.api.faults import read_fault, redact
from vbc_source.api.http.bodies import may_be_text, read_object, read_text
from vbc_source.api.http.connection_errors import (
    CONNECTION_ERRORS,
    describe_connection_error,
    explain_connection_error,
    is_usable,
)
from vbc_source.api.http.deadlines import Deadlines, Watch
from vbc_source.api.http.rate_limit import ClientClosed, RateLimiter, Retry, backoff, describe_faults
from vbc_source.api.http.request_log import SharedLog, locate_log
from vbc_source.api.http.transport import (
    Auth,
    Response,
    StreamingResponse,
    authorize,
    no_auth,
    open_session,
    resolve_own,
    resolve_redirect,
)
from vbc_source.api.login_responses import TEMPORARY, is_user_locked, read_error
from vbc_source.api.turns import Turns
from vbc_source.config import VbcConfig, VbcCredentials
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    ForeignAddress,
    GatewayFault,
    InvalidResponse,
    NotFound,
    OutcomeUnknown,
    ResourceRejected,
    SettingsError,
    Throttled,
    TokenRejected,
    Unavailable,
)
from vbc_source.setting_values import check_base_url

T = TypeVar("T")
Params = Mapping[str, str | int]

CONNECT_SECONDS = 10
SHORTEST_RESPONSE, LONGEST_RESPONSE = 10.0, 60.0  # seconds for a whole response, or for 64 KiB of a stream
LARGEST_RESPONSE = 64 * 2**20  # bytes of a response, inflated; 1000 recordings take about one million
REJECTIONS = 8  # rejections of one request at most, whatever token it was sent with
VALID_REJECTIONS = 3  # those at most with tokens that another request shows to be valid
CHUNK = 1 << 16  # bytes of a stream to read at once, and to lose at most when it breaks
HEAD = 4096  # bytes of a stream to read before it is handed on: enough to recognize a fault
REDIRECTS = 3
# WSO2 codes of requests that never reached the back end: it is suspended, or refused the connection
NOT_PASSED_ON = (303001, 101503)
STORAGE = "the storage it redirects to"


@dataclass(slots=True)
class Rejections:
    """How often one request was rejected for its token.

    Attributes:
        total: All rejections.
        of_valid_token: Those where the gateway accepted the same token for another request.
    """

    total: int = 0
    of_valid_token: int = 0


class Client:
    """Sends requests to one gateway with one login; safe to use from many threads.

    Constructing it sends nothing and opens nothing. All methods that send raise GatewayFault, of the
    class of the last fault, LoginRefused if the credentials are refused, and ClientClosed after `close`.
    `connections` is the most requests in flight at a time, not counting streams; `requests_per_minute`
    holds for all threads together, None for no limit; `retry_seconds` is how long to retry while the
    gateway fails. A whole response may take `response_seconds`, by default as long as `retry_seconds`, but
    at least 10 and at most 60. `clock` is the wall clock, seconds since 1970; `token_folder` is where the
    login is shared, by default below dlt's data folder.

    Attributes:
        requests_sent: Number of requests sent so far, logins and retries included.
        gateway_clock: The gateway's time, by its last response.
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
        rate_limiter: RateLimiter | None = None,
        response_seconds: float | None = None,
        token_folder: Path | None = None,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self.rate_limiter = rate_limiter or RateLimiter(requests_per_minute)
        self.requests_sent = 0
        self.gateway_clock = GatewayClock()
        self._count = threading.Lock()
        self._in_flight = threading.Semaphore(connections)
        self._clock = clock
        self._retries = Retry(self.rate_limiter, retry_seconds, clock)
        seconds = response_seconds or min(max(retry_seconds, SHORTEST_RESPONSE), LONGEST_RESPONSE)
        self._deadlines = Deadlines(seconds)
        self._last_read: str | None = None  # an address that was read: it shows whether a token is valid
        self._rejects_valid = False  # whether any resource rejects valid tokens
        self._session = open_session(connections, self.base_url)
        # redirects to storage get a session of their own, without the token and without cookies
        self._storage = open_session(connections)
        # logins pass the same rate limit and retries as all requests, hence the
        # functions that are handed over
        self._tokens = TokenProvider(
            credentials,
            self.base_url,
            self._post_login,
            clock=clock,
            sleep=self.rate_limiter.sleep,
            folder=token_folder,
            lock_seconds=retry_seconds + 2 * seconds,  # as long as a login may take that is retried
        )

    @classmethod
    def from_config(cls, config: VbcConfig, retry_seconds: float | None = None) -> Client:
        """Make a client from the settings; `retry_seconds` replaces the setting of that name."""
        return cls(
            config.base_url,
            config.login,
            rate_limiter=RateLimiter(
                config.requests_per_minute,
                shared=SharedLog(partial(locate_log, config.base_url, config.login)),
                share=config.budget_share,
            ),
            retry_seconds=config.retry_seconds if retry_seconds is None else retry_seconds,
            connections=config.max_concurrency,
            token_folder=config.tokens,
        )

    def get(
        self,
        path: str,
        params: Params | None,
        read: Callable[[bytes], T],
        *,
        what: str,
        stopped: Callable[[], bool] = lambda: False,
    ) -> T:
        """Get a resource below `base_url` and parse it, with retries.

        `read` parses the body; a ValueError means that the body is broken, and is retried. `what` is the
        name of the request in errors and logs, without personal data. `stopped` is called before each
        attempt: once it returns True, the result is no longer needed, and the request raises ClientClosed.
        """
        # encoded here: dates contain "+", which would be read as a space
        url = f"{self.base_url}{path}" + (f"?{urlencode(params)}" if params else "")
        found = self._send_authorized(
            lambda auth: self._read(self._send("GET", url, stopped, auth=auth), read), what
        )
        self._last_read = url
        return found

    def delete(self, path: str, *, what: str) -> None:
        """Delete a resource, with retries; raises NotFound also if it was deleted already."""
        url = f"{self.base_url}{path}"
        self._send_authorized(
            lambda auth: self._read(self._send("DELETE", url, auth=auth), len, (202, 204)), what
        )

    def post(self, path: str, body: Mapping[str, Any], read: Callable[[bytes], T], *, what: str) -> T:
        """Start an action and parse the response; raises OutcomeUnknown if it may or may not have started."""

        def attempt(auth: Auth) -> T:
            try:
                response = self._send("POST", f"{self.base_url}{path}", auth=auth, json=dict(body))
                return self._read(response, read, (200, 201, 202))
            except Unavailable as fault:
                # RFC 9110, section 9.2.2: a client should not automatically retry a non-idempotent
                # request unless it knows that the original request was never applied
                if fault.code in NOT_PASSED_ON:
                    raise
                raise OutcomeUnknown(fault.status, fault.code) from None

        return self._send_authorized(attempt, what)

    @contextmanager
    def stream(self, link: str, headers: Mapping[str, str], *, what: str) -> Iterator[StreamingResponse]:
        """Get a link of the gateway, a whole address, as a stream, with retries until the body starts.

        The token goes to the gateway alone: redirects to other hosts are followed without it, and a link
        to another host raises ForeignAddress.
        """
        url = resolve_own(self.base_url, link)
        if url is None:
            raise ForeignAddress(f"{what}: its address points to another host than {self.base_url}")
        response = self._send_authorized(lambda auth: self._open_stream(url, headers, auth), what)
        with closing(response):
            yield response

    def log_in(self) -> str:
        """Log in unless there is a valid token; returns the address of the gateway."""
        self._tokens.current()
        return self.base_url

    def take_turns(self, turns: Turns | None) -> None:
        """Take turns with other processes that log in as the same user."""
        self._tokens.turns = turns

    def close(self) -> None:
        """Wake all waiting threads, which raise ClientClosed, and close the connections."""
        self.rate_limiter.close()
        # wakes one thread that waits for a slot; it finds the client closed and wakes the next one
        self._in_flight.release()
        self._session.close()
        self._storage.close()

    def _send_authorized(self, send: Callable[[Auth], T], description: str) -> T:
        """Send with the token; while it is rejected, send again as long as that may help."""
        token, rejections = self._tokens.current(), Rejections()
        with describe_faults(description):
            while True:
                try:
                    result = self._retries.repeat(partial(send, partial(authorize, token)), description)
                except TokenRejected as fault:
                    token = self._choose_token(token, fault, rejections)
                # such a fault judges the request and not the token, which counts as accepted
                except (NotFound, BadRequest, Forbidden):
                    self._tokens.accept(token)
                    raise
                else:
                    self._tokens.accept(token)
                    return result

    def _choose_token(self, token: str, fault: TokenRejected, rejections: Rejections) -> str:
        """Return the token for the next attempt: a new one, or the same if it is valid elsewhere.

        Raises ResourceRejected if no token helps.
        """
        rejections.total += 1
        # a body with status 200 rejects for this resource alone, if a new token changes nothing
        if rejections.total >= (2 if fault.status == 200 else REJECTIONS):
            raise ResourceRejected(fault.status, fault.code) from None
        # a new token usually helps: a request to test the old one is sent only where it has not, or cannot
        in_doubt = rejections.total > 1 or self._rejects_valid or not self._tokens.is_renewable
        if fault.status == 200 or not in_doubt or not self._is_valid(token):
            return self._tokens.renew(token)
        rejections.of_valid_token += 1
        if rejections.of_valid_token == VALID_REJECTIONS:
            self._rejects_valid = True
            raise ResourceRejected(fault.status, fault.code) from None
        self.rate_limiter.sleep(backoff(rejections.of_valid_token))
        return token

    def _is_valid(self, token: str) -> bool:
        """Request what was read last, and return whether the gateway accepts the token for that."""
        if not self._last_read:
            return False
        request = partial(self._send, "GET", self._last_read, auth=partial(authorize, token))
        try:
            self._retries.repeat(lambda: self._read(request(), len), "the request that was answered last")
        except (TokenRejected, Unavailable, Throttled):
            return False
        except GatewayFault:  # any other fault comes after the check of the token
            pass
        self._tokens.accept(token)
        return True

    def _post_login(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Post a form to /token; retried while the gateway fails, never when it refuses."""

        def attempt() -> tuple[int, bytes]:
            response = self._send("POST", f"{self.base_url}/token", auth=no_auth, data=dict(form))
            status, body = response.status, response.body
            # a fault, or a broken body, with status 200 judges no credentials: it is
            # raised here, and may be retried
            if status == 200:
                self._read(response, read_object)
            elif (error := read_error(body)) in TEMPORARY:
                raise Unavailable(status, hint=error)
            elif not error and not is_user_locked(body):
                fault = read_fault(status, body, response.headers, self._clock())
                # these faults come from in front of the identity server: no credentials were checked
                if isinstance(fault, (Unavailable, Throttled, NotFound, Forbidden)):
                    raise fault
            return status, body

        with describe_faults(f"login at {self.base_url}/token"):
            return self._retries.repeat(attempt, "login")

    def _send(
        self, method: str, url: str, stopped: Callable[[], bool] = lambda: False, **options: Any
    ) -> Response:
        with self._in_flight:
            # asked with the slot in hand: the run may have been stopped while this request waited for it
            if stopped():
                raise ClientClosed
            self._admit()
            with (
                self._translate_errors(self.base_url, Watch(self._deadlines)),
                self._request(self._session, method, url, **options) as response,
            ):
                # read in one go: response.content takes twice as long for a page
                # one byte more tells a body that is too large; urllib3 from 2.6 on inflates no
                # more than it is asked for
                body = response.raw.read(LARGEST_RESPONSE + 1, decode_content=True) or b""
                self.gateway_clock.read(response.headers)
        if len(body) > LARGEST_RESPONSE:
            raise InvalidResponse(response.status_code, hint=f"more than {LARGEST_RESPONSE >> 20} MB")
        body = read_text(body, response.headers.get("Content-Type", ""))
        return Response(response.status_code, response.headers, body)

    def _admit(self) -> None:
        """Wait until the gateway may be sent a request; its deadline does not run meanwhile."""
        self.rate_limiter.acquire()
        with self._count:
            self.requests_sent += 1

    def _request(self, session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
        # requests would follow redirects with the token; stream=True leaves the body to the caller
        timeout = (CONNECT_SECONDS, self._deadlines.seconds)
        return session.request(method, url, timeout=timeout, allow_redirects=False, stream=True, **options)

    def _open_stream(self, url: str, headers: Mapping[str, str], auth: Auth) -> StreamingResponse:
        # takes no slot: the reader of a stream may send another request, which would wait for that slot
        session, host = self._session, self.base_url
        for _ in range(REDIRECTS + 1):
            # only requests to the gateway count for its quota, not those to storage
            if session is self._session:
                self._admit()
            watch = Watch(self._deadlines)
            with self._translate_errors(host, watch):
                response = self._request(session, "GET", url, headers=headers, auth=auth)
            if not response.is_redirect:
                return self._start_stream(response, host, watch)
            response.close()
            url = resolve_redirect(self.base_url, url, response.headers["Location"])
            if resolve_own(self.base_url, url) is None:
                # for good: where storage redirects back to the gateway, that hop gets no token either
                session, host, auth = self._storage, STORAGE, no_auth
        raise InvalidResponse(response.status_code, hint="too many redirects")

    def _start_stream(self, response: requests.Response, host: str, watch: Watch) -> StreamingResponse:
        """Read the start of a body, and raise the fault if it is one."""
        try:
            status, headers = response.status_code, response.headers
            with self._translate_errors(host, watch):
                chunks, head = response.iter_content(CHUNK), b""
                while len(head) < HEAD and (chunk := next(chunks, b"")):
                    head += chunk
            if host == STORAGE and status not in (200, 206):
                # a 404 or 401 of the storage concerns neither the recording nor our token
                raise Unavailable(status, hint=f"at {STORAGE}")  # noqa: TRY301
            if status != 206:  # the middle of a file may look like a fault
                if status != 200 or may_be_text(head):  # to decode audio takes longer than to receive it
                    head_text = read_text(head, headers.get("Content-Type", ""))
                else:
                    head_text = head
                self._check(status, head_text, headers, (200,))
            body = self._pass_on(chain([head], chunks), host, watch)
            return StreamingResponse(status, headers, body, response.close)
        # the caller gets no response that it could close, also where Ctrl-C ends the reading
        except BaseException:
            response.close()
            raise

    def _pass_on(self, chunks: Iterator[bytes], host: str, watch: Watch) -> Iterator[bytes]:
        while True:
            # each chunk has a deadline of its own, which does not run while the caller writes
            with self._translate_errors(host, watch):
                chunk = next(chunks, b"")
            if not chunk:
                return
            self.rate_limiter.check_open()
            yield chunk

    @contextmanager
    def _translate_errors(self, host: str, watch: Watch) -> Iterator[None]:
        """Run a request, or a part of one, within its deadline; its errors become ours."""
        try:
            with watch:
                yield
        except CONNECTION_ERRORS as error:
            if watch.expired:
                # whatever a shut down connection raises, the deadline is the reason
                raise self._exceed(host) from None
            address = self.base_url if host != STORAGE else "https://"
            if text := explain_connection_error(error, address, self._session.proxies):
                raise SettingsError(text) from None
            if host != STORAGE and not is_usable(host):
                raise SettingsError(f"base_url is not a usable address: {host!r}") from None
            hint = describe_connection_error(error, address)
            place = f"at {host}" if host == STORAGE or ":" not in hint else f"at {host}, the base_url"
            raise Unavailable(0, hint=f"{hint} {place}") from None
        if watch.expired:  # a body without a length ends where it was cut off
            raise self._exceed(host)

    def _exceed(self, host: str) -> Unavailable:
        return Unavailable(0, hint=f"no whole response within {self._deadlines.seconds:.0f} s at {host}")

    def _read(self, response: Response, read: Callable[[bytes], T], expected: tuple[int, ...] = (200,)) -> T:
        self._check(response.status, response.body, response.headers, expected)
        try:
            return read(response.body)
        except ValueError as error:
            # a parser's message may quote the body, and with it names and numbers
            raise InvalidResponse(response.status, hint=redact(str(error))) from None

    def _check(self, status: int, body: bytes, headers: Mapping[str, str], expected: tuple[int, ...]) -> None:
        fault = read_fault(status, body, headers, self._clock())
        # any other fault shows that the gateway lets requests through again
        if not isinstance(fault, Throttled):
            self.rate_limiter.succeeded()
        if fault:
            raise fault
        if status not in expected:
            raise InvalidResponse(status)
