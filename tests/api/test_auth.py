from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway_fixtures import PASSWORD, Clock, Stage, make_credentials

from vbc_source.api.auth import PATIENCE, Patience, TokenProvider, VbcCredentials
from vbc_source.api.client import Client
from vbc_source.api.token_cache import Login, RefusedLogin, TokenCache
from vbc_source.config import VbcConfig
from vbc_source.emulator import Gateway
from vbc_source.errors import LoginRefused, SettingsError, TokenRejected, Unavailable, VbcError

DAY = 86_400
MINUTE = 60

Post = Callable[[Mapping[str, str]], tuple[int, bytes]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway(stage: Stage, clock: Clock) -> Gateway:
    return stage.start(clock=clock)


class Process:
    """Simulates a process: its own TokenProvider, with the folder and the gateway of the others."""

    def __init__(self, gateway: Gateway, clock: Clock, folder: Path, credentials: VbcCredentials) -> None:
        self.forms: list[dict[str, str]] = []
        self._url = gateway.base_url
        self.tokens = TokenProvider(
            credentials, self._url, self._post, clock=clock, sleep=clock.sleep, folder=folder
        )

    def _post(self, form: Mapping[str, str]) -> tuple[int, bytes]:
        self.forms.append(dict(form))
        answer = requests.post(f"{self._url}/token", data=form, timeout=10)
        return answer.status_code, answer.content

    @property
    def grants(self) -> list[str]:
        return [form["grant_type"] for form in self.forms]


Begin = Callable[..., Process]


@pytest.fixture
def begin(gateway: Gateway, clock: Clock, tmp_path: Path) -> Begin:
    def begin(credentials: VbcCredentials | None = None) -> Process:
        return Process(gateway, clock, tmp_path / "vbc_tokens", credentials or make_credentials())

    return begin


def is_accepted(gateway: Gateway, token: str) -> bool:
    return gateway.tokens.check(f"Bearer {token}") is None


def issue(gateway: Gateway) -> dict[str, str]:
    """Log in without the tested code, as an administrator who hands out tokens does."""
    form = {"grant_type": "password", "scope": "openid", **PASSWORD}
    answer = requests.post(f"{gateway.base_url}/token", data=form, timeout=10)
    gateway.tokens.logins = 0
    tokens: dict[str, str] = answer.json()
    return tokens


def refuse(process: Process) -> str:
    with pytest.raises(LoginRefused) as refused:
        process.tokens.current()
    return str(refused.value)


def answer_with(*answers: tuple[int, bytes]) -> Post:
    """A /token endpoint that gives these responses in order."""
    left = iter(answers)
    return lambda form: next(left)


# Grants


def test_password_login_gives_an_accepted_token(gateway: Gateway, begin: Begin) -> None:
    process = begin()

    assert is_accepted(gateway, process.tokens.current())
    assert process.forms == [{"grant_type": "password", "scope": "openid", **PASSWORD}]


@pytest.mark.parametrize("username", ["demo", "demo@vbc.prod"])
def test_realm_is_appended_only_if_missing(gateway: Gateway, begin: Begin, username: str) -> None:
    process = begin(make_credentials(username=username))

    assert is_accepted(gateway, process.tokens.current())
    assert process.forms[0]["username"] == "demo@vbc.prod"


def test_realm_in_capitals_is_recognized(tmp_path: Path) -> None:
    sent: list[str] = []

    def post(form: Mapping[str, str]) -> tuple[int, bytes]:
        sent.append(form["username"])
        return 200, b'{"access_token": "a", "expires_in": 60}'

    TokenProvider(
        make_credentials(username="Demo@VBC.PROD"), "https://vbc.test", post, folder=tmp_path
    ).current()

    assert sent == ["Demo@VBC.PROD"]


def test_refresh_token_is_used_without_a_password(gateway: Gateway, begin: Begin) -> None:
    refresh_token = issue(gateway)["refresh_token"]
    process = begin(make_credentials(username=None, password=None, refresh_token=refresh_token))

    assert is_accepted(gateway, process.tokens.current())
    assert process.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": "demo-client",
            "client_secret": "demo-secret",
        }
    ]


