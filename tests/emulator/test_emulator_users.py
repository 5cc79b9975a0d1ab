"""The users of an account, and who may see what of them."""

from __future__ import annotations

import re
import time

import pytest
from emulator_caller import NOON, USERS, Caller, Clock, Serve, users_list

from vbc_source.emulator import Gateway, Users

REFUSAL = "User is not authorized to search CCR recordings for this account"


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    return serve(clock, users=4, user_recordings=40)


def _spread(users: Users) -> list[int]:
    return [len(users.recordings(row["id"])) for row in users.all()]


def test_the_first_user_is_the_api_user() -> None:
    gateway = Gateway(users=3, username="kim@vbc.prod")
    rows = gateway.users.all()
    assert len(rows) == len(gateway.users) == 3
    assert gateway.users.api_user == str(rows[0]["id"]) == "745249"
    assert rows[0]["login_name"] == "kim"


def test_without_users_the_api_user_is_there_but_not_listed(serve: Serve) -> None:
    caller = serve(users=0, user_recordings=3)
    assert caller.gateway.users.all() == caller.gateway.users.extensions() == []
    assert caller.get_list(USERS).json()["total_items"] == 0
    assert caller.get_list(users_list()).json()["total_items"] == 3


def test_users_differ_and_equal_seeds_invent_equal_users() -> None:
    first, second, other = (Gateway(seed=seed, users=300).users.all() for seed in (1, 1, 2))
    assert first == second != other
    for name in ("id", "email", "login_name"):
        assert len({row[name] for row in first}) == 300


def test_invented_numbers_belong_to_nobody() -> None:
    users = Gateway(users=100).users.all()
    extensions = [extension for row in users for extension in row["extensions"]]
    numbers = [contact["value"] for row in users for contact in row["contact_numbers"]]
    numbers += [did["phone_number"] for extension in extensions for did in extension["dids"]]
    assert numbers
    assert all(re.fullmatch(r"1\d{3}55501\d\d", number) for number in numbers)
    assert len({extension["extension_number"] for extension in extensions}) == len(extensions)
    assert {len(row["extensions"]) for row in users} == {0, 1, 2}
    assert all(row["email"].endswith("@example.com") for row in users)


def test_recordings_are_parted_unevenly() -> None:
    counts = _spread(Gateway(users=20, user_recordings=1000, clock=Clock(NOON)).users)
    assert 900 < sum(counts) <= 1000
    assert counts.count(0) >= 5
    assert max(counts) > 3 * sorted(counts)[10] > 0


def test_a_single_user_has_all_recordings() -> None:
    gateway = Gateway(user_recordings=50, clock=Clock(NOON))
    assert 40 < len(gateway.users.recordings(gateway.users.api_user)) <= 50


def test_many_users_with_many_recordings_cost_nothing_before_somebody_looks() -> None:
    begun = time.monotonic()
    gateway = Gateway(users=200, user_recordings=200_000)
    assert time.monotonic() - begun < 5
    assert len(gateway.users) == 200


def test_a_user_is_added_with_what_is_given() -> None:
    users = Gateway(clock=Clock(NOON)).users
    row = users.add("17", recordings=12, days=30, first_name="Zed", extensions=[])
    assert (row["id"], row["first_name"], row["extensions"]) == ("17", "Zed", [])
    assert users.all()[1] == row
    assert 10 <= len(users.recordings(17)) <= 12
    with pytest.raises(ValueError, match="user 17"):
        users.add(17)


def test_a_changed_user_keeps_the_other_fields() -> None:
    users = Gateway(users=2).users
    row = users.all()[1]
    assert users.change(row["id"], last_name="New") == {**row, "last_name": "New"} == users.all()[1]
    users.change(str(row["id"]), extensions=None)
    assert row["id"] not in {extension["user"]["id"] for extension in users.extensions()}


def test_rows_are_copies() -> None:
    users = Gateway().users
    users.all()[0]["extensions"].clear()
    assert users.all()[0]["extensions"]


def test_a_users_calls_bear_the_users_extension() -> None:
    users = Gateway(user_recordings=50, clock=Clock(NOON)).users
    own = int(users.all()[0]["extensions"][0]["extension_number"])
    assert all(row["extensions"][0] == own for row in users.recordings("745249").all() if row["extensions"])


def test_who_has_left_is_neither_listed_nor_found(caller: Caller) -> None:
    users = caller.gateway.users
    key = users.all()[2]["id"]
    expected = len(users.recordings(key))
    users.remove(str(key))
    assert key not in {row["id"] for row in users.all()}
    assert caller.send("GET", users_list(key)).status_code == 404
    assert caller.send("GET", f"{users_list(key)}/jobs").status_code == 404
    assert len(users.recordings(key)) == expected
    assert users.add(key, recordings=0)["id"] == key
    assert caller.get_list(users_list(key)).json()["total_items"] == 0


def test_who_has_vanished_is_listed_but_not_found(caller: Caller) -> None:
    users = caller.gateway.users
    key = users.all()[2]["id"]
    users.vanish(key)
    assert key in {row["id"] for row in caller.get_list(USERS).json()["_embedded"]["data"]}
    answer = caller.send("GET", users_list(key))
    assert (answer.status_code, answer.json()["message"]) == (404, "User not found")


def test_who_is_forbidden_is_refused_in_plain_words_until_allowed(caller: Caller) -> None:
    users = caller.gateway.users
    key = users.all()[1]["id"]
    own = users.recordings(key).add()
    users.forbid(key)
    for method, path in [("GET", ""), ("GET", f"/{own['id']}"), ("GET", "/jobs"), ("POST", "/export")]:
        answer = caller.send(method, users_list(key) + path, json={})
        assert (answer.status_code, answer.text) == (403, REFUSAL)
    assert caller.send("GET", users_list()).status_code == 200
    users.allow(str(key))
    assert caller.send("GET", users_list(key)).status_code == 200


def test_what_is_not_there_cannot_be_changed() -> None:
    users = Gateway().users
    for act in (users.change, users.remove, users.vanish, users.forbid, users.allow, users.recordings):
        with pytest.raises(KeyError):
            act(1)
