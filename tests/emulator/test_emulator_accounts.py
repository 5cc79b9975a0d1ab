"""Several accounts behind one gateway."""

from __future__ import annotations

import pytest
from emulator_caller import API, PROVISIONING, Caller, Clock, Serve, users_list

from vbc_source.emulator import Emulator, Gateway

OTHER = f"{API}/accounts/77/company_call_recordings"


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    caller = serve(clock, recordings=30, users=3, user_recordings=20)
    caller.gateway.add_account("77", seed=1, recordings=30, users=2, user_recordings=20)
    return caller


def test_self_is_the_main_account(caller: Caller) -> None:
    gateway = caller.gateway
    assert list(gateway.accounts) == ["549825", "77"]
    assert gateway.accounts["549825"].company is gateway.company
    assert gateway.accounts["549825"].users is gateway.users
    assert gateway.accounts["549825"].jobs is gateway.jobs
    assert caller.ids() == [row["id"] for row in gateway.company.all()]
    listed = caller.get_list(f"{PROVISIONING}/accounts/self/users").json()["_embedded"]["data"]
    assert listed == gateway.users.all()


def test_another_account_has_recordings_of_its_own_under_equal_ids(caller: Caller) -> None:
    other = caller.gateway.accounts["77"]
    page = caller.get_list(OTHER, page_size=100).json()
    rows = page["_embedded"]["recordings"]
    assert rows == other.company.all()
    assert [row["id"] for row in rows] == caller.ids()
    assert page["_links"]["self"]["href"].startswith(f"{caller.url}{OTHER}?")
    assert caller.send("GET", rows[0]["_links"]["self"]["href"]).json() == rows[0]


def test_equal_ids_lead_to_the_right_audio(caller: Caller) -> None:
    key = caller.ids()[0]
    urls = {row["id"]: row["download_url"] for row in caller.gateway.accounts["77"].company.all()}
    assert f"Recording {key} of account 77".encode() in caller.send("GET", urls[key]).content
    assert b"of account" not in caller.send("GET", caller.rows()[0]["download_url"]).content


def test_deleting_in_one_account_leaves_the_other_alone(caller: Caller) -> None:
    key = caller.ids()[0]
    assert caller.send("DELETE", f"{OTHER}/{key}").status_code == 204
    assert caller.send("GET", f"{OTHER}/{key}").status_code == 404
    assert key in caller.ids()


def test_each_account_has_its_own_users(caller: Caller) -> None:
    gateway = caller.gateway
    listed = caller.get_list(f"{PROVISIONING}/accounts/77/users").json()["_embedded"]["data"]
    assert listed == gateway.accounts["77"].users.all()
    stranger = gateway.users.all()[1]["id"]
    assert caller.send("GET", users_list(stranger, "77")).status_code == 404
    assert caller.send("GET", users_list("self", "77")).status_code == 200


@pytest.mark.parametrize(
    "path", ["company_call_recordings", "users/1/call_recordings", "users/1/call_recordings/jobs"]
)
def test_an_unknown_account_is_refused_in_plain_words(caller: Caller, path: str) -> None:
    answer = caller.send("GET", f"{API}/accounts/78/{path}")
    assert answer.status_code == 403
    assert answer.text == "User is not authorized to search CCR recordings for this account"


def test_provisioning_refuses_an_unknown_account_in_its_own_words(caller: Caller) -> None:
    answer = caller.send("GET", f"{PROVISIONING}/accounts/78/users")
    assert (answer.status_code, answer.json()["status"]) == (403, 403)


def test_an_account_is_added_once() -> None:
    gateway = Gateway()
    gateway.add_account("77")
    for account_id in ("77", "549825"):
        with pytest.raises(ValueError, match=account_id):
            gateway.add_account(account_id)


def test_accounts_without_a_seed_differ() -> None:
    gateway = Gateway(clock=Clock())
    one, two = (gateway.add_account(name, recordings=5).company.all() for name in ("1", "2"))
    assert not {row["call_id"] for row in one} & {row["call_id"] for row in two}


def test_links_of_every_account_follow_the_gateway_to_another_port(caller: Caller) -> None:
    gateway = caller.gateway
    account = gateway.accounts["77"]
    stores = [account.company, *(account.users.recordings(row["id"]) for row in account.users.all())]
    for store in stores:
        store.add()
    with Emulator(gateway) as url:
        assert url != caller.url
        for store in stores:
            row = store.all()[0]
            assert row["download_url"].startswith(url)
            assert row["_links"]["self"]["href"].startswith(url)
