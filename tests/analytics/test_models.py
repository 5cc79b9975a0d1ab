"""The models equal plain Python, in DuckDB and Postgres, for all edge cases of the loaded tables."""

from __future__ import annotations

import json
import os
import random
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from completeness_cases import CASES, NOON, Case
from expected_models import MODELS, PERIODS, differences, expect_models
from in_process import run_in_process
from raw_tables import (
    COMPLETE_LOAD,
    FAILED_LOAD,
    LOADS,
    LOOKBACK,
    MAIN,
    POSTGRES,
    Row,
    Tables,
    at,
    change,
    connect_postgres,
    invent,
    own_dataset,
    write_duckdb,
    write_postgres,
)

from vbc_source.config import VbcConfig
from vbc_source.errors import SettingsError
from vbc_source.pii import PiiPolicy

read_models = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_reference.py"))["read_models"]
Query = Callable[[str], list[tuple[Any, ...]]]
KINDS = ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)]
NOWHERE = "http://127.0.0.1:9"


class ModelsDatabase:
    """A database to build models in."""

    def __init__(
        self, folder: Path, options: tuple[str, ...], write: Callable[[Tables], None], query: Query
    ) -> None:
        self.folder, self.options, self.write, self.query = folder, options, write, query
        self.dataset = options[-1] if options else "vbc_data"
        self.models_dataset = f"{options[-1]}_models" if options else "vbc_models"

    def run(self, *command: str, zone: str = "UTC", **settings: str) -> dict[str, Any]:
        """Run `vbc models`."""
        settings |= {"SOURCES__VBC__VBC_TIMEZONE": zone, "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
        settings.setdefault("SOURCES__VBC__MODEL_VARIABLES", json.dumps(self.variables()))
        settings["SOURCES__VBC__BASE_URL"] = NOWHERE
        done = run_in_process("models", *command, "--json", *self.options, **settings)
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def variables(self) -> dict[str, Any]:
        """Return the variables that `compare` counts with."""
        return {
            "vbc_retention_days": PERIODS["vbc"],
            "vbc_policy_days": PERIODS["policy"],
            "vbc_holds_relation": f"{self.dataset}.holds",
        }

    def read(self, model: str, columns: str) -> list[tuple[Any, ...]]:
        return self.query(f"SELECT {columns} FROM {self.models_dataset}.{model}")

    def compare(self, tables: Tables, zone: str, lookback_hours: float = 48) -> None:
        """Every row of every model is the one computed in Python."""
        for model, expected in expect_models(tables, zone, lookback_hours, PERIODS).items():
            assert differences(self.read(model, MODELS[model]), expected) == ([], []), model


def check_contracts(models: ModelsDatabase, kind: str) -> None:
    """The tables have the types and comments of the models' files: contracts and `persist_docs` work."""
    same = {"timestamptz": "timestamp with time zone", "double": "double precision", "varchar": "text"}
    comments = "(SELECT comment FROM duckdb_columns() d WHERE d.schema_name = c.table_schema AND "
    comments += "d.table_name = c.table_name AND d.column_name = c.column_name)"
    if kind == "postgres":
        place = "(c.table_schema || '.' || c.table_name)::regclass, c.ordinal_position"
        comments = f"col_description({place})"
    found = {
        (table, column): (same.get(kind.lower(), kind.lower()), comment.strip())
        for table, column, kind, comment in models.query(
            f"SELECT table_name, column_name, data_type, {comments} FROM information_schema.columns c "
            f"WHERE table_schema = '{models.models_dataset}'"
        )
    }
    declared = {
        (model["config"]["alias"], column["name"]): (
            same.get(column["data_type"], column["data_type"]),
            column["description"].strip(),
        )
        for model in read_models()
        if "alias" in model.get("config", {})
        for column in model["columns"]
    }
    assert found == declared
    assert len(declared) > 110


@contextmanager
def open_models(kind: str, folder: Path) -> Iterator[ModelsDatabase]:
    if kind == "duckdb":
        path = folder / "vbc.duckdb"

        def select(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(str(path), read_only=True) as connection:
                return connection.execute(sql).fetchall()

        yield ModelsDatabase(folder, (), lambda tables: write_duckdb(path, tables), select)
        return

    def select_postgres(sql: str) -> list[tuple[Any, ...]]:
        with connect_postgres() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    with own_dataset() as dataset:
        options = ("--destination", "postgres", "--dataset", dataset)
        yield ModelsDatabase(folder, options, lambda tables: write_postgres(dataset, tables), select_postgres)


def make_window(account: str, start: str, end: str, scanned_at: str, **changed: Any) -> Row:
    """Return a row of `scan_windows` for the company's recordings."""
    times = {"window_start": at(start), "window_end": at(end), "scanned_at": at(scanned_at)}
    place = {"account_id": account, "resource": "company_recordings", "user_id": None, "filters": None}
    return {**place, **times, "_dlt_load_id": COMPLETE_LOAD, **changed}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_length_size_or_date_beyond_all_bounds_stops_no_model(own_folder: Path, kind: str) -> None:
    tables = invent(1, recordings=4)
    row = {**tables["company_recordings"][0], "account_id": MAIN, "duration": 1000, "duration__v_text": None}
    wrong = [
        {"duration": 2**63 - 1, "file_size_in_bytes": 2**63 - 1},
        {"duration": 10**15, "file_size_in_bytes": 10**15},
        {"start": at("0001-01-01T00:00:00"), "end": at("0001-01-01T00:00:00")},
        {"start": at("9999-12-31T23:59:59"), "end": at("9999-12-31T23:59:59")},
    ]
    last = at("2025-11-05T00:00:00")
    tables["company_recordings"] += [
        {**row, "id": 5 * 10**9 + number, "start": last, "end": last, **values}
        for number, values in enumerate([*wrong, wrong[0]])
    ]
    with open_models(kind, own_folder) as models:
        models.write(tables)
        assert models.run("run", zone="America/New_York")["ok"]
        where = "recordings WHERE recording_id BETWEEN 5000000000 AND 5000000009"
        found = models.read(where, "duration_seconds, size_bytes, started_at IS NULL, ended_at IS NULL")
        assert sorted(found, key=str) == sorted(
            [
                *[(None, None, False, False)] * 3,
                *[(1.0, row["file_size_in_bytes"], True, True)] * 2,
            ],
            key=str,
        )
        months = models.read(f"storage WHERE account_id = '{MAIN}'", "min(month), max(month)")
    assert months == [(date(2025, 3, 1), date(2026, 12, 1))]


DAY = ("2025-06-01T00:00:00", "2025-06-01T23:59:59")
LATER, AT_ONCE = "2025-06-04T00:00:00", "2025-06-02T00:00:00"
PROOFS = {  # windows that touch 2025-06-01, and when that day is proven as of
    "complete load, read after the lookback": ([make_window("", *DAY, LATER)], LATER),
    "no load": ([make_window("", *DAY, LATER, _dlt_load_id=None)], None),
    "one second inside the lookback": ([make_window("", *DAY, "2025-06-03T23:59:59")], None),
    "inside the lookback, then read again": (
        [make_window("", *DAY, AT_ONCE), make_window("", *DAY, LATER)],
        LATER,
    ),
    "settled, then read again by an incomplete load": (
        [
            make_window("", *DAY, LATER),
            make_window("", *DAY, "2025-06-09T00:00:00", _dlt_load_id=FAILED_LOAD),
        ],
        LATER,
    ),
    "settled in two runs": (
        [
            make_window("", "2025-05-30T00:00:00", "2025-06-03T10:00:00", "2025-06-03T10:00:01"),
            make_window("", "2025-06-01T10:00:00", "2025-06-04T00:00:00", "2025-06-04T00:00:01"),
        ],
        "2025-06-03T10:00:01",
    ),
    "a second between two windows": (
        [
            make_window("", DAY[0], "2025-06-01T11:59:58", LATER),
            make_window("", "2025-06-01T12:00:00", DAY[1], LATER),
        ],
        None,
    ),
}


def scale_case(case: Case) -> tuple[list[Row], set[date]]:
    """Return the windows of a completeness case, and its proven days, with ten hours after noon as a day."""

    def scale(moment: datetime) -> datetime:
        return at(DAY[0]) + (moment - NOON) * 2.4

    rows = []
    for row in case.rows:
        settled_end = scale(row["scanned_at"] - timedelta(hours=case.lookback_hours))
        times = {"window_start": scale(row["window_start"]), "window_end": scale(row["window_end"])}
        place = {"account_id": case.name, "_dlt_load_id": row["load"], "scanned_at": settled_end + LOOKBACK}
        rows.append({**row, **times, **place})
    days = {at(DAY[0]) + timedelta(days=n) for n in range(4)}
    spans = [(scale(span.start), scale(span.end)) for span in case.proven]
    proven = {
        day.date() for day in days for start, end in spans if start <= day and day + timedelta(days=1) <= end
    }
    return rows, proven


def scale_starts(case: Case) -> list[datetime]:
    return [at(DAY[0]) + (start - NOON) * 2.4 for start in case.recordings]


@pytest.mark.slow
def test_days_are_proven_by_complete_loads_without_filters_after_the_lookback(own_folder: Path) -> None:
    """By the cases of the completeness module, among others. Tables that were never loaded count as empty."""
    recordings = invent(3)["company_recordings"]
    starts = [(case.name, start) for case in CASES for start in scale_starts(case)]
    recordings += [
        {**recordings[0], "account_id": name, "id": number, "start": start}
        for number, (name, start) in enumerate(starts)
    ]
    tables: Tables = {"company_recordings": recordings}
    windows = [{**row, "account_id": case} for case, (rows, _) in PROOFS.items() for row in rows]
    windows += [row for case in CASES for row in scale_case(case)[0]]
    loads = [{"load_id": id_, "status": status} for id_, status in LOADS.items()]
    tables |= {"scan_windows": windows, "_dlt_loads": loads, "holds": []}
    with open_models("duckdb", own_folder) as models:
        models.write(tables)
        models.run("run")
        models.compare(tables, "UTC")
        coverage = models.read("coverage", "account_id, day, proven_at")
        for case, (_, proven_at) in PROOFS.items():
            found = [row[2] for row in coverage if row[:2] == (case, date(2025, 6, 1)) and row[2]]
            assert found == ([at(proven_at)] if proven_at else []), case
        for shared in CASES:
            proven = {day for account, day, proven_at in coverage if account == shared.name and proven_at}
            assert proven == scale_case(shared)[1], shared.name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_proven_days_of_random_windows_equal_plain_python(own_folder: Path, kind: str) -> None:
    """And the setting lookback_hours is the one that counts."""
    chance = random.Random(5)
    tables: Tables = {"company_recordings": [], "scan_windows": []}
    tables["_dlt_loads"] = [{"load_id": id_, "status": status} for id_, status in LOADS.items()]
    for account in range(150):
        for _ in range(chance.randrange(1, 25)):
            start = at("2025-03-07T00:00:00") + timedelta(hours=chance.randrange(96))
            length = timedelta(hours=chance.choice([3, 6, 12, 24, 30, 72]), seconds=-chance.choice([0, 1, 1]))
            age = timedelta(hours=chance.choice([1, 20, 36, 37, 60, 100, 200]), seconds=chance.randrange(3))
            times = {"window_end": start + length, "scanned_at": start + length + age}
            place = {"account_id": f"{account}", "resource": "company_recordings", "window_start": start}
            tables["scan_windows"].append(
                {**place, **times, "user_id": None, "filters": None, "_dlt_load_id": COMPLETE_LOAD}
            )
    with open_models(kind, own_folder) as models:
        models.write({**tables, "holds": []})
        models.run("run", zone="America/New_York", SOURCES__VBC__LOOKBACK_HOURS="36.5")
        models.compare(tables, "America/New_York", 36.5)
        assert models.read("coverage", "count(proven_at)")[0][0] > 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_models_equal_plain_python_after_a_build_and_after_an_update(own_folder: Path, kind: str) -> None:
    """With overlapping extensions, tombstones, null durations and both clock changes."""
    zone, first = "America/New_York", invent(1)
    later = change(first, 2)
    with open_models(kind, own_folder) as models:
        for tables in (first, later):  # the second run finds rows changed, gone, returned, archived, late
            models.write(tables)
            result = models.run("run", zone=zone)
            assert {node["name"] for node in result["nodes"]} == {
                *MODELS,
                "audio_differences",
                "call_coverage",
                "days",
                "freshness",
            }
            models.compare(tables, zone)
        check_contracts(models, kind)
        if kind == "postgres":  # the dashboard's search reads them
            # not pg_indexes, which may look at an index that another test drops just now
            indexes = f"""
                WITH ours AS MATERIALIZED (
                    SELECT i.indexrelid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
                    WHERE c.relnamespace = to_regnamespace('{models.models_dataset}')
                )
                SELECT count(*) FROM ours WHERE pg_get_indexdef(indexrelid) LIKE '%reverse(translate(%'"""
            assert models.query(indexes) == [(2,)]
    assert not {path.name for path in own_folder.iterdir()} - {"vbc.duckdb", "dlt"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_days_follow_a_time_zone_that_changes_by_half_an_hour(own_folder: Path, kind: str) -> None:
    zone = "Australia/Lord_Howe"
    with open_models(kind, own_folder) as models:
        tables = invent(len(zone))
        models.write(tables)
        models.run("run", zone=zone)
        models.compare(tables, zone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_models_after_many_updates_equal_a_full_refresh(own_folder: Path, kind: str) -> None:
    first = invent(7)
    later = change(first, 0)
    with open_models(kind, own_folder) as models:
        for tables in (first, later, change(later, 1)):
            models.write(tables)
            models.run("run")
            models.compare(tables, "UTC")
        updated = {model: models.read(model, columns) for model, columns in MODELS.items()}
        models.run("run", "--full-refresh")
        for model, rows in updated.items():
            assert differences(models.read(model, MODELS[model]), rows) == ([], []), model


@pytest.mark.slow
def test_callers_are_counted_by_hashes_and_not_without_a_number(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One account was loaded with `pii` set to `hash`, the other with `drop`."""
    policy = PiiPolicy("hash", b"sixteen characters")
    tables = invent(6)
    expected = [row for row in expect_models(tables, "UTC")["callers"] if row[0] == MAIN]
    for row in tables["company_recordings"] + tables["user_recordings"]:
        for name in ("caller_id", "cnam", "dnis"):
            row[name] = row[name] and policy.hide(row[name]) if row["account_id"] == MAIN else None
    monkeypatch.setenv("SOURCES__VBC__PII", "hash")
    monkeypatch.setenv("SOURCES__VBC__PII_KEY", "sixteen characters")
    with open_models("duckdb", own_folder) as models:
        models.write(tables)
        models.run("run", SOURCES__VBC__MODEL_VARIABLES="")
        found = models.read("callers", "account_id, caller_number, calls, repeated_calls, last_called_at")
        assert models.read("retention_calendar", "count(*)") == [(0,)]  # no period is known
    assert expected
    assert found == [(MAIN, policy.hide(row[1]), row[3], row[4], row[6]) for row in expected]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1]", "model_variables must be a table of names and values"),
        ('{"vbc_timezone": "UTC"}', "model_variables has no vbc_timezone; it has vbc_retention_days"),
        ('{"vbc_quiet_days": "x"}', "model_variables.vbc_quiet_days must be a whole number of at least 1"),
    ],
)
def test_wrong_variables_of_models_are_refused(value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        VbcConfig.from_values(model_variables=value)


def test_commands_without_tables_or_models_report_what_to_run(own_folder: Path) -> None:
    path = own_folder / "vbc.duckdb"
    for tables, command, message in (
        (None, "run", "vbc.duckdb: run vbc sync first"),
        ({"users": []}, "run", "no recordings are loaded in dataset vbc_data: run vbc sync first"),
        ({"company_recordings": []}, "test", "no models in dataset vbc_models: run vbc models run first"),
    ):
        if tables is not None:
            write_duckdb(path, tables)  # type: ignore[arg-type]
        failed = run_in_process("models", command)
        assert failed.exit_code == 1
        assert failed.stderr.splitlines()[-1].endswith(message)


@pytest.mark.parametrize("command", ["run", "test", "docs"])
def test_models_without_their_extra_report_what_to_install(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "dbt", None)  # type: ignore[arg-type]  # importing it fails
    done = run_in_process("models", command)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"vbc models {command}: dbt is not installed: install the extra `dbt`")


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc", "x' or 1=1 --"])
def test_unknown_time_zone_is_reported_with_the_setting(
    own_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__VBC__VBC_TIMEZONE", name)
    failed = run_in_process("models", "run")
    assert failed.exit_code == 1
    assert "vbc_timezone must be a time zone such as America/New_York" in failed.stderr.splitlines()[-1]


def test_models_need_duckdb_or_postgres(own_folder: Path) -> None:
    failed = run_in_process("models", "run", "--destination", "filesystem")
    assert failed.exit_code == 2
    assert "models are built in duckdb or postgres, not in filesystem" in failed.stderr
    assert os.listdir(own_folder) in (["dlt"], [])


def test_models_dataset_named_like_the_duckdb_file_is_refused(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", "duckdb:///calls_models.duckdb")
    failed = run_in_process("models", "run", "--dataset", "calls_data")
    assert failed.exit_code == 2
    assert "choose another --dataset or rename the file" in failed.stderr
