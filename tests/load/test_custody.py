"""Rows of ledgers carry their actor, and an event in a chain of custody, however the load went."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from vbc_source.load.destinations import Target
from vbc_source.load.ledgers import load_rows, read_head
from vbc_source.load.ledgers.actor import find_user, name_account
from vbc_source.load.ledgers.custody import (
    ChainCheck,
    Head,
    chain_rows,
    hash_row,
    write_canonical,
    write_key,
)
from vbc_source.load.pipelines import hold_pipeline, keep_connected
from vbc_source.warehouse.queries import LoadedTables

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
LEDGER = "recording_audio"
KEY = ("account_id", "recording_id")
START = Head()


def make_rows(*ids: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"account_id": "549825", "recording_id": id_, "fetched_at": NOW, **fields} for id_ in ids]


def make_events(count: int = 4, head: Head = START, **fields: Any) -> list[dict[str, Any]]:
    return list(chain_rows(LEDGER, make_rows(*range(count), **fields), KEY, "vbc_audio", head, NOW))


def find_problems(events: list[dict[str, Any]]) -> list[str]:
    check = ChainCheck()
    return [problem.text for event in events for problem in check.check(event)]


def test_canonical_json_is_the_same_from_every_destination() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=2)))
    assert write_canonical({"b": local, "a": "ä", "c": None}) == (
        '{"a":"\\u00e4","b":"2025-06-01T12:00:00.000000+00:00"}'
    )
    row = {"at": NOW, "n": 1, "empty": ""}
    same = {"n": 1, "empty": "", "at": NOW.replace(tzinfo=None), "later": None, "_dlt_load_id": "1.2"}
    assert hash_row(row) == hash_row(same)
    assert hash_row(row) != hash_row({**row, "empty": None})
    assert write_key(make_rows(7)[0], KEY) == '{"account_id":"549825","recording_id":7}'
    assert write_key(row, ()) is None


def test_a_chain_that_is_whole_has_no_problems() -> None:
    events = make_events()
    assert find_problems(events) == []
    assert find_problems([event for event in events for _ in range(2)]) == []  # copied once more
    more = make_events(2, Head(4, events[-1]["hash"], NOW + timedelta(days=1)))
    assert find_problems(events + more) == []
    assert {event["recorded_at"] for event in more} == {NOW + timedelta(days=1)}  # a clock that went back


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            lambda events: events[1].update(actor_user="mallory"),
            ["event 2 of chain vbc_audio was changed or moved: its hash is not that of its content"],
        ),
        (lambda events: events.pop(1), ["event 2 of chain vbc_audio is missing"]),
        (lambda events: events.pop(0), ["event 1 of chain vbc_audio is missing"]),
        (lambda events: events.__delitem__(slice(1, 3)), ["events 2 to 3 of chain vbc_audio are missing"]),
        (
            lambda events: events[1:3] == move(events),
            [
                f"event {number} of chain vbc_audio was changed or moved: its hash is not that of its content"
                for number in (2, 3)
            ]
            + ["event 4 of chain vbc_audio does not follow the one before it: that was replaced"],
        ),
        (
            lambda events: events.__setitem__(slice(2), make_events(2, status="failed")),
            ["event 3 of chain vbc_audio does not follow the one before it: that was replaced"],
        ),
        (
            lambda events: events.insert(3, make_events(1, Head(2, events[1]["hash"]), status="failed")[0]),
            ["event 3 of chain vbc_audio is there more than once: the chain has a fork"],
        ),
    ],
    ids=["changed", "removed", "first removed", "several removed", "moved", "replaced", "forked"],
)
def test_damage_of_a_chain_is_named(damage: Callable[[Any], Any], problems: list[str]) -> None:
    events = make_events()
    damage(events)
    assert find_problems(events) == problems


def move(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Exchange the second and the third event."""
    events[1], events[2] = {**events[2], "sequence": 2}, {**events[1], "sequence": 3}
    return events[1:3]


def read_rows(table: str, order: str) -> list[dict[str, Any]]:
    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(f"SELECT * FROM vbc_data.{table} ORDER BY {order}").to_arrow_table()
    return [dict(row) for row in rows.to_pylist()]


@pytest.mark.slow
def test_rows_are_loaded_with_actor_and_event_and_the_chain_goes_on(own_folder: Path) -> None:
    target = Target().ledgers("audio")
    with hold_pipeline(target) as pipeline, keep_connected(pipeline):
        load_rows(pipeline, LEDGER, pa.Table.from_pylist(make_rows(1, 2)), "merge", KEY)
        load_rows(pipeline, "recording_deletions", pa.Table.from_pylist(make_rows(1)), "append")
    # a machine that has never loaded anything follows what is in the destination
    with hold_pipeline(target, fresh=True) as pipeline, keep_connected(pipeline):
        load_rows(pipeline, LEDGER, pa.Table.from_pylist(make_rows(2, status="stored")), "merge", KEY)
        load_rows(pipeline, "call_gaps", pa.Table.from_pylist(make_rows(1)), "append")  # not of the archive
        head = read_head(pipeline)
    events, ledger = read_rows("custody", "sequence"), read_rows(LEDGER, "recording_id")
    assert find_problems(events) == []
    assert head == Head(4, events[-1]["hash"], events[-1]["recorded_at"])
    assert [(event["action"], event["recording_id"]) for event in events] == [
        *(("archive", 1), ("archive", 2), ("deletion", 1), ("archive", 2)),
    ]
    newest = {event["row_key"]: event for event in events if event["ledger"] == LEDGER}
    assert [event["row_sha256"] for event in newest.values()] == [hash_row(row) for row in ledger]
    actor = (find_user(), socket.gethostname(), version("vbc-source"))
    assert {(row["actor_user"], row["actor_host"], row["actor_version"]) for row in ledger} == {actor}
    assert "actor_user" not in read_rows("call_gaps", "recording_id")[0]


def test_ledgers_that_another_pipeline_has_loaded_stay_in_sight(own_folder: Path) -> None:
    """As after `vbc demo`, which has a pipeline of its own, or with another --pipeline."""
    first, second = Target(pipeline="demo"), Target()
    rows = pa.Table.from_pylist(make_rows(1))
    for target, ledger in ((first, LEDGER), (second, "audio_checks"), (first, "recording_deletions")):
        with hold_pipeline(target.ledgers("audio")) as pipeline:
            load_rows(pipeline, ledger, rows, "append")
        loaded = LoadedTables(target)
        assert loaded.find(LEDGER) == [LEDGER]
    assert set(loaded.list_tables()) == {LEDGER, "audio_checks", "recording_deletions", "custody"}


def test_the_actor_is_the_account_of_the_system_and_not_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = find_user()
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert getpass.getuser() == "somebody-else"
    assert find_user() == account == name_account(os.geteuid())
    assert name_account(4_000_000_000) == "uid 4000000000"
