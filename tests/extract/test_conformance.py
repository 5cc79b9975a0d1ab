"""What holds of every resource: schema, keys, repetition, failures, cursors, and earlier versions' state."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import dlt
import pytest
from expected_rows import (
    MAIN,
    expected_extensions,
    expected_recordings,
    loaded,
    requested_paths,
    state,
    users_of,
)
from extraction import Extraction, extract, load
from loading import assert_equal, credentials, load_all, open_pipeline, query, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import Forbidden

Serve = Callable[[Gateway], str]

FIXTURES = Path(__file__).parents[1] / "fixtures"
PATHS = {
    "company_recordings": "/company_call_recordings",
    "users": f"/{MAIN}/users",
    "extensions": f"/{MAIN}/extensions",
    "user_recordings": "/call_recordings",
    "export_jobs": "/call_recordings/jobs",
    "call_logs": "/call-logs",
}
WINDOWED = ("company_recordings", "user_recordings", "call_logs")
OWN = {  # columns that are not the API's
    "users": {"account_id", "gone_at"},
    "extensions": {"account_id", "gone_at", "extension"},
    "export_jobs": {"account_id", "user_id"},
    "company_recordings": {"account_id"},
    "user_recordings": {"account_id", "user_id"},
    "call_logs": {"account_id", "leg"},
}
LEFT_OUT = {"_links", "extension"}  # the latter stands beside `extensions`, empty
DUCKDB_TYPES = {
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "bool": "BOOLEAN",
    "double": "DOUBLE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}


def full_gateway() -> Gateway:
    gateway = still_gateway(
        recordings=80, users=3, user_recordings=40, faults=("cap-20", "cap-2@/provisioning/", "new-field")
    )
    for user in users_of(gateway):
        for _ in range(22):
            gateway.jobs.add(user, status="complete", files_total=2)
    return gateway


def api_rows(gateway: Gateway, resource: str) -> list[dict[str, Any]]:
    users = users_of(gateway)
    return {
        "company_recordings": gateway.company.all,
        "users": gateway.users.all,
        "extensions": gateway.users.extensions,
        "user_recordings": lambda: [row for user in users for row in gateway.users.recordings(user).all()],
        "export_jobs": gateway.jobs.all,
        "call_logs": gateway.call_logs.all,
    }[resource]()


def test_schema_and_rows_agree_and_keys_hold_in_the_destination(serve: Serve) -> None:
    gateway = full_gateway()
    pipeline = open_pipeline()
    load_all(pipeline, serve(gateway), call_logs=True)
    for resource in PATHS:
        rows = api_rows(gateway, resource)
        assert query(pipeline, f"SELECT count(*) FROM {resource}") == [(len(rows),)]
        tables = {name for name in pipeline.default_schema.tables if name.split("__")[0] == resource}
        for table in tables:
            check_table(pipeline, table)
        check_columns(pipeline, resource, rows)
    assert_equal(pipeline, gateway)
    assert loaded(pipeline) == expected_recordings(gateway)


def test_a_second_run_changes_no_row_and_no_cursor(serve: Serve) -> None:
    gateway = full_gateway()
    url, extraction = serve(gateway), Extraction()
    extract(extraction, url, call_logs=True)
    tables = dump(extraction)
    cursors = {name: deepcopy(state(extraction, name)["cursors"]) for name in WINDOWED}
    extract(extraction, url, call_logs=True)
    assert dump(extraction) == tables
    assert {name: state(extraction, name)["cursors"] for name in WINDOWED} == cursors


def dump(extraction: Extraction) -> dict[str, list[str]]:
    """All rows of all tables, but of the ledger, which grows."""
    return {
        name: sorted(map(repr, rows)) for name, rows in extraction.tables.items() if name != "scan_windows"
    }


def check_table(pipeline: dlt.Pipeline, name: str) -> None:
    """The destination has the columns and types of the schema; keys are unique and without null."""
    hints = pipeline.default_schema.tables[name]["columns"]
    columns = {
        column: DUCKDB_TYPES[str(hint["data_type"])]
        for column, hint in hints.items()
        if hint.get("data_type")
    }
    found = query(
        pipeline,
        f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{name}' "
        f"AND table_schema = '{pipeline.dataset_name}'",
    )
    assert dict(found) == columns
    key = [column for column, hint in hints.items() if hint.get("primary_key")]
    assert key[0] == "account_id"
    listed, nulls = ", ".join(key), " OR ".join(f"{column} IS NULL" for column in key)
    assert query(
        pipeline, f"SELECT count(*) = count(DISTINCT ({listed})), count(*) FILTER ({nulls}) FROM {name}"
    ) == [(True, 0)]


def check_columns(pipeline: dlt.Pipeline, resource: str, rows: list[dict[str, Any]]) -> None:
    """Each field that the API sends has a column or a table, and each column has a field."""
    tables = pipeline.default_schema.tables
    sent = {field for row in rows for field in row if f"{resource}__{field}" not in tables} - LEFT_OUT
    names = {"extension" if field == "extension_number" else field for field in sent - {"user"}}
    if "user" in sent:
        names |= {f"user_{field}" for field in rows[0]["user"]}
    columns = {name for name in tables[resource]["columns"] if not name.endswith("__v_text")}
    assert columns - {"sentiment"} == names | OWN[resource]


# every day one resource of each kind: the company's windows, users' windows, a snapshot
@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(
            name, marks=[] if name in ("company_recordings", "user_recordings", "users") else pytest.mark.slow
        )
        for name in PATHS
    ],
)
def test_after_a_failure_at_each_page_the_next_run_has_everything(serve: Serve, resource: str) -> None:
    gateway = full_gateway()
    url, pipeline = serve(gateway), Extraction()
    asked_for = 0

    def fail(failing: Gateway, request: Any) -> None:
        nonlocal asked_for
        if request.path.endswith(PATHS[resource]):
            asked_for += 1
            if asked_for == page:
                failing.fault(f"scope*1@{PATHS[resource]}")

    gateway.before_page.append(fail)
    failures = 0
    for page in range(0, 40):
        asked_for = 0
        if page == 0:
            gateway.fault(f"scope*1@{PATHS[resource]}")
        try:
            extract(pipeline, url, resource, max_concurrency=1)
        except Forbidden:
            failures += 1
            assert pipeline.tables == {}
        else:
            break
    assert failures >= 2
    gateway.before_page.clear()
    gateway.heal()
    assert query(pipeline, f"SELECT count(*) FROM {resource}") == [(len(api_rows(gateway, resource)),)]
    if resource == "company_recordings":
        assert_equal(pipeline, gateway)
    if resource == "user_recordings":
        assert loaded(pipeline) == expected_recordings(gateway)
        children = query(
            pipeline,
            "SELECT account_id, user_id, recording_id, position, extension FROM user_recordings__extensions",
        )
        assert sorted(children) == expected_extensions(gateway)


@pytest.mark.parametrize("resource", WINDOWED)
def test_a_cursor_in_the_far_future_reads_nothing(serve: Serve, resource: str) -> None:
    gateway = full_gateway()
    url, pipeline = serve(gateway), Extraction()
    names = [MAIN, *(f"{MAIN}/{user}" for user in users_of(gateway))]
    future = dict.fromkeys(names, "2099-01-01T00:00:00Z")
    resources = {
        resource: {"self": MAIN, "cursors": future, "since": dict.fromkeys(names, "2024-11-25T12:00:00Z")}
    }
    pipeline.put_state({"resources": resources})
    extract(pipeline, url, resource, account_id=MAIN)
    assert [path for path in requested_paths(gateway) if path.endswith(PATHS[resource])] == []
    assert state(pipeline, resource)["cursors"] == future


def test_the_state_of_the_first_version_is_continued(serve: Serve) -> None:
    gateway = still_gateway()
    gateway.company.add(id=1, start="2026-02-20T00:00:00Z")
    gateway.company.add(id=2, start="2026-03-01T11:00:00Z")
    url, pipeline = serve(gateway), Extraction()
    kept = json.loads((FIXTURES / "state_company_only.json").read_text())
    pipeline.put_state({"resources": {"company_recordings": kept}})
    pipeline.answers = False  # a destination that answers would have the rows of the cursors
    load(pipeline, url)
    (request,) = [request for request in gateway.requests if request.path != "/token"]
    assert request.query["start:gte"] == "2026-02-27T10:00:00Z"
    assert query(pipeline, "SELECT id FROM company_recordings") == [(2,)]
    assert state(pipeline, "company_recordings")["cursors"] == {MAIN: "2026-03-01T11:00:00Z"}


def test_the_state_of_the_version_with_users_is_continued(serve: Serve) -> None:
    gateway = still_gateway(users=1)
    for user in (17, 18, 20):
        gateway.users.add(id=user)
        gateway.users.recordings(user).add(id=user, start="2026-02-01T00:00:00Z")
        gateway.users.recordings(user).add(id=user + 100, start="2026-03-03T11:00:00Z")
    url, pipeline = serve(gateway), Extraction()
    text = (FIXTURES / "state_users.json").read_text()
    pipeline.put_state(json.loads(text.replace("IDENTITY", credentials().identity())))
    pipeline.answers = False
    load(pipeline, url, "users", "user_recordings", "export_jobs", start_date="2024-11-25T12:00:00Z")
    begins = {
        request.path.split("/")[-2]: request.query["start:gte"]
        for request in gateway.requests
        if request.path.endswith("/call_recordings")
    }
    first = "2024-11-25T12:00:00Z"
    assert begins == {
        "745249": "2026-02-28T10:00:00Z",
        "17": "2026-03-01T10:00:00Z",
        "18": first,
        "20": first,
    }
    assert len([path for path in requested_paths(gateway) if path.endswith("/jobs")]) == 4
    assert not [path for path in requested_paths(gateway) if "/accounts/self/" in path]
    recordings = query(pipeline, "SELECT user_id, id FROM user_recordings ORDER BY id")
    assert recordings == [("18", 18), ("20", 20), ("17", 117), ("18", 118), ("20", 120)]
    assert query(pipeline, "SELECT user_id, access FROM user_access") == [("18", "allowed")]
    gateway.clear()
    extract(pipeline, url, "company_recordings", filters={"call_direction": "INBOUND"})
    assert [request.query["start:gte"] for request in gateway.requests] == ["2026-01-13T10:00:00Z"]
