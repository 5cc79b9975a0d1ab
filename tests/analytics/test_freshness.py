"""Up to which load the models were built, and whether they have to be built again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from loading import run_vbc
from model_tables import Credentials
from raw_tables import POSTGRES, at, invent, own_dataset, write_duckdb

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.analytics.freshness import Freshness, read_freshness
from vbc_source.analytics.models import PROJECT

KINDS = ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)]
BUILT, LOADED, LATER = at("2025-06-01T12:00:00"), at("2025-06-01T11:59:00"), at("2025-06-01T12:10:00")
NOW = at("2025-06-01T12:11:00")
TABLES = {
    "vbc_data": (
        "_dlt_loads (load_id text, schema_name text, status bigint, inserted_at timestamptz)",
        "_dlt_pipeline_state (_dlt_load_id text)",
        "scan_windows (_dlt_load_id text, rows_loaded bigint, window_end timestamptz, "
        "scanned_at timestamptz)",
        "company_recordings (id bigint)",
    ),
    "vbc_models": (
        "freshness (built_at timestamptz, loaded_at timestamptz, loads bigint, recordings bigint)",
    ),
}


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, own_folder: Path) -> Iterator[tuple[AnalyticsDatabase, Any]]:
    """A database whose models hold two loads and three recordings; and a connection that writes."""
    if request.param == "duckdb":
        found = AnalyticsDatabase("duckdb", "vbc_data", Credentials("vbc.duckdb"))
        with duckdb.connect("vbc.duckdb") as connection:
            _fill(connection, found)
            yield found, connection
        return
    with own_dataset() as dataset, closing(psycopg2.connect(POSTGRES)) as connection:
        connection.autocommit = True
        found = AnalyticsDatabase("postgres", dataset, Credentials(POSTGRES))
        connection.cursor().execute(f"CREATE SCHEMA IF NOT EXISTS {dataset}")
        _fill(connection, found)
        yield found, connection


def _fill(connection: Any, database: AnalyticsDatabase) -> None:
    cursor = connection.cursor()
    for schema, tables in zip((database.dataset, database.models_dataset), TABLES.values(), strict=True):
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for table in tables:
            cursor.execute(f"CREATE TABLE {schema}.{table}")
    cursor.execute(f"INSERT INTO {database.dataset}.company_recordings VALUES (1), (2), (3)")
    for load in ("1", "2"):
        add_load(connection, database, load, LOADED - timedelta(hours=2 - int(load)))
        cursor.execute(f"INSERT INTO {database.dataset}._dlt_pipeline_state VALUES ('{load}')")
    cursor.execute(
        f"INSERT INTO {database.models_dataset}.freshness VALUES ('{BUILT}', '{LOADED}', 2, 3)",
    )


def add_load(
    connection: Any,
    database: AnalyticsDatabase,
    load: str,
    at: datetime,
    schema: str = "vbc",
    status: int = 0,
) -> None:
    connection.cursor().execute(
        f"INSERT INTO {database.dataset}._dlt_loads VALUES ('{load}', '{schema}', {status}, '{at}')"
    )


@pytest.mark.parametrize(
    ("load", "mark", "is_stale"),
    [
        pytest.param(None, None, False, id="no load since"),
        pytest.param({}, None, False, id="a load without rows"),
        pytest.param({"status": 1}, "_dlt_pipeline_state VALUES ('3')", False, id="an incomplete load"),
        pytest.param({}, "_dlt_pipeline_state VALUES ('3')", True, id="a load with rows"),
        pytest.param({"schema": "vbc_audio"}, None, True, id="a load of a ledger"),
        pytest.param(
            {"at": LOADED - timedelta(minutes=5)}, None, True, id="a load by a clock that is behind"
        ),
        pytest.param(
            {}, f"scan_windows VALUES ('3', 7, '{LATER}', '{LATER}')", False, id="a lookback without news"
        ),
        pytest.param({}, f"scan_windows VALUES ('3', 7, '{BUILT}', '{LATER}')", True, id="a backfill"),
    ],
)
def test_models_are_stale_when_a_later_load_may_have_brought_rows(
    database: tuple[AnalyticsDatabase, Any], load: dict[str, Any] | None, mark: str | None, is_stale: bool
) -> None:
    place, connection = database
    if load is not None:
        add_load(connection, place, "3", **{"at": LATER, **load})
    if mark:
        connection.cursor().execute(f"INSERT INTO {place.dataset}.{mark}")
    expected = Freshness(BUILT, LOADED, 0, is_stale)
    assert read_freshness(connection, place, NOW) == expected
    # days become proven without new rows
    a_day_later = read_freshness(connection, place, BUILT + timedelta(hours=24))
    assert a_day_later
    assert a_day_later.is_stale == (load is not None and load.get("status") != 1)


def test_newer_recordings_are_counted(database: tuple[AnalyticsDatabase, Any]) -> None:
    place, connection = database
    add_load(connection, place, "3", LATER)
    connection.cursor().execute(f"INSERT INTO {place.dataset}.company_recordings VALUES (4), (5)")
    assert read_freshness(connection, place, NOW) == Freshness(BUILT, LOADED, 2, True)


def test_a_database_restored_from_a_backup_makes_models_stale(
    database: tuple[AnalyticsDatabase, Any],
) -> None:
    place, connection = database
    connection.cursor().execute(f"DELETE FROM {place.dataset}._dlt_loads WHERE load_id = '2'")
    assert read_freshness(connection, place, NOW) == Freshness(BUILT, LOADED, 0, True)


def test_models_that_were_not_built_have_no_freshness(database: tuple[AnalyticsDatabase, Any]) -> None:
    place, connection = database
    connection.cursor().execute(f"DELETE FROM {place.models_dataset}.freshness")
    assert read_freshness(connection, place, NOW) is None
    connection.cursor().execute(f"DROP TABLE {place.models_dataset}.freshness")
    assert read_freshness(connection, place, NOW) is None


def test_freshness_is_built_after_all_other_models() -> None:
    models = PROJECT / "models"
    others = {path.stem for path in models.glob("vbc__*.sql")} - {"vbc__freshness"}
    text = (models / "vbc__freshness.sql").read_text()
    assert {name for name in others if f"ref('vbc_source', '{name}')" not in text} == set()


@pytest.mark.slow
def test_models_are_built_only_where_a_load_brought_rows(own_folder: Path) -> None:
    def run(*options: str) -> tuple[int, list[str]]:
        done = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run", "--if-stale", *options)
        return done.returncode, (done.stdout or done.stderr).splitlines()

    write_duckdb(own_folder / "vbc.duckdb", invent(6))
    status, (built, following) = run()
    assert status == 0
    assert built.startswith("21 of 21 model(s) built in vbc.duckdb, schema vbc_models, ")
    assert following.startswith("Next: vbc dashboard, or SELECT * FROM vbc_models.coverage;")
    status, lines = run("--json")
    assert (status, lines[0][:46]) == (0, "The models are up to date: no load brought row")
    assert json.loads(lines[1])["nodes"] == []
    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute(
            "INSERT INTO vbc_data._dlt_loads "
            "SELECT '99', 'vbc_audio', 0, max(inserted_at) + INTERVAL '1 hour' FROM vbc_data._dlt_loads"
        )
    assert run()[1][0].startswith("21 of 21")
    with duckdb.connect("vbc.duckdb") as connection:  # as models of an earlier version
        connection.execute("ALTER TABLE vbc_models.recording_extensions DROP COLUMN archived")
    assert run()[1][0].startswith("21 of 21")
    with duckdb.connect("vbc.duckdb", read_only=True) as connection:
        loads = connection.execute("SELECT count(*) FROM vbc_data._dlt_loads WHERE status = 0").fetchall()
        assert connection.execute("SELECT loads FROM vbc_models.freshness").fetchall() == loads