def test_configured_access_token_is_used_without_a_login(begin: Begin, tmp_path: Path) -> None:
    process = begin(VbcCredentials(access_token="ready"))

    assert process.tokens.current() == "ready"
    assert process.forms == []
    assert list(tmp_path.iterdir()) == []


def test_rejected_access_token_is_replaced_by_a_login(gateway: Gateway, begin: Begin) -> None:
    process = begin(make_credentials(access_token="ready"))

    assert is_accepted(gateway, process.tokens.renew("ready"))
    assert process.grants == ["password"]


def test_rejected_access_token_without_credentials_names_the_settings(begin: Begin) -> None:
    process = begin(VbcCredentials(access_token="ready"))

    with pytest.raises(
        TokenRejected, match="set a new one, or set client_id, client_secret, username, password"
    ):
        process.tokens.renew("ready")
    assert process.forms == []


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "client_id, client_secret, username, password"),
        ({**PASSWORD, "password": None}, "password"),
        ({**PASSWORD, "client_secret": ""}, "client_secret"),
        ({"refresh_token": "r"}, "client_id, client_secret"),
        ({"refresh_token": "r", "client_id": "c"}, "client_secret"),
    ],
)
def test_missing_credentials_are_named_before_any_request(
    begin: Begin, given: dict[str, str], missing: str
) -> None:
    process = begin(VbcCredentials(**given))

    with pytest.raises(SettingsError, match=rf"set {missing} in \[sources\.vbc\.credentials\]"):
        process.tokens.current()
    assert process.forms == []


def test_constructor_sends_and_writes_nothing(begin: Begin, tmp_path: Path) -> None:
    assert begin().forms == []
    assert list(tmp_path.iterdir()) == []


# One login


def test_token_is_requested_once(begin: Begin) -> None:
    process = begin()

    assert len({process.tokens.current() for _ in range(5)}) == 1
    assert process.grants == ["password"]


def test_eight_racing_threads_make_one_login(gateway: Gateway, begin: Begin) -> None:
    gateway.fault("latency-20")
    process, ready = begin(), threading.Barrier(8)

    def work() -> str:
        ready.wait(10)
        return process.tokens.current()

    with ThreadPoolExecutor(8) as pool:
        tokens = {future.result() for future in [pool.submit(work) for _ in range(8)]}

    assert len(tokens) == 1
    assert gateway.count("/token") == 1


def test_eight_threads_with_a_rejected_token_make_one_login(gateway: Gateway, begin: Begin) -> None:
    process, ready = begin(), threading.Barrier(8)
    old = process.tokens.current()
    gateway.tokens.revoke_all()
    gateway.tokens.logins = 0

    def work() -> str:
        ready.wait(10)
        return process.tokens.renew(old)

    with ThreadPoolExecutor(8) as pool:
        tokens = {future.result() for future in [pool.submit(work) for _ in range(8)]}

    assert len(tokens) == 1
    assert old not in tokens
    assert gateway.tokens.logins == 1


def test_second_process_uses_the_token_of_the_first(begin: Begin) -> None:
    first, second = begin(), begin()

    assert first.tokens.current() == second.tokens.current()
    assert second.forms == []


def test_racing_processes_make_one_login(gateway: Gateway, begin: Begin) -> None:
    gateway.fault("latency-20")
    processes, ready = [begin() for _ in range(4)], threading.Barrier(4)

    def work(process: Process) -> str:
        ready.wait(10)
        return process.tokens.current()

    with ThreadPoolExecutor(4) as pool:
        tokens = set(pool.map(work, processes))

    assert len(tokens) == 1
    assert gateway.count("/token") == 1


RACER = """
import sys
from vbc_source.config import VbcCredentials
from vbc_source.api.client import Client

names = ("client_id", "client_secret", "username", "password")
client = Client(sys.argv[1], VbcCredentials(**dict(zip(names, sys.argv[2:]))))
print("ready", flush=True)
sys.stdin.readline()
client.log_in()
client.close()
print(client.requests_sent)
"""


