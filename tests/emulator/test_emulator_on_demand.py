"""Users' on-demand recordings."""

from __future__ import annotations

import pytest
from emulator_caller import API, Caller, Clock, Serve, users_list

from vbc_source.emulator import Gateway, Recordings, Request

PREFIXES = [API, "/t/vbc.prod/call_recording/v1/api"]
INDIA = "/t/vbc.prod/call_recording_india/api"


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    caller = serve(clock, users=3, recordings=5)
    caller.gateway.users.add(17)
    for hour in range(23):
        _store(caller).add(id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00+0000", duration=hour * 60_000)
    return caller


def _store(caller: Caller) -> Recordings:
    return caller.gateway.users.recordings("17")


def test_the_list_is_that_of_one_user(caller: Caller) -> None:
    body = caller.get_list(users_list(17), page_size=100).json()
    assert body["_embedded"]["recordings"] == _store(caller).all()
    assert body["total_items"] == 23
    assert caller.get_list(users_list()).json()["total_items"] == 0


def test_filters_order_and_pages_are_those_of_a_company(caller: Caller) -> None:
    params = {"start_gte": "2025-06-01T05:00:00Z", "duration_lte": 600_000, "order": "start:ASC"}
    page = caller.get_list(users_list(17), page=2, page_size=4, **params).json()
    assert [row["id"] for row in page["_embedded"]["recordings"]] == [10, 11]
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [2, 4, 6, 2]
    assert caller.get_list(users_list(17), start_gte="yesterday").status_code == 400


@pytest.mark.parametrize("prefix", PREFIXES)
def test_links_bear_the_real_ids_also_when_self_was_asked(caller: Caller, prefix: str) -> None:
    added = caller.gateway.users.recordings("745249").add()
    body = caller.get_list(users_list(prefix=prefix)).json()
    root = f"{caller.url}{prefix}"
    rows = f"{root}/accounts/549825/users/745249/call_recordings"
    assert body["_links"]["self"]["href"] == f"{rows}?page=1"
    row = body["_embedded"]["recordings"][0]
    assert row["_links"]["self"]["href"] == f"{rows}/{added['id']}"
    assert row["download_url"] == f"{root}/audio/user_recording/549825/745249/{added['id']}"
    assert caller.send("GET", row["_links"]["self"]["href"]).json() == row
    assert caller.send("GET", row["download_url"]).status_code == 200


def test_one_recording_can_be_shown_and_deleted(caller: Caller) -> None:
    path = f"{users_list(17)}/3"
    assert caller.send("GET", path).json() == _store(caller).all()[-3]
    assert caller.send("DELETE", path).status_code == 204
    assert caller.send("GET", path).status_code == caller.send("DELETE", path).status_code == 404
    assert len(_store(caller)) == 22


def test_equal_ids_lead_to_the_right_audio(caller: Caller) -> None:
    company = caller.gateway.company.add(id=3)
    user = _store(caller).all()[-3]
    one, two = (caller.send("GET", row["download_url"]).content for row in (company, user))
    assert one != two
    assert b"Recording 3 of user 17" in two
    assert len(two) == user["file_size_in_bytes"]


@pytest.mark.parametrize("user", ["99", "745249x"])
def test_an_unknown_user_is_not_found(caller: Caller, user: str) -> None:
    for path in ("", "/1", "/jobs", "/jobs/1"):
        assert caller.send("GET", users_list(user) + path).status_code == 404


def test_india_has_no_on_demand_recordings_but_jobs(caller: Caller) -> None:
    rows = users_list(17, prefix=INDIA)
    for method, path in [("GET", ""), ("GET", "/1"), ("DELETE", "/1"), ("POST", "/export")]:
        assert caller.send(method, rows + path, json={}).status_code == 404
    assert caller.send("GET", f"{rows}/jobs").status_code == 200
    assert len(_store(caller)) == 23


def test_faults_and_hooks_apply(caller: Caller) -> None:
    seen: list[Request] = []
    caller.gateway.before_page.append(lambda gateway, request: seen.append(request))
    for spec in ("cap-7", "page-base-0", "ids-as-text", "wrong-totals"):
        caller.gateway.fault(spec)
    page = caller.get_list(users_list(17), page=0).json()
    assert [page[name] for name in ("page", "page_size", "total_items")] == [0, 7, 24]
    assert page["_embedded"]["recordings"][0]["id"] == "23"
    assert [request.path for request in seen] == [users_list(17)]


def test_what_churns_is_the_list_that_is_read(caller: Caller) -> None:
    company = caller.gateway.company.all()
    caller.gateway.fault("arrivals")
    assert caller.get_list(users_list(17)).json()["total_items"] == 24
    assert caller.gateway.company.all() == company


def test_equal_seeds_invent_equal_recordings() -> None:
    first, second = (
        Gateway(users=2, user_recordings=30, clock=Clock()).users.recordings("745249").all() for _ in range(2)
    )
    assert first == second != []
