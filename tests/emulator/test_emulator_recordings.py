"""The store, single recordings, and when they can be seen."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from emulator_caller import LIST, NOON, Caller, Clock, Serve

from vbc_source.emulator import Emulator, Gateway


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    return serve(clock, recordings=50, until=datetime.fromtimestamp(NOON - 86_400, timezone.utc))


def test_one_recording_can_be_shown(caller: Caller) -> None:
    row = caller.rows()[3]
    assert caller.send("GET", f"{LIST}/{row['id']}").json() == row
    assert caller.send("GET", row["_links"]["self"]["href"]).json() == row


def test_a_deleted_recording_is_gone(caller: Caller) -> None:
    row = caller.rows()[3]
    path = f"{LIST}/{row['id']}"
    assert caller.send("DELETE", path).status_code == 204
    assert caller.send("DELETE", path).status_code == 404
    assert caller.send("GET", path).status_code == 404
    assert caller.send("GET", row["download_url"]).status_code == 404
    assert row["id"] not in caller.ids()
    assert len(caller.gateway.company) == 49


def test_an_unknown_recording_is_not_found(caller: Caller) -> None:
    assert caller.send("GET", f"{LIST}/1").status_code == 404


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
def test_fields_are_kept_as_they_were_given(caller: Caller, fields: dict[str, Any]) -> None:
    added = caller.gateway.company.add(**fields)
    assert fields.items() <= added.items()
    assert set(caller.rows()[0]) - {"extension"} <= set(added)
    assert added in caller.rows()
    assert caller.send("GET", f"{LIST}/{added['id']}").json() == added


def test_a_given_start_and_duration_decide_the_rest(caller: Caller) -> None:
    added = caller.gateway.company.add(start="2025-01-01T05:30:00+05:30", duration=61_000)
    assert added["end"] == "2025-01-01T00:01:01+0000"
    assert 0 <= added["file_size_in_bytes"] - 4 * 61_000 < 2000


def test_ids_go_on_from_the_highest(caller: Caller) -> None:
    highest = max(caller.ids())
    assert [caller.gateway.company.add()["id"] for _ in range(2)] == [highest + 1, highest + 2]


def test_an_id_is_taken_once(caller: Caller) -> None:
    caller.gateway.company.add(id=7)
    with pytest.raises(ValueError, match="recording 7"):
        caller.gateway.company.add(id="7")


def test_a_changed_recording_keeps_its_other_fields_and_links(caller: Caller) -> None:
    row = caller.rows()[5]
    changed = caller.gateway.company.change(row["id"], cnam="NEW NAME", start="2030-01-01T00:00:00Z")
    assert changed == {**row, "cnam": "NEW NAME", "start": "2030-01-01T00:00:00Z"}
    assert caller.rows()[0] == changed


def test_what_is_not_there_cannot_be_changed(caller: Caller) -> None:
    company = caller.gateway.company
    for act in (company.delete, company.change, lambda key: company.hold(key, 0)):
        with pytest.raises(KeyError):
            act(1)


def test_all_is_what_the_api_lists(caller: Caller) -> None:
    by_id = {row["id"]: row for row in caller.rows()}
    assert {row["id"]: row for row in caller.gateway.company.all()} == by_id


def test_a_held_recording_appears_when_its_time_comes(caller: Caller, clock: Clock) -> None:
    held = caller.ids()[5]
    caller.gateway.company.hold(held, clock.now + 60)
    assert held not in caller.ids()
    assert caller.send("GET", f"{LIST}/{held}").status_code == 404
    clock.now += 59
    assert held not in caller.ids()
    clock.now += 1
    assert held in caller.ids()
    assert caller.ids().index(held) == 5


def test_a_held_recording_can_be_changed_and_deleted(caller: Caller, clock: Clock) -> None:
    first, second = caller.ids()[:2]
    company = caller.gateway.company
    company.hold(first, clock.now + 60)
    company.hold(second, clock.now + 60)
    company.change(first, cnam="CHANGED")
    company.delete(second)
    clock.now += 60
    assert caller.rows()[0]["cnam"] == "CHANGED"
    assert second not in caller.ids()


def test_a_recording_appears_after_its_call_has_ended_and_been_processed(serve: Serve, clock: Clock) -> None:
    clock.now = NOON - 40 * 86_400
    gateway = Gateway(recordings=2000, days=20, clock=clock, until=datetime.fromtimestamp(NOON, timezone.utc))
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
    assert len(gateway.company) == 2000
    assert len(starts) > 50


def test_the_newest_can_be_held_back_until_released(serve: Serve, clock: Clock) -> None:
    whole = serve(clock, recordings=50).ids()
    caller = serve(clock, recordings=50, held_back=5)
    ids = caller.ids()
    assert len(ids) == len(whole) - 5
    assert not {row["id"] for row in caller.gateway.company.all()} - set(whole[5:])
    clock.now += 365 * 86_400
    assert len(caller.gateway.company) == 45
    caller.gateway.release()
    caller.log_in()
    assert len(caller.ids()) == 50


def test_links_follow_the_gateway_to_another_port(caller: Caller) -> None:
    gateway = caller.gateway
    own = gateway.company.add(download_url="http://127.0.0.1:9/x", note=caller.url)
    with Emulator(gateway) as url:
        assert url != caller.url
        row = gateway.company.all()[1]
        assert row["download_url"].startswith(url)
        assert row["_links"]["self"]["href"].startswith(url)
        moved = gateway.company.change(own["id"])
        assert moved["_links"]["self"]["href"].startswith(url)
        assert (moved["download_url"], moved["note"]) == ("http://127.0.0.1:9/x", caller.url)


def test_the_store_can_be_changed_while_it_is_listed(caller: Caller) -> None:
    def add_many() -> None:
        for _ in range(300):
            caller.gateway.company.add()

    threads = [threading.Thread(target=add_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert caller.get_list(page_size=1000).status_code == 200
    for thread in threads:
        thread.join()
    assert len(set(caller.ids())) == 950


def test_every_request_is_noted(caller: Caller, clock: Clock) -> None:
    gateway = caller.gateway
    caller.get_list(page=2, start_gte="2025-01-01T00:00:00+0000")
    caller.send("GET", f"{LIST}/1")
    caller.log_in("wrong")
    first, second, third = gateway.requests
    assert (first.method, first.path, first.status, first.time) == ("GET", LIST, 200, clock.now)
    assert first.query == {"page": "2", "start:gte": "2025-01-01T00:00:00+0000"}
    assert first.headers["authorization"].startswith("Bearer ")
    assert (second.status, third.status, third.path) == (404, 400, "/token")
    assert (gateway.count(), gateway.count("/token")) == (3, 1)
    gateway.clear()
    assert gateway.requests == []
