"""Login, renewal, expiry and locking."""

from __future__ import annotations

import pytest
import requests
from emulator_client import LIST, Client, Clock, Serve


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    return serve(clock, log_in=False, recordings=5, days=1)


def _code(response: requests.Response) -> int:
    code: int = response.json()["fault"]["code"]
    return code


def test_login_returns_tokens(client: Client) -> None:
    body = client.log_in().json()
    assert set(body) == {"access_token", "refresh_token", "scope", "id_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 86_400, "openid")
    assert client.get_list().status_code == 200


def test_client_can_use_basic_authorization(client: Client) -> None:
    form = {"grant_type": "password", "username": "demo@vbc.prod", "password": "demo-password"}
    url = f"{client.url}/token"
    assert requests.post(url, form, auth=("demo-client", "demo-secret"), timeout=10).status_code == 200
    assert requests.post(url, form, auth=("demo-client", "wrong"), timeout=10).status_code == 401


def test_wrong_password_is_refused(client: Client) -> None:
    response = client.log_in("wrong")
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"
    assert response.json()["error_description"].startswith("Authentication failed for demo@vbc.prod")


def test_username_requires_its_suffix(client: Client) -> None:
    assert client.log_in(username="demo").status_code == 400


def test_wrong_client_is_refused(client: Client) -> None:
    response = client.post_token(grant_type="password", client_secret="wrong")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


def test_unknown_grant_types_are_refused(client: Client) -> None:
    response = client.post_token(grant_type="device")
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")
    assert client.send("GET", "/token").status_code == 405


def test_three_failures_lock_the_user_until_half_an_hour_after_the_last_attempt(
    client: Client, clock: Clock
) -> None:
    for _ in range(3):
        assert "Authentication failed" in client.log_in("wrong").text
    assert client.gateway.tokens.locked
    response = client.log_in()
    assert response.status_code == 400
    assert "17003" in response.text
    assert "locked" in response.text
    clock.now += 29 * 60
    assert client.log_in().status_code == 400
    clock.now += 29 * 60
    assert client.gateway.tokens.locked
    clock.now += 60
    assert not client.gateway.tokens.locked
    assert client.log_in().status_code == 200
    assert client.gateway.tokens.logins == 6


def test_successful_login_resets_the_failures(client: Client) -> None:
    for password in ("wrong", "wrong", "demo-password", "wrong", "wrong"):
        client.log_in(password)
    assert not client.gateway.tokens.locked


def test_refresh_token_works_once_and_is_replaced(client: Client) -> None:
    first = client.log_in().json()["refresh_token"]
    response = client.post_token(grant_type="refresh_token", refresh_token=first)
    assert response.status_code == 200
    client.use(response.json()["access_token"])
    assert client.get_list().status_code == 200
    used = client.post_token(grant_type="refresh_token", refresh_token=first)
    assert (used.status_code, used.json()["error"]) == (400, "invalid_grant")
    assert used.json()["error_description"] == "Persisted access token data not found"
    second = response.json()["refresh_token"]
    assert client.post_token(grant_type="refresh_token", refresh_token=second).status_code == 200
    assert client.gateway.tokens.logins == 1


def test_refresh_token_is_valid_for_seven_days(client: Client, clock: Clock) -> None:
    token = client.log_in().json()["refresh_token"]
    clock.now += 7 * 86_400
    assert client.post_token(grant_type="refresh_token", refresh_token=token).status_code == 400


def test_new_token_revokes_the_previous_one(client: Client) -> None:
    old = client.log_in().json()["access_token"]
    client.log_in()
    client.use(old)
    assert (client.get_list().status_code, _code(client.get_list())) == (401, 900901)


def test_access_token_expires(client: Client, clock: Clock) -> None:
    client.log_in()
    clock.now += 86_399
    assert client.get_list().status_code == 200
    clock.now += 1
    assert (client.get_list().status_code, _code(client.get_list())) == (401, 900904)


def test_every_other_endpoint_requires_a_token(client: Client) -> None:
    for path in (LIST, f"{LIST}/1", "/t/vbc.prod/call_recording/api/audio/recording/1", "/elsewhere"):
        assert _code(client.send("GET", path)) == 900902
    client.use("unknown")
    assert _code(client.get_list()) == 900901


def test_all_tokens_can_be_revoked(client: Client) -> None:
    refresh = client.log_in().json()["refresh_token"]
    client.gateway.tokens.revoke_all()
    assert _code(client.get_list()) == 900901
    assert client.post_token(grant_type="refresh_token", refresh_token=refresh).status_code == 400


def test_all_access_tokens_can_be_expired_and_then_renewed(client: Client) -> None:
    refresh = client.log_in().json()["refresh_token"]
    client.gateway.tokens.expire_all()
    assert _code(client.get_list()) == 900904
    assert client.post_token(grant_type="refresh_token", refresh_token=refresh).status_code == 200


def test_login_without_openid_returns_no_id_token(client: Client) -> None:
    form = {"grant_type": "password", "username": "demo@vbc.prod", "password": "demo-password"}
    body = client.post_token(**form).json()
    assert body["scope"] == "default"
    assert "id_token" not in body
