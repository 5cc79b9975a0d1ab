"""Several accounts behind one gateway."""

from __future__ import annotations

import pytest
from emulator_client import API, PROVISIONING, Client, Clock, Serve, users_list

from vbc_source.emulator import Emulator, Gateway

OTHER = f"{API}/accounts/77/company_call_recordings"


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    client = serve(clock, recordings=30, users=3, user_recordings=20, days=30)
    client.gateway.add_account("77", seed=1, recordings=30, users=2, user_recordings=20, days=30)
    return client


def test_self_is_the_main_account(client: Client) -> None:
    gateway = client.gateway
    assert list(gateway.accounts) == ["549825", "77"]
    assert gateway.accounts["549825"].company is gateway.company
    assert gateway.accounts["549825"].users is gateway.users
    assert gateway.accounts["549825"].jobs is gateway.jobs
    assert client.ids() == [row["id"] for row in gateway.company.all()]
    listed = client.get_list(f"{PROVISIONING}/accounts/self/users").json()["_embedded"]["data"]
    assert listed == gateway.users.all()


def test_two_accounts_can_have_different_recordings_with_equal_ids(client: Client) -> None:
    other = client.gateway.accounts["77"]
    page = client.get_list(OTHER, page_size=100).json()
    rows = page["_embedded"]["recordings"]
    assert rows == other.company.all()
    assert [row["id"] for row in rows] == client.ids()
    assert page["_links"]["self"]["href"].startswith(f"{client.url}{OTHER}?")
    assert client.send("GET", rows[0]["_links"]["self"]["href"]).json() == rows[0]


def test_download_urls_of_equal_ids_return_different_audio(client: Client) -> None:
    key = client.ids()[0]
    urls = {row["id"]: row["download_url"] for row in client.gateway.accounts["77"].company.all()}
    assert f"Recording {key} of account 77".encode() in client.send("GET", urls[key]).content
    assert b"of account" not in client.send("GET", client.rows()[0]["download_url"]).content


def test_delete_affects_only_one_account(client: Client) -> None:
    key = client.ids()[0]
    assert client.send("DELETE", f"{OTHER}/{key}").status_code == 204
    assert client.send("GET", f"{OTHER}/{key}").status_code == 404
    assert key in client.ids()


def test_each_account_has_its_own_users(client: Client) -> None:
    gateway = client.gateway
    listed = client.get_list(f"{PROVISIONING}/accounts/77/users").json()["_embedded"]["data"]
    assert listed == gateway.accounts["77"].users.all()
    stranger = gateway.users.all()[1]["id"]
    assert client.send("GET", users_list(stranger, "77")).status_code == 404
    assert client.send("GET", users_list("self", "77")).status_code == 200


@pytest.mark.parametrize(
    "path", ["company_call_recordings", "users/1/call_recordings", "users/1/call_recordings/jobs"]
)
def test_unknown_account_returns_403_with_plain_text(client: Client, path: str) -> None:
    response = client.send("GET", f"{API}/accounts/78/{path}")
    assert response.status_code == 403
    assert response.text == "User is not authorized to search CCR recordings for this account"


def test_provisioning_returns_403_with_json_for_an_unknown_account(client: Client) -> None:
    response = client.send("GET", f"{PROVISIONING}/accounts/78/users")
    assert (response.status_code, response.json()["status"]) == (403, 403)


def test_adding_an_existing_account_raises() -> None:
    gateway = Gateway()
    gateway.add_account("77")
    for account_id in ("77", "549825"):
        with pytest.raises(ValueError, match=account_id):
            gateway.add_account(account_id)


def test_accounts_without_a_seed_have_different_recordings() -> None:
    gateway = Gateway(clock=Clock())
    first, second = (gateway.add_account(name, recordings=5).company.all() for name in ("1", "2"))
    assert not {row["call_id"] for row in first} & {row["call_id"] for row in second}


def test_links_of_every_account_change_with_the_port(client: Client) -> None:
    gateway = client.gateway
    account = gateway.accounts["77"]
    stores = [account.company, *(account.users.recordings(row["id"]) for row in account.users.all())]
    for store in stores:
        store.add()
    with Emulator(gateway) as url:
        assert url != client.url
        for store in stores:
            row = store.all()[0]
            assert row["download_url"].startswith(url)
            assert row["_links"]["self"]["href"].startswith(url)
