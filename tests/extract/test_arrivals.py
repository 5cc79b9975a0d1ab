"""Runs record the recordings that they read for the first time, and where their cursor was."""

from __future__ import annotations

from collections.abc import Callable

from expected_rows import ago
from extraction import Extraction, load
from loading import query, still_gateway

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

ARRIVALS = "SELECT recording_id, start < cursor_at FROM recording_arrivals ORDER BY 1"


def test_runs_record_new_recordings_and_whether_they_started_behind_the_cursor(serve: Serve) -> None:
    gateway = still_gateway()
    gateway.company.add(id=1, start=ago(days=3), duration=60_000)
    gateway.company.add(id=2, start=ago(days=1), duration=60_000)
    url, extraction = serve(gateway), Extraction()
    load(extraction, url)
    assert "recording_arrivals" not in extraction.tables  # the first run of a history finds nothing late
    gateway.company.add(id=3, start=ago(days=1.5), end=ago(days=1.25))  # a long call, behind shorter ones
    gateway.company.add(id=4, start=ago(days=0.25), end=ago(days=0.125))
    load(extraction, url)
    gateway.company.change(2, duration=61_000)
    gateway.company.add(id=5, start=ago(days=0.125), end=ago(days=0.0625))
    load(extraction, url)
    load(extraction, url)
    assert query(extraction, ARRIVALS) == [(3, True), (4, False), (5, False)]
    columns = "account_id, resource, user_id, cursor_at < seen_at"
    assert query(extraction, f"SELECT DISTINCT {columns} FROM recording_arrivals") == [
        ("549825", "company_recordings", "", True)
    ]


def test_arrivals_of_users_name_the_user_and_a_backfill_records_none(serve: Serve) -> None:
    gateway = still_gateway(users=2)
    users = [str(user["id"]) for user in gateway.users.all()]
    for user in users:
        gateway.users.recordings(user).add(id=1, start=ago(days=1), duration=1000)
    url, extraction = serve(gateway), Extraction()
    load(extraction, url, "user_recordings")
    gateway.users.recordings(users[0]).add(id=2, start=ago(days=1.25), duration=1000)
    load(extraction, url, "user_recordings", start_date=ago(days=2), end_date=ago(days=0))
    assert "recording_arrivals" not in extraction.tables
    extraction.tables["user_recordings"] = [
        row for row in extraction.tables["user_recordings"] if row["id"] == 1
    ]
    load(extraction, url, "user_recordings")
    rows = query(extraction, "SELECT resource, user_id, recording_id FROM recording_arrivals")
    assert rows == [("user_recordings", users[0], 2)]


def test_the_destination_is_asked_twice_a_run_for_all_lists_that_were_loaded_before(serve: Serve) -> None:
    gateway = still_gateway(users=20)
    for user in gateway.users.all():
        gateway.users.recordings(user["id"]).add(start=ago(hours=3), duration=60_000)
    url, extraction = serve(gateway), Extraction()
    for lookups in (0, 2, 4):  # which rows it has, and which proofs
        load(extraction, url, "user_recordings")
        assert extraction.lookups == lookups
    gateway.users.recordings(gateway.users.api_user).add(start=ago(hours=4), duration=60_000)
    load(extraction, url, "user_recordings")
    assert extraction.lookups == 6


def test_a_destination_that_does_not_answer_costs_the_late_arrivals_alone(serve: Serve) -> None:
    gateway = still_gateway()
    gateway.company.add(id=1, start=ago(hours=3), duration=60_000)
    url, extraction = serve(gateway), Extraction()
    load(extraction, url)
    extraction.answers = False
    gateway.company.add(id=2, start=ago(hours=4), duration=60_000)
    gateway.company.add(id=3, start=ago(hours=1), duration=60_000)
    load(extraction, url)
    assert query(extraction, ARRIVALS) == [(3, False)]
    assert query(extraction, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (2,), (3,)]
