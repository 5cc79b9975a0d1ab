"""Users of an account, and access to their recordings."""

from __future__ import annotations

import re
import time

import pytest
from emulator_client import NOON, USERS, Client, Clock, Serve, users_list

from vbc_source.emulator import Gateway, Users

REFUSAL = "User is not authorized to search CCR recordings for this account"


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    return serve(clock, users=4, user_recordings=40, days=30)


def _spread(users: Users) -> list[int]:
    return [len(users.recordings(row["id"])) for row in users.all()]


def test_first_user_is_the_api_user() -> None:
    gateway = Gateway(users=3, username="kim@vbc.prod")
    rows = gateway.users.all()
    assert len(rows) == len(gateway.users) == 3
    assert gateway.users.api_user == str(rows[0]["id"]) == "745249"
    assert rows[0]["login_name"] == "kim"


def test_api_user_exists_but_is_not_listed_without_users(serve: Serve) -> None:
    client = serve(users=0, user_recordings=3)
    assert client.gateway.users.all() == client.gateway.users.extensions() == []
    assert client.get_list(USERS).json()["total_items"] == 0
    assert client.get_list(users_list()).json()["total_items"] == 3


def test_users_are_distinct_and_equal_for_equal_seeds() -> None:
    first, second, other = (Gateway(seed=seed, users=300).users.all() for seed in (1, 1, 2))
    assert first == second != other
    for name in ("id", "email", "login_name"):
        assert len({row[name] for row in first}) == 300


def test_generated_numbers_and_addresses_are_fictional() -> None:
    users = Gateway(users=100).users.all()
    extensions = [extension for row in users for extension in row["extensions"]]
    numbers = [contact["value"] for row in users for contact in row["contact_numbers"]]
    numbers += [did["phone_number"] for extension in extensions for did in extension["dids"]]
    assert numbers
    assert all(re.fullmatch(r"1\d{3}55501\d\d", number) for number in numbers)
    assert len({extension["extension_number"] for extension in extensions}) == len(extensions)
    assert {len(row["extensions"]) for row in users} == {0, 1, 2}
    assert all(row["email"].endswith("@example.com") for row in users)


def test_recordings_are_distributed_unevenly() -> None:
    counts = _spread(Gateway(users=20, user_recordings=1000, days=30, clock=Clock(NOON)).users)
    assert 900 < sum(counts) <= 1000
    assert counts.count(0) >= 5
    assert max(counts) > 3 * sorted(counts)[10] > 0


def test_single_user_has_all_recordings() -> None:
    gateway = Gateway(user_recordings=50, clock=Clock(NOON))
    assert 40 < len(gateway.users.recordings(gateway.users.api_user)) <= 50


def test_user_recordings_are_generated_on_first_access() -> None:
    start = time.monotonic()
    gateway = Gateway(users=200, user_recordings=200_000)
    assert time.monotonic() - start < 5
    assert len(gateway.users) == 200


def test_added_user_has_the_given_fields() -> None:
    users = Gateway(clock=Clock(NOON)).users
    row = users.add("17", recordings=12, days=30, first_name="Zed", extensions=[])
    assert (row["id"], row["first_name"], row["extensions"]) == ("17", "Zed", [])
    assert users.all()[1] == row
    assert 10 <= len(users.recordings(17)) <= 12
    with pytest.raises(ValueError, match="user 17"):
        users.add(17)


def test_changed_user_keeps_the_other_fields() -> None:
    users = Gateway(users=2).users
    row = users.all()[1]
    assert users.change(row["id"], last_name="New") == {**row, "last_name": "New"} == users.all()[1]
    users.change(str(row["id"]), extensions=None)
    assert row["id"] not in {extension["user"]["id"] for extension in users.extensions()}


def test_returned_users_are_copies() -> None:
    users = Gateway().users
    users.all()[0]["extensions"].clear()
    assert users.all()[0]["extensions"]


def test_calls_of_a_user_have_the_extension_of_the_user() -> None:
    users = Gateway(user_recordings=50, clock=Clock(NOON)).users
    own = int(users.all()[0]["extensions"][0]["extension_number"])
    assert all(row["extensions"][0] == own for row in users.recordings("745249").all() if row["extensions"])


def test_removed_user_is_not_listed_and_returns_404(client: Client) -> None:
    users = client.gateway.users
    key = users.all()[2]["id"]
    expected = len(users.recordings(key))
    users.remove(str(key))
    assert key not in {row["id"] for row in users.all()}
    assert client.send("GET", users_list(key)).status_code == 404
    assert client.send("GET", f"{users_list(key)}/jobs").status_code == 404
    assert len(users.recordings(key)) == expected
    assert users.add(key, recordings=0)["id"] == key
    assert client.get_list(users_list(key)).json()["total_items"] == 0


def test_vanished_user_is_listed_but_returns_404(client: Client) -> None:
    users = client.gateway.users
    key = users.all()[2]["id"]
    users.vanish(key)
    assert key in {row["id"] for row in client.get_list(USERS).json()["_embedded"]["data"]}
    response = client.send("GET", users_list(key))
    assert (response.status_code, response.json()["message"]) == (404, "User not found")


def test_forbidden_user_returns_403_until_allowed(client: Client) -> None:
    users = client.gateway.users
    key = users.all()[1]["id"]
    own = users.recordings(key).add()
    users.forbid(key)
    for method, path in [("GET", ""), ("GET", f"/{own['id']}"), ("GET", "/jobs"), ("POST", "/export")]:
        response = client.send(method, users_list(key) + path, json={})
        assert (response.status_code, response.text) == (403, REFUSAL)
    assert client.send("GET", users_list()).status_code == 200
    users.allow(str(key))
    assert client.send("GET", users_list(key)).status_code == 200


def test_changing_an_unknown_user_raises() -> None:
    users = Gateway().users
    for method in (users.change, users.remove, users.vanish, users.forbid, users.allow, users.recordings):
        with pytest.raises(KeyError):
            method(1)
