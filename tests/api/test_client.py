from __future__ import annotations

import json
import logging
import queue
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from gateway_fixtures import (
    API,
    LIST,
    NOON,
    PASSWORD,
    Clock,
    Seen,
    Stage,
    make_credentials,
    serve_bytes,
    write_answer,
    write_login,
)

from vbc_source.api.client import Client
from vbc_source.api.http.rate_limit import ClientClosed, RateLimiter
from vbc_source.config import VbcCredentials
from vbc_source.emulator import Gateway
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    GatewayFault,
    InvalidResponse,
    LoginRefused,
    NotFound,
    NotSubscribed,
    ResourceRejected,
    SettingsError,
    Throttled,
    TokenRejected,
    Unavailable,
    VbcError,
)

PATIENCE = 30  # seconds until a test that hangs is given up
WHAT = "company recordings"
PHONE = "+15550100199"
READY = VbcCredentials(access_token="s3cret-ready")
FORMS = ("xml", "wrapped", "flat")

Connect = Callable[..., Client]


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON + 0.25)


@pytest.fixture
def gateway(stage: Stage, clock: Clock) -> Gateway:
    return stage.start(seed=1, recordings=50, clock=clock)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of dlt, where the client stores its token."""
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def connect(gateway: Gateway, clock: Clock, folder: Path) -> Iterator[Connect]:
    """Make clients whose clock moves only while they wait."""
    clients = []

    def connect(url: str = "", credentials: VbcCredentials | None = None, **options: Any) -> Client:
        options = {"clock": clock, "rate_limiter": RateLimiter(clock=clock, wait=clock.wait), **options}
        clients.append(Client(url or gateway.base_url, credentials or make_credentials(), **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def get_rows(client: Client, **params: str | int) -> int:
    """Return the number of recordings on a page."""
    response = client.get(LIST, params, json.loads, what=WHAT)
    return len(response["_embedded"]["recordings"])


def fail(
    client: Client,
    kind: type[VbcError] = GatewayFault,
    path: str = LIST,
    params: dict[str, str] | None = None,
) -> Any:
    with pytest.raises(kind) as failed:
        client.get(path, params, json.loads, what=WHAT)
    return failed.value


# Requests


def test_page_needs_one_login_and_one_request(connect: Connect, gateway: Gateway) -> None:
    client = connect()

    assert get_rows(client, page_size=20) == 20
    assert [request.path for request in gateway.requests] == ["/token", LIST]
    assert get_rows(client, page_size=20) == 20
    assert client.requests_sent == gateway.count() == 3


def test_client_constructor_sends_and_writes_nothing(
    connect: Connect, gateway: Gateway, folder: Path
) -> None:
    assert connect().requests_sent == gateway.count() == 0
    assert not folder.exists()


def test_query_parameters_arrive_unchanged(connect: Connect, gateway: Gateway) -> None:
    params = {
        "start:gte": "2025-01-01T00:00:00+0000",
        "start:lte": "2025-06-01T00:00:00Z",
        "cnam": "a&b=c d%",
    }
    get_rows(connect(), **params)

    assert gateway.requests[-1].query == params


def test_slash_after_the_address_is_ignored(connect: Connect, gateway: Gateway) -> None:
    assert get_rows(connect(gateway.base_url + "/")) == 10
    assert [request.path for request in gateway.requests] == ["/token", LIST]


def test_requests_have_user_agent_and_accept_headers(connect: Connect, gateway: Gateway) -> None:
    get_rows(connect())

    headers = gateway.requests[-1].headers
    assert headers["user-agent"].startswith("vbc-source/")
    assert headers["accept"] == "application/json"


def test_log_in_returns_the_gateway_and_sends_once(connect: Connect, gateway: Gateway) -> None:
    client = connect()

    assert client.log_in() == client.log_in() == gateway.base_url
    assert gateway.count() == client.requests_sent == 1


@pytest.mark.parametrize(
    "url", ["api.vonage.com", "//api.vonage.com", "ftp://api.vonage.com", "localhost:8080", "https:api", ""]
)
def test_address_without_scheme_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match=r"base_url must begin with https://"):
        Client(url, READY)


@pytest.mark.parametrize(
    "url", ["https://", "http:///path", "http://[bad", "http://host:99999", "https://two words"]
)
def test_unusable_address_is_a_settings_error(connect: Connect, url: str) -> None:
    with pytest.raises(SettingsError, match="base_url"):
        get_rows(connect(url, READY))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.vonage.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1\\.evil.example",
        "http://10.0.0.1:8080",
        "http://0x7f000001.example",
    ],
)
def test_plain_http_to_another_machine_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"base_url must begin with https://.*password"):
        Client(url, READY)


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://LOCALHOST.:1", "http://127.8.0.1", "http://[::1]:1"]
)
def test_plain_http_to_this_machine_is_allowed(url: str) -> None:
    assert Client(url, READY).base_url == url


# Retries

BROKEN = ["truncated", "cut-json", "reset", "empty-body", "html", "not-json", "bad-gateway", "redirect"]
CODED = ["suspended", "refused", "backend-timeout", "fault-200"]
TRANSIENT = [*BROKEN, *(f"{name}:{form}" for name in CODED for form in FORMS)]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_transient_faults_are_retried(connect: Connect, gateway: Gateway, clock: Clock, fault: str) -> None:
    client = connect()
    gateway.fault(f"{fault}*3")

    assert get_rows(client, page_size=50) == 50
    assert gateway.count(LIST) == 4
    assert client.requests_sent == gateway.count() == 5
    assert len(clock.waits) == 3
    assert 0 < clock.waits[0] <= clock.waits[1] <= clock.waits[2]  # longer each time


@pytest.mark.parametrize("fault", ["login-down:xml", "login-down:wrapped", "login-down:flat", "login-html"])
def test_failed_login_request_is_retried(
    connect: Connect, gateway: Gateway, clock: Clock, fault: str
) -> None:
    gateway.fault(f"{fault}*2")

    assert get_rows(connect()) == 10
    assert gateway.count("/token") == 3
    assert gateway.tokens.logins == 1
    assert len(clock.waits) == 2


def named(**values: bytes) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("answer", values.values(), ids=values.keys())


@named(
    nothing=b"",
    no_http=b"no http at all\r\n\r\n",
    empty=write_answer("200 OK"),
    text=write_answer("200 OK", b"plain text"),
    fault=write_answer("200 OK", b'{"fault": {"code": 101504, "message": "Send timeout"}}'),
    redirect=write_answer("302 Found", b"", "Location: /elsewhere"),
    late=write_answer("408 Request Timeout"),
    cut=write_login()[:-10],
    no_gzip=write_answer("200 OK", b"not gzip", "Content-Encoding: gzip"),
)
def test_broken_login_response_is_retried(connect: Connect, answer: bytes) -> None:
    with serve_bytes(lambda seen: answer if len(server.seen) < 3 else write_login()) as server:
        client = connect(server.url)
        client.log_in()

    assert len(server.seen) == client.requests_sent == 3


def test_truncated_login_response_is_retried(connect: Connect) -> None:
    half = write_answer("200 OK", b'{"access_token": "raw-tok')
    with serve_bytes(lambda seen: half if len(server.seen) == 1 else write_login()) as server:
        connect(server.url).log_in()

    assert len(server.seen) == 2


@named(
    nothing=b"",
    no_http=b"no http at all\r\n\r\n",
    no_gzip=write_answer("200 OK", b"not gzip", "Content-Encoding: gzip"),
    half_a_chunk=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n",
    no_chunk=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[1]\r\n0\r\n\r\n",
    no_text=write_answer("200 OK", b"\xff\xfe[]"),
    accepted=write_answer("202 Accepted", b"[1]"),
    of_a_cache=write_answer("203 Non-Authoritative", b"[1]"),
    no_content=write_answer("204 No Content"),
)
def test_malformed_responses_are_retried(connect: Connect, answer: bytes) -> None:
    good = write_answer("200 OK", b"[1, 2]")
    with serve_bytes(lambda seen: answer if len(server.seen) < 3 else good) as server:
        assert connect(server.url, READY).get("/x", None, json.loads, what=WHAT) == [1, 2]

    assert len(server.seen) == 3


@pytest.mark.parametrize("broken", ["reset*2", "suspended*2", "throttled*2"])
def test_log_names_the_request_that_is_retried(
    connect: Connect, gateway: Gateway, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    client = connect()
    gateway.fault(broken)
    get_rows(client)

    messages = [record.getMessage() for record in caplog.records if record.name == "vbc_source.api.client"]
    assert len(messages) == 2
    assert all(text.startswith(f"{WHAT}: ") for text in messages)


@pytest.mark.parametrize("retry_seconds", [5.0, 60.0])
def test_retries_end_after_retry_seconds(
    connect: Connect, gateway: Gateway, clock: Clock, retry_seconds: float
) -> None:
    client = connect(retry_seconds=retry_seconds)
    client.log_in()
    gateway.fault("down")
    fault = fail(client, Unavailable)

    assert (fault.status, fault.code) == (503, 303001)
    assert str(fault).startswith(f"{WHAT}: the VBC gateway did not answer properly")
    assert retry_seconds / 3 < sum(clock.waits) <= retry_seconds


def test_login_retries_end_after_retry_seconds(connect: Connect, gateway: Gateway, clock: Clock) -> None:
    gateway.fault("down")
    client = connect()
    fail(client, Unavailable)

    assert sum(clock.waits) <= 60
    assert gateway.count("/token") == gateway.count() == client.requests_sent
    gateway.heal()
    assert get_rows(client) == 10  # no refusal was stored


def test_refused_connection_is_retried_then_reported(connect: Connect, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    fault = fail(connect(url, READY), Unavailable, params={"caller_id": PHONE})

    assert fault.status == 0
    assert url in str(fault)
    assert "caller_id" not in tell(fault)
    assert 20 < sum(clock.waits) <= 60


def test_retry_time_counts_from_the_first_failure_of_a_request(
    connect: Connect, gateway: Gateway, clock: Clock
) -> None:
    client = connect()
    for _ in range(20):
        gateway.fault("suspended*5")
        assert get_rows(client) == 10

    assert sum(clock.waits) > 60


def test_time_spent_throttled_does_not_count_as_failing(connect: Connect, clock: Clock) -> None:
    throttled, failed = (
        write_answer("429 Too Many Requests", b"", "Retry-After: 600"),
        write_answer("502 Bad"),
    )
    answers = [throttled, failed, failed, throttled, failed, write_answer("200 OK", b"[]")]
    with serve_bytes(lambda seen: answers.pop(0)) as server:
        assert connect(server.url, READY).get("/x", None, json.loads, what=WHAT) == []

    assert sum(clock.waits) > 1200


def test_value_error_of_the_reader_is_retried_then_reported(
    connect: Connect, gateway: Gateway, clock: Clock
) -> None:
    def read(body: bytes) -> None:
        raise ValueError("a recording has no numeric id")

    with pytest.raises(InvalidResponse, match="a recording has no numeric id"):
        connect().get(LIST, None, read, what=WHAT)
    assert gateway.count(LIST) > 3
    assert sum(clock.waits) <= 60


def test_other_errors_of_the_reader_propagate(connect: Connect, gateway: Gateway) -> None:
    def read(body: bytes) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        connect().get(LIST, None, read, what=WHAT)
    assert gateway.count(LIST) == 1


# Throttling

TIMED = ["throttled", "throttled-header-only", "throttled-body", "throttled-description", "hard-limit"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TIMED)
def test_throttled_request_waits_for_the_requested_time(
    connect: Connect, gateway: Gateway, name: str, form: str
) -> None:
    client = connect()
    client.log_in()
    gateway.clear()
    gateway.fault(f"{name}:{form}*2")

    assert get_rows(client) == 10
    first, second, third = (request.time for request in gateway.requests)
    assert NOON + 2 <= second <= first + 3  # the gateway allows requests from the second full second on
    assert second + 1 <= third <= second + 3


@pytest.mark.parametrize("form", FORMS)
def test_throttling_without_a_time_backs_off_exponentially(
    connect: Connect, gateway: Gateway, clock: Clock, form: str
) -> None:
    client = connect()
    gateway.fault(f"throttled-silent:{form}*5")

    assert get_rows(client) == 10
    assert gateway.count(LIST) == 6
    assert sorted(clock.waits) == clock.waits
    assert clock.waits[0] < 2 < clock.waits[4]


@pytest.mark.parametrize("skew", [-86_400, 86_400])
def test_clock_skew_does_not_change_the_wait(connect: Connect, stage: Stage, clock: Clock, skew: int) -> None:
    gateway = stage.start(clock=lambda: clock() + skew, recordings=50)
    client = connect()
    for name in TIMED:
        gateway.fault(name)
        get_rows(client)

    assert len(clock.waits) == 5
    assert all(1 <= seconds <= 3 for seconds in clock.waits)


def test_throttling_of_one_thread_holds_back_all_threads(
    connect: Connect, gateway: Gateway, clock: Clock
) -> None:
    waiting: queue.Queue[float] = queue.Queue()
    go_on = threading.Event()

    def wait(seconds: float) -> bool:
        waiting.put(seconds)
        assert go_on.wait(PATIENCE)
        return clock.wait(seconds)

    client = connect(rate_limiter=RateLimiter(clock=clock, wait=wait))
    client.log_in()
    gateway.fault("throttled")
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(get_rows, client)
        held = waiting.get(timeout=PATIENCE)
        others = [pool.submit(get_rows, client) for _ in range(3)]
        go_on.set()
        rows = [future.result(PATIENCE) for future in (first, *others)]

    throttled, *later = [request.time for request in gateway.requests if request.path == LIST]
    assert held >= 1
    assert len(later) == 4
    assert min(later) >= throttled + 1
    assert rows == [10] * 4


def test_login_waits_while_the_gateway_throttles(connect: Connect, clock: Clock) -> None:
    throttled = write_answer("429 Too Many Requests", b"", "Retry-After: 30")
    with serve_bytes(lambda seen: throttled if len(server.seen) == 1 else write_login()) as server:
        connect(server.url).log_in()

    assert 30 <= sum(clock.waits) < 31


def test_throttling_fails_after_an_hour(connect: Connect, gateway: Gateway, clock: Clock) -> None:
    client = connect()
    client.log_in()
    gateway.fault("throttled-silent*always")
    fault = fail(client, Throttled)

    assert (fault.status, fault.code) == (429, 900804)
    assert "a run waits for an hour at most" in str(fault)
    assert 3500 < sum(clock.waits) <= 3600


THROTTLED_FOR_HOURS = write_answer("429 Too Many Requests", b"", "Retry-After: 7200")


def test_requested_wait_of_hours_fails_at_once(connect: Connect, clock: Clock) -> None:
    with serve_bytes(lambda seen: THROTTLED_FOR_HOURS) as server:
        fault = fail(connect(server.url, READY), Throttled)

    assert fault.retry_after == 7200
    assert "it asks to wait 120 min; a run waits for an hour at most: run again later" in str(fault)
    assert clock.waits == []


def test_requested_wait_of_hours_does_not_hold_back_the_next_request(connect: Connect, clock: Clock) -> None:
    with serve_bytes(lambda seen: THROTTLED_FOR_HOURS) as server:
        client = connect(server.url, READY)
        fail(client, Throttled)
        fail(client, Throttled)

    assert sum(clock.waits) < 3600


def test_accepted_request_resets_the_throttling_time(
    connect: Connect, gateway: Gateway, clock: Clock
) -> None:
    client = connect()
    for _ in range(3):
        gateway.fault("throttled*2")
        assert get_rows(client) == 10
        clock.now += 3600


def test_not_found_resets_the_throttling_time(connect: Connect, gateway: Gateway, clock: Clock) -> None:
    client = connect()
    gateway.fault("throttled")
    fail(client, NotFound, f"{LIST}/404")
    clock.now += 3600
    gateway.fault("throttled")

    assert get_rows(client) == 10


def test_budget_avoids_throttling(connect: Connect, gateway: Gateway, clock: Clock) -> None:
    client = connect(rate_limiter=RateLimiter(10, clock=clock, wait=clock.wait))
    gateway.fault("quota*10")
    for _ in range(35):
        get_rows(client)

    assert {request.status for request in gateway.requests} == {200}
    assert sum(clock.waits) >= 3 * 60


def test_small_quota_is_waited_for_without_a_budget(connect: Connect, gateway: Gateway, clock: Clock) -> None:
    client = connect()
    gateway.fault("quota*3")
    for _ in range(7):
        assert get_rows(client) == 10

    assert [request.status for request in gateway.requests].count(429) == 2
    assert 120 <= sum(clock.waits) <= 123


def test_close_ends_a_throttled_request(
    connect: Connect, gateway: Gateway, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Bell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            rung.set()

    rung, bell, log = threading.Event(), Bell(), logging.getLogger("vbc_source.api.client")
    client = connect(rate_limiter=RateLimiter(clock=clock))
    client.log_in()
    gateway.fault("throttled")
    log.addHandler(bell)
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(get_rows, client)
            assert rung.wait(PATIENCE)  # logged just before the wait starts
            client.close()
            error = waiting.exception(PATIENCE)
    finally:
        log.removeHandler(bell)

    assert isinstance(error, ClientClosed)
    assert gateway.count(LIST) == 1


# Requests in flight


@pytest.mark.parametrize("connections", [1, 2, 5])
def test_requests_in_flight_reach_but_never_exceed_the_limit(connect: Connect, connections: int) -> None:
    lock, together = threading.Lock(), threading.Barrier(connections)
    in_flight = highest = 0

    def answer(seen: Seen) -> bytes:
        nonlocal in_flight, highest
        with lock:
            in_flight += 1
            highest = max(highest, in_flight)
        together.wait(PATIENCE)  # as many as allowed must arrive at the same time
        with lock:
            in_flight -= 1
        return write_answer("200 OK", b"[]")

    with serve_bytes(answer) as server, ThreadPoolExecutor(8) as pool:
        client = connect(server.url, READY, connections=connections)
        requests = [pool.submit(client.get, "/x", None, json.loads, what=WHAT) for _ in range(20)]
        assert [request.result(PATIENCE) for request in requests] == [[]] * 20

    assert highest == connections


def test_request_that_nobody_needs_any_more_is_not_sent(connect: Connect) -> None:
    arrived, go_on, stopped = threading.Event(), threading.Event(), threading.Event()

    def answer(seen: Seen) -> bytes:
        arrived.set()
        assert go_on.wait(PATIENCE)
        return write_answer("200 OK", b"[]")

    with serve_bytes(answer) as server, ThreadPoolExecutor(2) as pool:
        client = connect(server.url, READY, connections=1)
        first = pool.submit(client.get, "/first", None, json.loads, what=WHAT)
        assert arrived.wait(PATIENCE)
        second = pool.submit(client.get, "/second", None, json.loads, what=WHAT, stopped=stopped.is_set)
        stopped.set()
        go_on.set()
        with pytest.raises(ClientClosed):
            second.result(PATIENCE)
        assert first.result(PATIENCE) == []
        assert client.get("/third", None, json.loads, what=WHAT) == []  # the slot is free again

    assert [seen.path for seen in server.seen] == ["/first", "/third"]


def test_close_wakes_all_threads_that_wait_for_a_slot(connect: Connect) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(seen: Seen) -> bytes:
        arrived.set()
        assert go_on.wait(PATIENCE)
        return write_answer("200 OK", b"[]")

    with serve_bytes(answer) as server, ThreadPoolExecutor(4) as pool:
        client = connect(server.url, READY, connections=1)
        first = pool.submit(client.get, "/first", None, json.loads, what=WHAT)
        assert arrived.wait(PATIENCE)
        waiting = [pool.submit(client.get, "/x", None, json.loads, what=WHAT) for _ in range(3)]
        client.close()
        errors = [request.exception(PATIENCE) for request in waiting]
        assert not first.done()
        go_on.set()
        assert first.result(PATIENCE) == []

    assert [type(error) for error in errors] == [ClientClosed] * 3
    assert [seen.path for seen in server.seen] == ["/first"]


# No retries


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        *((f"unsubscribed:{form}", NotSubscribed) for form in FORMS),
        *((f"scope:{form}", Forbidden) for form in FORMS),
        ("no-rights", Forbidden),
        ("not-found", NotFound),
    ],
)
def test_permanent_faults_are_not_retried(
    connect: Connect, gateway: Gateway, clock: Clock, fault: str, kind: type[GatewayFault]
) -> None:
    client = connect()
    gateway.fault(fault)
    raised = fail(client)

    assert type(raised) is kind
    assert str(raised).startswith(f"{WHAT}: ")
    assert gateway.count(LIST) == 1
    assert clock.waits == []


def test_missing_subscription_message_says_what_to_do(connect: Connect, gateway: Gateway) -> None:
    client = connect()
    gateway.fault("unsubscribed")

    assert "subscribe it in the developer portal" in str(fail(client, NotSubscribed))


def test_refused_parameter_is_not_retried(connect: Connect, gateway: Gateway) -> None:
    fail(connect(), BadRequest, params={"start:gte": "yesterday"})

    assert gateway.count(LIST) == 1


@named(
    not_found=write_answer("404 Not Found", b"Not Found"),
    blocked=write_answer("403 Forbidden", b"<html><body>Blocked by policy</body></html>"),
)
def test_login_faults_before_the_credential_check_do_not_blame_credentials(
    connect: Connect, answer: bytes
) -> None:
    with serve_bytes(lambda seen: answer if len(server.seen) == 1 else write_login()) as server:
        with pytest.raises(VbcError) as failed:
            connect(server.url).log_in()
        assert "check username and password" not in str(failed.value)
        connect(server.url).log_in()


# Tokens


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["token-invalid", "token-missing", "token-expired"])
def test_rejected_token_is_renewed_and_the_request_repeated(
    connect: Connect, gateway: Gateway, clock: Clock, name: str, form: str
) -> None:
    client = connect()
    gateway.fault(f"{name}:{form}")

    assert get_rows(client) == 10
    assert [request.path for request in gateway.requests] == ["/token", LIST, "/token", LIST]
    assert clock.waits == []


@pytest.mark.parametrize("faults", [[], ["revoked-expired"]])
def test_after_a_login_of_somebody_else_there_is_a_pause_whatever_the_code_says(
    connect: Connect, gateway: Gateway, clock: Clock, caplog: pytest.LogCaptureFixture, faults: list[str]
) -> None:
    client = connect()
    get_rows(client)
    for fault in faults:
        gateway.fault(fault)
    gateway.tokens.revoke_all()

    assert get_rows(client) == 10
    assert "the access token was revoked, perhaps by another login" in caplog.text
    assert len(clock.waits) == 1


def test_token_that_dies_every_few_requests_is_renewed_each_time(connect: Connect, gateway: Gateway) -> None:
    client = connect()
    for _ in range(10):  # more often than a login may be rejected in a row
        gateway.tokens.expire_all()
        assert get_rows(client) == get_rows(client) == 10
        gateway.fault("token-invalid*2")
        assert get_rows(client) == 10

    assert gateway.tokens.logins == 1  # the rest are refresh tokens


def test_tokens_that_are_never_accepted_are_given_up(
    connect: Connect, gateway: Gateway, clock: Clock
) -> None:
    client = connect()
    gateway.fault("token-invalid*always")

    assert "rejected 5 new access tokens in a row" in str(fail(client, TokenRejected))
    assert gateway.count("/token") == 6
    assert sum(clock.waits) < 120


def test_body_that_rejects_every_token_with_status_200_concerns_its_resource(connect: Connect) -> None:
    rejected = write_answer("200 OK", b'{"fault": {"code": 900901, "message": "Invalid Credentials"}}')

    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login(f"token-{len(server.seen)}")
        return rejected if seen.path == "/bad" else write_answer("200 OK", b"[]")

    with serve_bytes(answer) as server:
        client = connect(server.url)
        for _ in range(6):
            fail(client, ResourceRejected, "/bad")
            assert client.get("/good", None, json.loads, what=WHAT) == []

    assert [seen.path for seen in server.seen].count("/bad") == 12


def reject_bad(times: int) -> Callable[[Seen], bytes]:
    """Answer so many requests for paths that begin with /bad by 401, and all others with data."""
    numbers, left = count(), iter(range(times))
    rejected = write_answer("401 Unauthorized", b'{"fault": {"code": 900901, "message": "Invalid"}}')

    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login(f"token-{next(numbers)}")
        is_rejected = seen.path.startswith("/bad") and next(left, None) is not None
        return rejected if is_rejected else write_answer("200 OK", b"[]")

    return answer


def test_a_resource_that_rejects_each_token_costs_one_login_where_others_are_answered(
    connect: Connect,
) -> None:
    with serve_bytes(reject_bad(1_000)) as server:
        client = connect(server.url)
        assert client.get("/good", None, json.loads, what=WHAT) == []
        for number in range(9):
            fail(client, ResourceRejected, f"/bad{number}")
        assert client.get("/good", None, json.loads, what=WHAT) == []

    paths = [seen.path for seen in server.seen]
    assert paths.count("/token") == 2
    assert paths.count("/bad0") == 4
    assert paths.count("/bad8") == 3


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_valid_token_that_is_rejected_a_few_times_is_used_again(connect: Connect, times: int) -> None:
    with serve_bytes(reject_bad(times)) as server:
        client = connect(server.url)
        assert client.get("/good", None, json.loads, what=WHAT) == []
        assert client.get("/bad", None, json.loads, what=WHAT) == []

    assert [seen.path for seen in server.seen].count("/token") == 2


def test_a_fixed_token_is_not_called_invalid_while_others_accept_it(connect: Connect) -> None:
    with serve_bytes(reject_bad(1_000)) as server:
        client = connect(server.url, VbcCredentials(access_token="fixed"))
        assert client.get("/good", None, json.loads, what=WHAT) == []
        fail(client, ResourceRejected, "/bad")
        assert client.get("/good", None, json.loads, what=WHAT) == []


@pytest.mark.parametrize(("end", "sent"), [("expire_all", [200]), ("revoke_all", [400, 200])])
def test_token_that_ends_under_eight_threads_is_renewed_once(
    connect: Connect, gateway: Gateway, end: str, sent: list[int]
) -> None:
    client, ready = connect(), threading.Barrier(8)
    get_rows(client)
    getattr(gateway.tokens, end)()
    gateway.clear()

    def work() -> int:
        ready.wait(PATIENCE)
        return get_rows(client)

    with ThreadPoolExecutor(8) as pool:
        rows = [future.result(PATIENCE) for future in [pool.submit(work) for _ in range(8)]]

    assert rows == [10] * 8
    assert [request.status for request in gateway.requests if request.path == "/token"] == sent


def test_two_clients_share_one_login(connect: Connect, gateway: Gateway) -> None:
    first, second = connect(), connect()
    get_rows(first)
    get_rows(second)

    assert gateway.count("/token") == 1
    gateway.tokens.expire_all()
    get_rows(first)
    get_rows(second)  # its token is rejected, and the renewed one is in the file

    assert gateway.count("/token") == 2


def test_requests_of_many_threads_are_counted(connect: Connect, gateway: Gateway) -> None:
    client = connect()
    for fault in ("reset*3", "throttled*3", "suspended*3", "truncated*2"):
        gateway.fault(fault)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: get_rows(client), range(40))) == [10] * 40

    assert client.requests_sent == gateway.count() == 1 + 40 + 3 + 3 + 3 + 2


def test_wrong_password_is_sent_once(connect: Connect, gateway: Gateway) -> None:
    client = connect(credentials=make_credentials(password="mistyped"))
    fail(client, LoginRefused)
    fail(client, LoginRefused)

    assert gateway.count() == gateway.tokens.logins == 1


# Secrets


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_redirect_of_a_request_is_not_followed(connect: Connect, status: str) -> None:
    with serve_bytes(lambda seen: write_answer("200 OK", b"[]")) as other:
        away = write_answer(status, b"", f"Location: {other.url}/elsewhere")
        with serve_bytes(lambda seen: away) as server:
            fault = fail(connect(server.url, READY), InvalidResponse)

    assert other.seen == []
    assert len(server.seen) > 1
    assert fault.status == int(status[:3])


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary"])
def test_redirect_of_a_login_is_not_followed(connect: Connect, status: str) -> None:
    with serve_bytes(lambda seen: write_login()) as other:
        away = write_answer(status, b"", f"Location: {other.url}/token")
        with serve_bytes(lambda seen: away) as server:
            fail(connect(server.url), Unavailable)

    assert other.seen == []


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for the same host that serve another purpose."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password s3cret-netrc\n")
    monkeypatch.setenv("NETRC", str(file))


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_the_token(connect: Connect) -> None:
    with serve_bytes(lambda seen: write_answer("200 OK", b"[]")) as server:
        connect(server.url, READY).get("/x", None, json.loads, what=WHAT)

    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer s3cret-ready"]


@pytest.mark.usefixtures("netrc")
def test_netrc_adds_no_authorization_to_a_login(connect: Connect, gateway: Gateway) -> None:
    connect().log_in()

    assert "authorization" not in gateway.requests[0].headers


def scream(gateway: Gateway, client: Client) -> list[str]:
    """Cause every kind of fault once; return the secrets."""
    private = {"caller_id": PHONE, "cnam": "Jane Doe"}
    for fault in (
        "reset*2",
        "throttled",
        "token-expired",
        "suspended",
        "html",
        "not-json",
        "truncated",
        "redirect",
    ):
        gateway.fault(fault)
    get_rows(client, **private)
    gateway.tokens.revoke_all()
    get_rows(client, **private)
    for fault in ("unsubscribed", "no-rights", "not-found"):
        gateway.fault(fault)
        fail(client, params=private)
    gateway.fault("down")
    fail(client, Unavailable, params=private)
    gateway.heal()
    tokens = {request.headers.get("authorization", "Bearer -").split()[1] for request in gateway.requests}
    words = [PASSWORD["client_secret"], PASSWORD["username"], PASSWORD["password"]]
    return [*words, *(tokens - {"-"}), PHONE, PHONE[1:], "Jane", "caller_id", "?"]


def read_log(caplog: pytest.LogCaptureFixture) -> str:
    formatter = logging.Formatter("%(name)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records)  # tracebacks as well


def test_debug_log_contains_no_secrets_and_no_queries(
    connect: Connect, gateway: Gateway, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        secrets = scream(gateway, connect())
    log = read_log(caplog)

    (file,) = (folder / "vbc_tokens").glob("*.json")
    secrets += [json.loads(file.read_text())[name] for name in ("access_token", "refresh_token")]
    assert len(secrets) > 10
    assert f'"GET {LIST} HTTP/1.1" 200' in log  # urllib3 logged its requests
    assert [secret for secret in secrets if secret in log] == []


def test_log_of_a_refused_login_contains_no_secrets(
    connect: Connect, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        fail(connect(credentials=make_credentials(password="s3cret-word")), LoginRefused)
    log = read_log(caplog)

    assert '"POST /token HTTP/1.1" 400' in log
    assert not [secret for secret in ("s3cret-word", "demo@vbc", "demo-secret") if secret in log]


def test_log_of_malformed_headers_contains_no_query(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        serve_bytes(lambda seen: write_answer("200 OK", b"[]", "no header at all")) as server,
    ):
        connect(server.url, READY).get("/x", {"caller_id": PHONE}, json.loads, what=WHAT)

    assert PHONE[1:] not in read_log(caplog)


def tell(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


ANY_FAULT = [*(f"{name}*always" for name in BROKEN), *(f"{name}*always" for name in CODED)]
ANY_FAULT += ["unsubscribed", "scope", "no-rights", "not-found", "token-invalid*always", "down"]


@pytest.mark.parametrize("fault", ANY_FAULT)
def test_errors_contain_no_secrets_and_no_queries(connect: Connect, gateway: Gateway, fault: str) -> None:
    client = connect()
    client.log_in()
    gateway.fault(fault)
    text = tell(fail(client, params={"caller_id": PHONE}))

    token = gateway.requests[-1].headers.get("authorization", "Bearer -").split()[1]
    assert len(token) > 10
    assert not [
        secret for secret in (token, PHONE, PHONE[1:], *list(PASSWORD.values())[1:]) if secret in text
    ]


def test_token_with_a_line_break_is_not_in_the_error(connect: Connect, gateway: Gateway) -> None:
    client = connect(credentials=VbcCredentials(access_token="s3cret-ready\n"))

    assert "s3cret" not in tell(fail(client, VbcError))


def test_value_that_a_reader_refuses_is_not_in_the_error(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def read(body: bytes) -> int:
        return int(json.loads(body)["caller_id"])

    body = write_answer("200 OK", json.dumps({"caller_id": f"x{PHONE}"}).encode())
    with serve_bytes(lambda seen: body) as server, pytest.raises(InvalidResponse) as broken:
        connect(server.url, READY).get("/x", None, read, what=WHAT)

    assert PHONE not in str(broken.value)
    assert PHONE not in caplog.text


def test_password_in_the_address_is_not_in_the_error(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port, password = closed.getsockname()[1], "s3cret-word"
    with pytest.raises(VbcError) as failed:  # may also be refused by the constructor
        get_rows(connect(f"http://proxy-user:{password}@127.0.0.1:{port}", READY))

    assert password not in tell(failed.value)
    assert password not in caplog.text


def test_token_is_sent_to_the_configured_gateway_only(connect: Connect) -> None:
    received: list[Seen] = []

    def answer(seen: Seen) -> bytes:
        received.append(seen)
        return write_login() if seen.path == "/token" else write_answer("200 OK", b"[]")

    with serve_bytes(answer) as server:
        connect(server.url).get(f"{API}/x", {"page": 1}, json.loads, what=WHAT)

    login, request = received
    assert (login.method, login.path) == ("POST", "/token")
    assert b"demo-password" in login.body
    assert (request.method, request.path) == ("GET", f"{API}/x?page=1")
    assert request.headers["authorization"] == "Bearer raw-token"
    assert request.headers["host"] == server.url.removeprefix("http://")


@pytest.mark.parametrize(("no_proxy", "proxied"), [("elsewhere.example", True), ("127.0.0.1", False)])
def test_proxy_settings_of_the_environment_are_honoured(
    connect: Connect, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, no_proxy: str, proxied: bool
) -> None:
    with serve_bytes(lambda seen: write_answer("200 OK", seen.path.encode())) as proxy:
        for name, value in (("http_proxy", proxy.url), ("no_proxy", no_proxy)):
            monkeypatch.setenv(name, value)
            monkeypatch.setenv(name.upper(), value)
        connected = connect(gateway.base_url, READY if proxied else None)
        if proxied:
            path = connected.get(LIST, {}, bytes.decode, what=WHAT)
            assert path == f"{gateway.base_url}{LIST}"  # the path in a request to a proxy
        else:
            assert get_rows(connected) == 10
