"""Logging in, renewing, losing and locking."""

from __future__ import annotations

import pytest
import requests
from emulator_caller import LIST, Caller, Clock, Serve


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    return serve(clock, log_in=False, recordings=5)


def _code(answer: requests.Response) -> int:
    code: int = answer.json()["fault"]["code"]
    return code


def test_logging_in_gives_tokens(caller: Caller) -> None:
    body = caller.log_in().json()
    assert set(body) == {"access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 86_400, "openid")
    assert caller.get_list().status_code == 200


def test_a_client_may_use_basic_authorization(caller: Caller) -> None:
    form = {"grant_type": "password", "username": "demo@vbc.prod", "password": "demo-password"}
    url = f"{caller.url}/token"
    assert requests.post(url, form, auth=("demo-client", "demo-secret"), timeout=10).status_code == 200
    assert requests.post(url, form, auth=("demo-client", "wrong"), timeout=10).status_code == 401


def test_a_wrong_password_is_refused(caller: Caller) -> None:
    answer = caller.log_in("wrong")
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"
    assert answer.json()["error_description"].startswith("Authentication failed for demo@vbc.prod")


def test_a_username_needs_its_suffix(caller: Caller) -> None:
    assert caller.log_in(username="demo").status_code == 400


def test_a_wrong_client_is_refused(caller: Caller) -> None:
    answer = caller.post_token(grant_type="password", client_secret="wrong")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_other_grants_are_refused(caller: Caller) -> None:
    answer = caller.post_token(grant_type="device")
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    assert caller.send("GET", "/token").status_code == 405


def test_three_failures_lock_the_user_for_half_an_hour_after_the_last_attempt(
    caller: Caller, clock: Clock
) -> None:
    for _ in range(3):
        assert "Authentication failed" in caller.log_in("wrong").text
    assert caller.gateway.tokens.locked
    answer = caller.log_in()
    assert answer.status_code == 400
    assert "17003" in answer.text
    assert "locked" in answer.text
    clock.now += 29 * 60
    assert caller.log_in().status_code == 400
    clock.now += 29 * 60
    assert caller.gateway.tokens.locked
    clock.now += 60
    assert not caller.gateway.tokens.locked
    assert caller.log_in().status_code == 200
    assert caller.gateway.tokens.logins == 6


def test_a_good_login_forgives_failures(caller: Caller) -> None:
    for password in ("wrong", "wrong", "demo-password", "wrong", "wrong"):
        caller.log_in(password)
    assert not caller.gateway.tokens.locked


def test_a_refresh_token_works_once_and_is_replaced(caller: Caller) -> None:
    first = caller.log_in().json()["refresh_token"]
    answer = caller.post_token(grant_type="refresh_token", refresh_token=first)
    assert answer.status_code == 200
    caller.use(answer.json()["access_token"])
    assert caller.get_list().status_code == 200
    used = caller.post_token(grant_type="refresh_token", refresh_token=first)
    assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")
    assert used.json()["error_description"] == "Persisted access token data not found"
    second = answer.json()["refresh_token"]
    assert caller.post_token(grant_type="refresh_token", refresh_token=second).status_code == 200
    assert caller.gateway.tokens.logins == 1


def test_a_refresh_token_lives_seven_days(caller: Caller, clock: Clock) -> None:
    token = caller.log_in().json()["refresh_token"]
    clock.now += 7 * 86_400
    assert caller.post_token(grant_type="refresh_token", refresh_token=token).status_code == 400


def test_a_new_token_revokes_the_previous_one(caller: Caller) -> None:
    old = caller.log_in().json()["access_token"]
    caller.log_in()
    caller.use(old)
    assert (caller.get_list().status_code, _code(caller.get_list())) == (401, 900901)


def test_tokens_run_out(caller: Caller, clock: Clock) -> None:
    caller.log_in()
    clock.now += 86_399
    assert caller.get_list().status_code == 200
    clock.now += 1
    assert (caller.get_list().status_code, _code(caller.get_list())) == (401, 900904)


def test_everything_but_the_token_endpoint_needs_a_token(caller: Caller) -> None:
    for path in (LIST, f"{LIST}/1", "/t/vbc.prod/call_recording/api/audio/recording/1", "/elsewhere"):
        assert _code(caller.send("GET", path)) == 900902
    caller.use("unknown")
    assert _code(caller.get_list()) == 900901


def test_all_tokens_can_be_revoked(caller: Caller) -> None:
    refresh = caller.log_in().json()["refresh_token"]
    caller.gateway.tokens.revoke_all()
    assert _code(caller.get_list()) == 900901
    assert caller.post_token(grant_type="refresh_token", refresh_token=refresh).status_code == 400


def test_all_tokens_can_be_made_to_expire_and_then_be_renewed(caller: Caller) -> None:
    refresh = caller.log_in().json()["refresh_token"]
    caller.gateway.tokens.expire_all()
    assert _code(caller.get_list()) == 900904
    assert caller.post_token(grant_type="refresh_token", refresh_token=refresh).status_code == 200


def test_without_openid_there_is_no_identity(caller: Caller) -> None:
    form = {"grant_type": "password", "username": "demo@vbc.prod", "password": "demo-password"}
    body = caller.post_token(**form).json()
    assert body["scope"] == "default"
    assert "id_token" not in body