@pytest.mark.slow
def test_two_operating_system_processes_make_one_login(gateway: Gateway, tmp_path: Path) -> None:
    gateway.fault("latency-100")
    command = [sys.executable, "-c", RACER, gateway.base_url, *PASSWORD.values()]
    environment = {**os.environ, "DLT_DATA_DIR": str(tmp_path)}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with (
        subprocess.Popen(command, env=environment, text=True, **pipes) as first,
        subprocess.Popen(command, env=environment, text=True, **pipes) as second,
    ):
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        sent = [process.communicate(timeout=30)[0].strip() for process in (first, second)]

    assert sorted(sent) == ["0", "1"]
    assert gateway.count("/token") == 1


def test_token_renewed_by_another_process_is_reused(gateway: Gateway, begin: Begin) -> None:
    first, second = begin(), begin()
    old = first.tokens.current()
    assert second.tokens.current() == old
    new = second.tokens.renew(old)

    assert new != old
    assert first.tokens.renew(old) == new
    assert first.grants == ["password"]
    assert is_accepted(gateway, new)


def test_tokens_are_separate_by_user_application_and_gateway(clock: Clock, tmp_path: Path) -> None:
    def log_in(base_url: str, token: str, **changes: str) -> str:
        post = answer_with((200, json.dumps({"access_token": token, "expires_in": 600}).encode()))
        return TokenProvider(
            make_credentials(**changes), base_url, post, clock=clock, folder=tmp_path
        ).current()

    assert log_in("https://one.test", "a") == "a"
    assert log_in("https://two.test", "b") == "b"
    assert log_in("https://one.test", "c", username="other") == "c"
    assert log_in("https://one.test", "d", client_id="other") == "d"
    assert log_in("https://one.test", "never requested") == "a"


def test_user_with_and_without_realm_shares_one_token(begin: Begin) -> None:
    first, second = (
        begin(make_credentials(username="demo")),
        begin(make_credentials(username="demo@vbc.prod")),
    )

    assert first.tokens.current() == second.tokens.current()
    assert second.forms == []


# The file


def read_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_and_folder_are_private(begin: Begin, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        begin().tokens.current()
    finally:
        os.umask(before)

    folder = tmp_path / "vbc_tokens"
    assert mode_of(folder) == 0o700
    assert {mode_of(path) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.glob("*.json"))) == 1


def test_file_contains_neither_passwords_nor_names(begin: Begin, tmp_path: Path) -> None:
    token = begin().tokens.current()
    files = read_files(tmp_path / "vbc_tokens")

    assert token in "".join(files.values())
    assert not [word for word in PASSWORD.values() for text in [*files, *files.values()] if word in text]


def test_refusal_stores_no_password(begin: Begin, tmp_path: Path) -> None:
    refuse(begin(make_credentials(password="wrong-word")))
    files = read_files(tmp_path / "vbc_tokens")

    words = ["wrong-word", *PASSWORD.values()]
    assert not [word for word in words for text in [*files, *files.values()] if word in text]


def test_default_folder_is_the_data_folder_of_dlt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path))
    post = answer_with((200, b'{"access_token": "a", "expires_in": 600}'))
    TokenProvider(make_credentials(), "https://vbc.test", post).current()

    assert len(list((tmp_path / "vbc_tokens").glob("*.json"))) == 1


CORRUPT = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b"\xff\xfe\x00",
    b'{"access_token": "stale"}',
    b'{"access_token": 7, "x": []}',
]


@pytest.mark.parametrize("content", CORRUPT)
def test_corrupt_file_is_ignored_and_replaced(
    gateway: Gateway, begin: Begin, tmp_path: Path, content: bytes
) -> None:
    begin().tokens.current()
    (file,) = (tmp_path / "vbc_tokens").glob("*.json")
    file.write_bytes(content)
    second, third = begin(), begin()

    assert is_accepted(gateway, second.tokens.current())
    assert second.grants == ["password"]
    assert third.tokens.current() == second.tokens.current()
    assert third.forms == []


@pytest.mark.parametrize("changes", [{"expires_at": "soon"}, {"expires_at": None}])
def test_file_with_wrong_types_is_ignored(
    gateway: Gateway, begin: Begin, tmp_path: Path, changes: dict[str, object]
) -> None:
    begin().tokens.current()
    (file,) = (tmp_path / "vbc_tokens").glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    assert is_accepted(gateway, begin().tokens.current())


