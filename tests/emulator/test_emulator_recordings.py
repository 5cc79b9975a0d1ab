"""The store of recordings: reading, changes and visibility."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from emulator_client import LIST, NOON, Client, Clock, Serve

from vbc_source.emulator import Emulator, Gateway


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    return serve(clock, recordings=50, days=10, until=datetime.fromtimestamp(NOON - 86_400, timezone.utc))


def test_single_recording_can_be_read(client: Client) -> None:
    row = client.rows()[3]
    assert client.send("GET", f"{LIST}/{row['id']}").json() == row
    assert client.send("GET", row["_links"]["self"]["href"]).json() == row


def test_deleted_recording_returns_404(client: Client) -> None:
    row = client.rows()[3]
    path = f"{LIST}/{row['id']}"
    assert client.send("DELETE", path).status_code == 204
    assert client.send("DELETE", path).status_code == 404
    assert client.send("GET", path).status_code == 404
    assert client.send("GET", row["download_url"]).status_code == 404
    assert row["id"] not in client.ids()
    assert len(client.gateway.company) == 49


def test_unknown_recording_returns_404(client: Client) -> None:
    assert client.send("GET", f"{LIST}/1").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"caller_id": "Anonymous"},
        {"rule_ids": [{}]},
        {"id": "17"},
        {"end": None},
        {"start": "2025-01-01T05:30:00.123+05:30"},
        {"start": None},
        {"mood": {"score": [1, "two"]}},
        {"download_url": "http://127.0.0.1:9/elsewhere"},
        {"_links": {}},
        {"file_name": "\u00fc \u20ac"},
    ],
)
def test_added_fields_are_returned_unchanged(client: Client, fields: dict[str, Any]) -> None:
    added = client.gateway.company.add(**fields)
    assert fields.items() <= added.items()
    assert set(client.rows()[0]) - {"extension"} <= set(added)
    assert added in client.rows()
    assert client.send("GET", f"{LIST}/{added['id']}").json() == added


def test_generated_fields_match_the_added_start_and_duration(client: Client) -> None:
    added = client.gateway.company.add(start="2025-01-01T05:30:00+05:30", duration=61_000)
    assert added["end"] == "2025-01-01T00:01:01+0000"
    assert 0 <= added["file_size_in_bytes"] - 4 * 61_000 < 2000


def test_new_ids_follow_the_highest_one(client: Client) -> None:
    highest = max(client.ids())
    assert [client.gateway.company.add()["id"] for _ in range(2)] == [highest + 1, highest + 2]


def test_adding_an_existing_id_raises(client: Client) -> None:
    client.gateway.company.add(id=7)
    with pytest.raises(ValueError, match="recording 7"):
        client.gateway.company.add(id="7")


def test_changed_recording_keeps_its_other_fields_and_links(client: Client) -> None:
    row = client.rows()[5]
    changed = client.gateway.company.change(row["id"], cnam="NEW NAME", start="2030-01-01T00:00:00Z")
    assert changed == {**row, "cnam": "NEW NAME", "start": "2030-01-01T00:00:00Z"}
    assert client.rows()[0] == changed


def test_changing_an_unknown_recording_raises(client: Client) -> None:
    company = client.gateway.company
    for method in (company.delete, company.change, lambda key: company.hold(key, 0)):
        with pytest.raises(KeyError):
            method(1)


def test_all_returns_what_the_api_lists(client: Client) -> None:
    by_id = {row["id"]: row for row in client.rows()}
    assert {row["id"]: row for row in client.gateway.company.all()} == by_id


def test_held_recording_is_listed_from_the_given_time(client: Client, clock: Clock) -> None:
    held = client.ids()[5]
    client.gateway.company.hold(held, clock.now + 60)
    assert held not in client.ids()
    assert client.send("GET", f"{LIST}/{held}").status_code == 404
    clock.now += 59
    assert held not in client.ids()
    clock.now += 1
    assert held in client.ids()
    assert client.ids().index(held) == 5


def test_held_recording_can_be_changed_and_deleted(client: Client, clock: Clock) -> None:
    first, second = client.ids()[:2]
    company = client.gateway.company
    company.hold(first, clock.now + 60)
    company.hold(second, clock.now + 60)
    company.change(first, cnam="CHANGED")
    company.delete(second)
    clock.now += 60
    assert client.rows()[0]["cnam"] == "CHANGED"
    assert second not in client.ids()


def test_recording_is_listed_after_the_call_has_ended_and_been_processed(serve: Serve, clock: Clock) -> None:
    clock.now = NOON - 40 * 86_400
    gateway = Gateway(recordings=600, days=6, clock=clock, until=datetime.fromtimestamp(NOON, timezone.utc))
    assert len(gateway.company) == 0
    before: set[int] = set()
    starts: list[str] = []
    for hour in range(1, 30):
        clock.now = NOON - 86_400 + 3600 * hour
        for row in gateway.company.all():
            if row["id"] not in before and hour > 1:
                end = (
                    datetime.strptime(row["start"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
                    + row["duration"] / 1000
                )
                assert clock.now - 3600 - 600 <= end <= clock.now - 60
                starts.append(row["start"])
            before.add(row["id"])
    clock.now = NOON + 5 * 3600
    assert len(gateway.company) == 600
    assert len(starts) > 50


def test_newest_recordings_can_be_held_back_until_release(serve: Serve, clock: Clock) -> None:
    whole = serve(clock, recordings=50).ids()
    client = serve(clock, recordings=50, held_back=5)
    ids = client.ids()
    assert len(ids) == len(whole) - 5
    assert not {row["id"] for row in client.gateway.company.all()} - set(whole[5:])
    clock.now += 365 * 86_400
    assert len(client.gateway.company) == 45
    client.gateway.release()
    client.log_in()
    assert len(client.ids()) == 50


def test_links_change_with_the_port(client: Client) -> None:
    gateway = client.gateway
    own = gateway.company.add(download_url="http://127.0.0.1:9/x", note=client.url)
    with Emulator(gateway) as url:
        assert url != client.url
        row = gateway.company.all()[1]
        assert row["download_url"].startswith(url)
        assert row["_links"]["self"]["href"].startswith(url)
        moved = gateway.company.change(own["id"])
        assert moved["_links"]["self"]["href"].startswith(url)
        assert (moved["download_url"], moved["note"]) == ("http://127.0.0.1:9/x", client.url)


def test_store_can_be_changed_while_it_is_listed(client: Client) -> None:
    def add_many() -> None:
        for _ in range(300):
            client.gateway.company.add()

    threads = [threading.Thread(target=add_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert client.get_list(page_size=1000).status_code == 200
    for thread in threads:
        thread.join()
    assert len(set(client.ids())) == 950


def test_every_request_is_logged(client: Client, clock: Clock) -> None:
    gateway = client.gateway
    client.get_list(page=2, start_gte="2025-01-01T00:00:00+0000")
    client.send("GET", f"{LIST}/1")
    client.log_in("wrong")
    first, second, third = gateway.requests
    assert (first.method, first.path, first.status, first.time) == ("GET", LIST, 200, clock.now)
    assert first.query == {"page": "2", "start:gte": "2025-01-01T00:00:00+0000"}
    assert first.headers["authorization"].startswith("Bearer ")
    assert (second.status, third.status, third.path) == (404, 400, "/token")
    assert (gateway.count(), gateway.count("/token")) == (3, 1)
    gateway.clear()
    assert gateway.requests == []
