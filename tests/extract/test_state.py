"""State counts where the destination has the load that brought it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from expected_rows import ago, loaded, users_of
from extraction import Extraction, load
from loading import query, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.extract.state import follow_destination, hold_state

Serve = Callable[[Gateway], str]

LOCAL, STORED = {"cursors": {"1": "b"}, "load": "8"}, {"cursors": {"1": "a"}, "load": "5"}


@pytest.mark.parametrize(
    ("loads", "stored", "expected"),
    [
        (["5", "8"], STORED, LOCAL),
        (["5"], STORED, STORED),  # restored from a backup
        ([], {}, {}),  # another database
        ([], STORED, {}),  # written by a run that could not check it
        (["5"], {"cursors": {"1": "a"}}, {"cursors": {"1": "a"}}),  # of an earlier version
    ],
)
def test_state_counts_where_the_destination_has_its_load(
    loads: list[str], stored: dict[str, Any], expected: dict[str, Any]
) -> None:
    state: dict[str, Any] = {**LOCAL}
    assert follow_destination(state, loads.__contains__, lambda: stored)
    assert state == expected


def test_state_is_marked_with_the_load_that_changed_it_where_the_destination_answers() -> None:
    state: dict[str, Any] = {**LOCAL}
    for load_id in ("9", "10"):
        with hold_state(state, load_id, lambda _: True, dict):
            state["cursors"] = {"1": "c"}
    assert state["load"] == "9"  # the second run changed nothing
    with hold_state(state, "11", lambda _: None, dict):
        state["cursors"] = {"1": "d"}
    assert state["load"] == "9"


def test_a_default_start_does_not_read_a_history_again(serve: Serve) -> None:
    gateway = still_gateway()
    for days in (400, 300, 100, 1):
        gateway.company.add(id=days, start=ago(days=days))
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, start_date=ago(days=200))
    gateway.clear()
    load(pipeline, url)
    load(pipeline, url)
    assert min(request.query["start:gte"] for request in gateway.requests) > ago(days=4)
    load(pipeline, url, start_date=ago(days=350))  # earlier than what was read, though not than the default
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (100,), (300,)]


def test_lists_that_lost_their_newest_rows_are_read_from_what_the_destination_has(serve: Serve) -> None:
    gateway = still_gateway(users=3)
    users = users_of(gateway)
    for user in users:
        for days in (300, 200, 100, 0.5):
            gateway.users.recordings(user).add(start=ago(days=days))
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "user_recordings")
    before, rows = loaded(pipeline), pipeline.tables["user_recordings"]
    pipeline.tables["user_recordings"] = [
        row
        for row in rows
        if row["user_id"] == users[2]
        or (row["user_id"] == users[1] and row["start"].isoformat() < ago(days=150))
    ]
    gateway.clear()
    load(pipeline, url, "user_recordings")
    assert loaded(pipeline) == before
    begins = {
        request.path.split("/")[-2]: request.query["start:gte"]
        for request in gateway.requests
        if request.path.endswith("/call_recordings")
    }
    assert begins[users[0]] < ago(days=700)
    assert ago(days=203) < begins[users[1]] < ago(days=201)
    assert begins[users[2]] > ago(days=3)