def test_file_round_trip(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "login.json")
    login = Login("access", "refresh", 12.5, {"fingerprint": RefusedLogin("why: “ö”", 99.0)})
    cache.write(login)

    assert cache.read() == login
    assert [path.name for path in tmp_path.iterdir()] == ["login.json"]


def test_missing_file_gives_an_empty_login(tmp_path: Path) -> None:
    assert TokenCache(tmp_path / "nowhere" / "login.json").read() == Login()


def test_writing_creates_the_folder(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "vbc_tokens" / "login.json")
    cache.write(Login("access"))

    assert cache.read() == Login("access")


# Renewal


def test_token_is_renewed_shortly_before_it_expires(gateway: Gateway, begin: Begin, clock: Clock) -> None:
    process = begin()
    old = process.tokens.current()
    clock.now += DAY - 2 * MINUTE

    assert process.tokens.current() == old
    clock.now += MINUTE + 30
    assert is_accepted(gateway, old)
    new = process.tokens.current()
    assert new != old
    assert is_accepted(gateway, new)


def test_short_token_lifetime_is_honoured(stage: Stage, clock: Clock, tmp_path: Path) -> None:
    gateway = stage.start(clock=clock, expires_in=10)
    process = Process(gateway, clock, tmp_path, make_credentials())
    old = process.tokens.current()
    clock.now += 8

    assert process.tokens.current() == old
    clock.now += 1.5
    assert process.tokens.current() != old


def test_expired_token_in_the_file_is_not_used(gateway: Gateway, begin: Begin, clock: Clock) -> None:
    begin().tokens.current()
    clock.now += DAY
    second = begin()

    assert is_accepted(gateway, second.tokens.current())
    assert second.grants == ["refresh_token"]


def test_each_refresh_token_is_used_once(gateway: Gateway, begin: Begin, clock: Clock) -> None:
    configured = issue(gateway)["refresh_token"]
    credentials = make_credentials(username=None, password=None, refresh_token=configured)
    first = begin(credentials)
    for _ in range(3):
        assert is_accepted(gateway, first.tokens.current())
        clock.now += DAY
    second = begin(credentials)  # a later process, with the settings of old

    assert is_accepted(gateway, second.tokens.current())
    used = [form["refresh_token"] for form in first.forms + second.forms]
    assert used[0] == configured
    assert len(set(used)) == len(used) == 4
    assert gateway.tokens.logins == 0


def test_renewal_uses_the_refresh_token_not_the_password(begin: Begin) -> None:
    process = begin()
    process.tokens.renew(process.tokens.current())

    assert process.grants == ["password", "refresh_token"]


def test_used_refresh_token_falls_back_to_the_password(gateway: Gateway, begin: Begin) -> None:
    process = begin(make_credentials(refresh_token="used"))

    assert is_accepted(gateway, process.tokens.current())
    assert process.grants == ["refresh_token", "password"]


def test_expired_refresh_token_falls_back_to_the_password(
    gateway: Gateway, begin: Begin, clock: Clock
) -> None:
    process = begin()
    process.tokens.current()
    clock.now += 8 * DAY

    assert is_accepted(gateway, process.tokens.current())
    assert process.grants == ["password", "refresh_token", "password"]


def test_used_refresh_token_without_password_is_reported_and_not_sent_again(
    gateway: Gateway, begin: Begin
) -> None:
    credentials = make_credentials(username=None, password=None, refresh_token="used")
    first, second = begin(credentials), begin(credentials)

    assert "refresh_token" in refuse(first)
    refuse(first)
    refuse(second)
    assert gateway.count("/token") == 1

    fresh = issue(gateway)["refresh_token"]
    changed = begin(make_credentials(username=None, password=None, refresh_token=fresh))
    assert is_accepted(gateway, changed.tokens.current())


# Other processes without a common folder


def test_token_that_the_gateway_lost_is_renewed_at_once(begin: Begin, clock: Clock) -> None:
    process = begin()
    for _ in range(20):
        token = process.tokens.current()
        process.tokens.accept(token)
        process.tokens.renew(token)

    assert clock.waits == []
    assert process.grants == ["password", *["refresh_token"] * 20]


