"""On-demand recordings of users."""

from __future__ import annotations

import pytest
from emulator_client import API, Client, Clock, Serve, users_list

from vbc_source.emulator import Gateway, Recordings, Request

PREFIXES = [API, "/t/vbc.prod/call_recording/v1/api"]
INDIA = "/t/vbc.prod/call_recording_india/api"


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    client = serve(clock, users=3, recordings=5, days=1)
    client.gateway.users.add(17)
    for hour in range(23):
        _recordings(client).add(
            id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00+0000", duration=hour * 60_000
        )
    return client


def _recordings(client: Client) -> Recordings:
    return client.gateway.users.recordings("17")


def test_list_contains_the_recordings_of_one_user(client: Client) -> None:
    body = client.get_list(users_list(17), page_size=100).json()
    assert body["_embedded"]["recordings"] == _recordings(client).all()
    assert body["total_items"] == 23
    assert client.get_list(users_list()).json()["total_items"] == 0


def test_filters_order_and_pages_work_as_for_a_company(client: Client) -> None:
    params = {"start_gte": "2025-06-01T05:00:00Z", "duration_lte": 600_000, "order": "start:ASC"}
    page = client.get_list(users_list(17), page=2, page_size=4, **params).json()
    assert [row["id"] for row in page["_embedded"]["recordings"]] == [10, 11]
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [2, 4, 6, 2]
    assert client.get_list(users_list(17), start_gte="yesterday").status_code == 400


@pytest.mark.parametrize("prefix", PREFIXES)
def test_links_have_the_real_ids_if_self_was_requested(client: Client, prefix: str) -> None:
    added = client.gateway.users.recordings("745249").add()
    body = client.get_list(users_list(prefix=prefix)).json()
    root = f"{client.url}{prefix}"
    rows = f"{root}/accounts/549825/users/745249/call_recordings"
    assert body["_links"]["self"]["href"] == f"{rows}?page=1"
    row = body["_embedded"]["recordings"][0]
    assert row["_links"]["self"]["href"] == f"{rows}/{added['id']}"
    assert row["download_url"] == f"{root}/audio/user_recording/549825/745249/{added['id']}"
    assert client.send("GET", row["_links"]["self"]["href"]).json() == row
    assert client.send("GET", row["download_url"]).status_code == 200


def test_recording_can_be_read_and_deleted(client: Client) -> None:
    path = f"{users_list(17)}/3"
    assert client.send("GET", path).json() == _recordings(client).all()[-3]
    assert client.send("DELETE", path).status_code == 204
    assert client.send("GET", path).status_code == client.send("DELETE", path).status_code == 404
    assert len(_recordings(client)) == 22


def test_audio_of_a_company_and_a_user_with_equal_ids_differs(client: Client) -> None:
    company = client.gateway.company.add(id=3)
    user = _recordings(client).all()[-3]
    first, second = (client.send("GET", row["download_url"]).content for row in (company, user))
    assert first != second
    assert b"Recording 3 of user 17" in second
    assert len(second) == user["file_size_in_bytes"]


@pytest.mark.parametrize("user", ["99", "745249x"])
def test_unknown_user_returns_404(client: Client, user: str) -> None:
    for path in ("", "/1", "/jobs", "/jobs/1"):
        assert client.send("GET", users_list(user) + path).status_code == 404


def test_india_has_jobs_but_no_on_demand_recordings(client: Client) -> None:
    rows = users_list(17, prefix=INDIA)
    for method, path in [("GET", ""), ("GET", "/1"), ("DELETE", "/1"), ("POST", "/export")]:
        assert client.send(method, rows + path, json={}).status_code == 404
    assert client.send("GET", f"{rows}/jobs").status_code == 200
    assert len(_recordings(client)) == 23


def test_list_faults_and_page_hooks_apply_to_user_recordings(client: Client) -> None:
    seen: list[Request] = []
    client.gateway.before_page.append(lambda gateway, request: seen.append(request))
    for spec in ("cap-7", "page-base-0", "ids-as-text", "wrong-totals"):
        client.gateway.fault(spec)
    page = client.get_list(users_list(17), page=0).json()
    assert [page[name] for name in ("page", "page_size", "total_items")] == [0, 7, 24]
    assert page["_embedded"]["recordings"][0]["id"] == "23"
    assert [request.path for request in seen] == [users_list(17)]


def test_arrivals_are_added_to_the_list_that_is_read(client: Client) -> None:
    company = client.gateway.company.all()
    client.gateway.fault("arrivals")
    assert client.get_list(users_list(17)).json()["total_items"] == 24
    assert client.gateway.company.all() == company


def test_equal_seeds_generate_equal_user_recordings() -> None:
    first, second = (
        Gateway(users=2, user_recordings=30, clock=Clock()).users.recordings("745249").all() for _ in range(2)
    )
    assert first == second != []