def test_after_the_login_of_somebody_else_there_is_a_pause(
    gateway: Gateway, begin: Begin, clock: Clock
) -> None:
    process = begin()
    for _ in range(3):
        token = process.tokens.current()
        process.tokens.accept(token)
        issue(gateway)
        process.tokens.renew(token)

    assert process.grants == ["password", *["refresh_token", "password"] * 3]
    assert [seconds < limit for seconds, limit in zip(clock.waits, (60, 120, 240), strict=True)] == [True] * 3
    assert sum(clock.waits) > 1


def test_renewed_tokens_that_never_work_make_patient(begin: Begin, clock: Clock) -> None:
    process = begin()
    token = process.tokens.current()
    for _ in range(3):
        token = process.tokens.renew(token)

    assert process.grants[1:] == ["refresh_token"] * 3
    assert len(clock.waits) == 2


def test_without_a_refresh_token_the_pause_is_short_at_first(clock: Clock, tmp_path: Path) -> None:
    answers = [(200, json.dumps({"access_token": f"t{number}"}).encode()) for number in range(3)]
    tokens = TokenProvider(
        make_credentials(), "http://x", answer_with(*answers), clock=clock, sleep=clock.sleep, folder=tmp_path
    )
    for _ in range(2):
        tokens.accept(tokens.current())
        tokens.renew(tokens.current())

    assert [seconds < limit for seconds, limit in zip(clock.waits, (2, 4), strict=True)] == [True, True]


def test_expired_token_and_one_of_another_time_are_renewed_at_once(begin: Begin, clock: Clock) -> None:
    process = begin()
    process.tokens.accept(process.tokens.current())
    clock.now += DAY
    process.tokens.current()
    later = begin()
    later.tokens.renew(later.tokens.current())

    assert clock.waits == []


def test_eight_pods_that_revoke_each_others_tokens_need_about_two_logins_each() -> None:
    rounds = 200
    logins = sum(count_logins([Patience(PATIENCE) for _ in range(8)]) for _ in range(rounds))

    assert logins / rounds / 8 < 2.3


def count_logins(pods: list[Patience], seconds: float = 1.0) -> int:
    """Simulate pods that start within a second; each needs a valid token for some seconds."""
    starts = [(random.random(), pod, seconds) for pod in pods]  # when it logs in, and what is left to do then
    logins, holder = 0, None
    while starts:
        now, pod, left = starts.pop(starts.index(min(starts, key=lambda start: start[0])))
        if holder and now < holder[0] + holder[2]:
            lost = holder[1]
            starts.append((now + lost.draw(), lost, holder[2] - (now - holder[0])))
        holder, logins = (now, pod, left), logins + 1
        assert logins < 1000
    return logins


def test_login_is_given_up_after_five_tokens_that_nobody_accepted(begin: Begin) -> None:
    process = begin()
    token = process.tokens.current()
    for _ in range(5):
        token = process.tokens.renew(token)

    with pytest.raises(TokenRejected, match="5 new access tokens in a row"):
        process.tokens.renew(token)
    process.tokens.accept(token)
    assert process.tokens.renew(token) != token


def test_login_of_another_process_that_does_not_end_is_not_waited_for(
    gateway: Gateway, begin: Begin, clock: Clock, tmp_path: Path
) -> None:
    begin().tokens.current()
    (file,) = (tmp_path / "vbc_tokens").glob("*.json")
    file.unlink()
    tokens = TokenProvider(
        make_credentials(), gateway.base_url, answer_with(), folder=file.parent, lock_seconds=0.1
    )

    with TokenCache(file).lock(), pytest.raises(Unavailable, match="another process has been logging in"):
        tokens.current()


@pytest.mark.parametrize("token", ["s3cret\nready", "s3cret ready", "s3cret\x00", "s3cr€t"])
def test_configured_token_that_no_header_can_carry_is_refused_without_it(begin: Begin, token: str) -> None:
    with pytest.raises(SettingsError, match="access_token in") as refused:
        begin(VbcCredentials(access_token=token))

    assert "s3c" not in str(refused.value)


# Refusals


def test_refused_login_is_never_retried(gateway: Gateway, begin: Begin, clock: Clock) -> None:
    credentials = make_credentials(password="wrong")
    first = begin(credentials)
    for _ in range(3):
        assert "check username and password" in refuse(first)
    for _ in range(3):
        assert "refused at an earlier attempt" in refuse(begin(credentials))
    clock.now += 30 * DAY
    refuse(begin(credentials))

    assert gateway.tokens.logins == 1
    assert not gateway.tokens.locked


def test_eight_threads_with_a_wrong_password_make_one_login(gateway: Gateway, begin: Begin) -> None:
    process, ready = begin(make_credentials(password="wrong")), threading.Barrier(8)

    def work() -> BaseException | None:
        ready.wait(10)
        try:
            process.tokens.current()
        except LoginRefused as refused:
            return refused
        return None

    with ThreadPoolExecutor(8) as pool:
        errors = [future.result() for future in [pool.submit(work) for _ in range(8)]]

    assert [type(error) for error in errors] == [LoginRefused] * 8
    assert gateway.tokens.logins == 1


def test_changed_credentials_are_tried_after_a_refusal(gateway: Gateway, begin: Begin) -> None:
    refuse(begin(make_credentials(password="wrong")))

    assert is_accepted(gateway, begin().tokens.current())


def test_removing_the_file_named_in_the_message_allows_another_login(
    gateway: Gateway, begin: Begin, tmp_path: Path
) -> None:
    credentials = make_credentials(password="wrong")
    refuse(begin(credentials))
    (file,) = (tmp_path / "vbc_tokens").glob("*.json")
    assert f"remove {file}" in refuse(begin(credentials))
    file.unlink()
    refuse(begin(credentials))

    assert gateway.tokens.logins == 2


def test_other_secrets_of_the_same_user_log_in_by_themselves(gateway: Gateway, begin: Begin) -> None:
    first = begin()
    token = first.tokens.current()
    refuse(begin(make_credentials(password="wrong")))
    refuse(begin(make_credentials(password="wrong")))

    assert gateway.tokens.logins == 2  # the refused one was sent once
    assert begin().tokens.current() == token  # and took nothing from the others


def test_refusals_of_several_credentials_are_remembered(gateway: Gateway, begin: Begin) -> None:
    for _ in range(2):
        for password in ("outdated", "older still"):
            refuse(begin(make_credentials(password=password)))

    assert gateway.tokens.logins == 2
    assert not gateway.tokens.locked


def lock_user(gateway: Gateway) -> None:
    for _ in range(3):
        form = {"grant_type": "password", **PASSWORD, "password": "mistyped"}
        requests.post(f"{gateway.base_url}/token", data=form, timeout=10)
    assert gateway.tokens.locked
    gateway.tokens.logins = 0


def test_locked_user_message_explains_how_to_unlock(gateway: Gateway, begin: Begin) -> None:
    lock_user(gateway)

    message = refuse(begin())
    assert "locked" in message
    assert "wait 30 minutes" in message
    assert "administrator" in message


def test_locked_user_is_tried_again_after_half_an_hour(gateway: Gateway, begin: Begin, clock: Clock) -> None:
    lock_user(gateway)
    refuse(begin())
    for _ in range(6):
        clock.now += 5 * MINUTE
        assert "locked" in refuse(begin())
    assert gateway.tokens.logins == 1
    clock.now += MINUTE

    assert is_accepted(gateway, begin().tokens.current())


@pytest.mark.parametrize("body", [b"17003 Account", b'{"error_description": "User account is LOCKED"}'])
def test_locked_user_is_recognized_by_code_or_word(tmp_path: Path, body: bytes) -> None:
    tokens = TokenProvider(make_credentials(), "https://vbc.test", answer_with((400, body)), folder=tmp_path)

    with pytest.raises(LoginRefused, match="wait 30 minutes"):
        tokens.current()


@pytest.mark.parametrize("name", ["client_id", "client_secret"])
def test_wrong_application_is_sent_once_a_run(gateway: Gateway, begin: Begin, name: str) -> None:
    process = begin(make_credentials(**{name: "mistyped"}))

    for _ in range(3):
        assert "check client_id and client_secret" in refuse(process)
    assert gateway.count("/token") == 1
    assert is_accepted(gateway, begin().tokens.current())


OAUTH = b'{"error": "%s", "error_description": "wrong"}'
VERDICTS = [
    (400, OAUTH % b"invalid_grant"),
    (401, OAUTH % b"invalid_grant"),
    (400, b'{"error": "invalid_grant", "error_description": "17003 Account is locked for user u"}'),
    (403, b'{"error_description": "the account is locked"}'),
]
NO_VERDICTS = [
    *(
        (status, b"<html><body>blocked; your account is locked</body></html>")
        for status in (400, 401, 407, 451)
    ),
    (400, b""),
    (400, b"blocked"),
    (400, b'{"message": "17003170031"}'),
    (401, b'{"fault": {"code": 900901, "message": "Invalid Credentials"}}'),
    (401, OAUTH % b"invalid_client"),
    (400, OAUTH % b"invalid_request"),
    (400, b'{"error": ' + b"[" * 100_000),
    (200, b'{"expires_in": 60}'),
]


@pytest.mark.parametrize("given", [{}, {"username": None, "password": None, "refresh_token": "r"}])
@pytest.mark.parametrize(
    ("answer", "kept"), [*((a, True) for a in VERDICTS), *((a, False) for a in NO_VERDICTS)]
)
def test_only_a_verdict_on_the_credentials_outlasts_the_run(
    tmp_path: Path, given: dict[str, Any], answer: tuple[int, bytes], kept: bool
) -> None:
    sent: list[str] = []

    def post(form: Mapping[str, str]) -> tuple[int, bytes]:
        sent.append(form["grant_type"])
        return answer if len(sent) == 1 else (200, b'{"access_token": "a"}')

    def start() -> TokenProvider:
        return TokenProvider(make_credentials(**given), "https://vbc.test", post, folder=tmp_path)

    first = start()
    for _ in range(2):
        with pytest.raises(LoginRefused):
            first.current()
    assert len(sent) == 1  # never twice in a run
    if kept:
        with pytest.raises(LoginRefused, match="at an earlier attempt"):
            start().current()
    else:
        assert start().current() == "a"


@pytest.mark.parametrize(
    "value", ["-5", "0", "NaN", "1e999", '"soon"', "null", "[]", "true", "9" * 500, None]
)
def test_impossible_lifetime_is_one_hour(clock: Clock, tmp_path: Path, value: str | None) -> None:
    body = '{"access_token": "a"}' if value is None else f'{{"access_token": "a", "expires_in": {value}}}'
    post = answer_with((200, body.encode()), (200, b'{"access_token": "b"}'))
    tokens = TokenProvider(make_credentials(), "https://vbc.test", post, clock=clock, folder=tmp_path)

    assert tokens.current() == "a"
    clock.now += 58 * MINUTE
    assert tokens.current() == "a"
    clock.now += 2 * MINUTE
    assert tokens.current() == "b"


def test_unavailable_gateway_is_not_a_refusal(gateway: Gateway, clock: Clock, tmp_path: Path) -> None:
    calls: list[str] = []

    def post(form: Mapping[str, str]) -> tuple[int, bytes]:
        calls.append(form["grant_type"])
        if len(calls) == 1:
            raise Unavailable(503)
        return 200, b'{"access_token": "a", "expires_in": 600}'

    tokens = TokenProvider(make_credentials(), "https://vbc.test", post, clock=clock, folder=tmp_path)
    with pytest.raises(Unavailable):
        tokens.current()

    assert tokens.current() == "a"


NO_TOKEN = [b"{}", b"[]", b'"word"', b'{"expires_in": 600}', b'{"access_token": "a\\r\\nb"}']


@pytest.mark.parametrize("body", NO_TOKEN)
def test_login_response_without_token_is_a_permanent_refusal(tmp_path: Path, body: bytes) -> None:
    tokens = TokenProvider(make_credentials(), "https://vbc.test", answer_with((200, body)), folder=tmp_path)

    for _ in range(2):
        with pytest.raises(LoginRefused, match="without an access token"):
            tokens.current()


@pytest.mark.parametrize("token", [None, ""])
def test_login_response_with_an_empty_token_is_a_refusal(tmp_path: Path, token: object) -> None:
    body = json.dumps({"access_token": token, "expires_in": 600}).encode()
    tokens = TokenProvider(make_credentials(), "https://vbc.test", answer_with((200, body)), folder=tmp_path)

    with pytest.raises(LoginRefused, match="without an access token"):
        tokens.current()


# Secrets

SECRETS = {
    "client_secret": "s3cret-of-the-application",
    "username": "jane.doe",
    "password": "s3cret-word",
    "refresh_token": "s3cret-refresh",
    "access_token": "s3cret-access",
}


@pytest.mark.parametrize(
    "answer",
    [
        (
            400,
            b'{"error": "invalid_grant", "error_description": "Authentication failed for jane.doe@vbc.prod"}',
        ),
        (
            400,
            b'{"error_description": "17003 jane.doe@vbc.prod s3cret-word is locked"}',
        ),
        (401, b'{"error": "invalid_client", "error_description": "s3cret-of-the-application"}'),
        (200, b'{"refresh_token": "s3cret-refresh"}'),
        (403, b"<html>jane.doe s3cret-word</html>"),
    ],
)
@pytest.mark.parametrize("given", ["password", "refresh_token"])
def test_refusals_contain_no_secret_and_no_name(
    tmp_path: Path, answer: tuple[int, bytes], given: str
) -> None:
    credentials = VbcCredentials(client_id="demo-client", **SECRETS)
    if given == "refresh_token":
        credentials.username = credentials.password = None
    texts = []
    for _ in range(2):  # first the response of the gateway, then the stored refusal
        post = answer_with(*[answer] * 3)
        tokens = TokenProvider(credentials, "https://vbc.test", post, folder=tmp_path)
        with pytest.raises(VbcError) as refused:
            tokens.renew(SECRETS["access_token"])
        texts += [str(refused.value), repr(refused.value), *traceback.format_exception(refused.value)]

    assert not [text for text in texts if "s3cret" in text or "jane.doe" in text]


def test_repr_of_credentials_contains_no_secret(tmp_path: Path) -> None:
    credentials = VbcCredentials(client_id="demo-client", **SECRETS)
    tokens = TokenProvider(credentials, "https://vbc.test", answer_with(), folder=tmp_path)

    for text in (repr(credentials), str(credentials), repr(tokens), credentials.fingerprint()):
        assert "s3cret" not in text


def test_repr_of_a_login_contains_no_token() -> None:
    assert "s3cret" not in repr(Login("s3cret-access", "s3cret-refresh", 1.0))


def test_fingerprint_changes_with_every_credential() -> None:
    changes = [{}, *({name: "other"} for name in (*PASSWORD, "refresh_token"))]
    fingerprints = [make_credentials(**change).fingerprint() for change in changes]

    assert len(set(fingerprints)) == len(changes)
    assert make_credentials().fingerprint() == fingerprints[0]


def test_data_folders_of_their_own_share_one_login_in_the_token_folder(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of pods, which have no disk in common but one volume."""
    shared = tmp_path / "volume" / "tokens"
    config = VbcConfig.from_values(
        credentials=make_credentials(), base_url=gateway.base_url, token_folder=str(shared)
    )
    for pod in ("first", "second"):
        monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / pod))
        with closing(Client.from_config(config)) as client:
            client.log_in()
    assert gateway.tokens.logins == 1
    assert not list(tmp_path.glob("*/vbc_tokens"))
    assert stat.S_IMODE(shared.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared.iterdir()} == {0o600}


def test_a_token_folder_that_others_could_write_is_refused_by_the_name_of_the_setting(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume").chmod(0o770)
    config = VbcConfig.from_values(
        credentials=make_credentials(), base_url=gateway.base_url, token_folder=str(tmp_path / "volume")
    )
    with (
        closing(Client.from_config(config)) as client,
        pytest.raises(SettingsError, match=r"could be written by other users.* set token_folder to a folder"),
    ):
        client.log_in()
    assert gateway.tokens.logins == 0


def test_a_login_that_cannot_be_locked_or_kept_names_the_file_and_the_setting(tmp_path: Path) -> None:
    """In place of the token that the gateway refused: that is only why there was a login."""
    cache = TokenCache(tmp_path / "tokens" / "user.json", "token_folder")
    cache.path.mkdir()
    with pytest.raises(SettingsError, match=r"user.json: .*set token_folder to a folder"):
        cache.write(Login())
    cache.path.with_suffix(".lock").mkdir()
    with pytest.raises(SettingsError, match=r"user.lock: .*set token_folder to a folder"), cache.lock():
        pass
