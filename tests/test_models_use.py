"""The models in use: on the demo's data, tested, documented, and as a package of one's own dbt project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from loading import instant, run_vbc, still_gateway
from model_facts import MODELS, differences, work_out
from raw_tables import COLUMNS, POSTGRES, connect_postgres, invent, own_dataset, write_duckdb

import vbc_source
from vbc_source.analytics.database import PASSWORD, find_database
from vbc_source.analytics.models import PROJECT
from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]


def read_raw(connection: Any, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of the source's tables that the models use."""
    tables = {}
    for name in COLUMNS:
        connection.execute(
            "SELECT count(*) FROM information_schema.tables "
            f"WHERE table_schema = '{dataset.rpartition('.')[2]}' AND table_name = '{name}'"
        )
        if connection.fetchall() == [(0,)]:
            continue
        connection.execute(f"SELECT * FROM {dataset}.{name}")
        titles = [column[0] for column in connection.description]
        tables[name] = [dict(zip(titles, row, strict=True)) for row in connection.fetchall()]
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_models_of_the_demos_data_are_what_the_emulator_holds(
    serve: Serve, own_folder: Path, kind: str
) -> None:
    gateway = still_gateway(recordings=3000)
    zone = {"SOURCES__VBC__VBC_TIMEZONE": "America/New_York"}
    with own_dataset() as dataset:
        options = ("--destination", "postgres", "--dataset", dataset) if kind == "postgres" else ()
        url, target = serve(gateway), {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
        for command in (["sync"], ["models", "run"], ["models", "test"]):
            done = run_vbc(own_folder, url, *command, *options, **zone, **target)
            assert done.returncode == 0, done.stdout + done.stderr
        if kind == "postgres":
            with connect_postgres() as cursor:
                _check_demo(cursor, dataset, gateway)
        else:
            with duckdb.connect("vbc.duckdb", read_only=True) as connection:
                _check_demo(connection, "vbc_data", gateway)


def _check_demo(connection: Any, dataset: str, gateway: Gateway) -> None:
    for model, expected in work_out(read_raw(connection, dataset), "America/New_York").items():
        connection.execute(f"SELECT {MODELS[model]} FROM {dataset}_models.{model}")
        assert differences(connection.fetchall(), expected) == ([], []), model
    held = gateway.company.all()
    connection.execute(f"SELECT direction, sum(recordings) FROM {dataset}_models.daily_directions GROUP BY 1")
    found = {direction: int(count) for direction, count in connection.fetchall()}
    assert found == Counter(row["call_direction"] or "UNKNOWN" for row in held)
    connection.execute(f"SELECT round(sum(total_seconds) * 1000) FROM {dataset}_models.weekly_hours")
    assert connection.fetchall() == [(sum(row["duration"] or 0 for row in held),)]
    connection.execute(f"SELECT count(*), min(started_at) FROM {dataset}_models.recordings")
    assert connection.fetchall() == [(len(held), min(instant(row["start"]) for row in held))]


@pytest.mark.slow
def test_models_test_finds_what_is_wrong_and_docs_are_one_page(own_folder: Path) -> None:
    write_duckdb(own_folder / "vbc.duckdb", invent(4))
    assert run_vbc(own_folder, "http://127.0.0.1:9", "models", "run").returncode == 0
    tested = run_vbc(own_folder, "http://127.0.0.1:9", "models", "test", "--json")
    assert tested.returncode == 0, tested.stderr
    told = json.loads(tested.stdout.splitlines()[-1])
    assert len(told["nodes"]) > 50
    assert {node["status"] for node in told["nodes"]} == {"pass"}
    documented = run_vbc(own_folder, "http://127.0.0.1:9", "models", "docs", "--output", "page.html")
    assert documented.returncode == 0, documented.stderr
    assert "How long the recording is, in seconds" in (own_folder / "page.html").read_text()
    assert {path.name for path in own_folder.iterdir()} <= {"vbc.duckdb", "dlt", "page.html"}

    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute("INSERT INTO vbc_models.recordings FROM vbc_models.recordings LIMIT 1")
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "test")
    assert failed.returncode == 1
    assert "fail: unique_recordings_recording_key" in failed.stderr


def test_the_password_is_in_no_file(own_folder: Path) -> None:
    credentials = "postgresql://loader:pass-1234-word@db.example.com:5433/calls?sslmode=require"
    target = dlt.destinations.postgres(credentials)
    warehouse = find_database(dlt.pipeline("own", destination=target, dataset_name="My Calls"))
    described = warehouse.describe()
    assert described == {
        "type": "postgres",
        "host": "db.example.com",
        "port": 5433,
        "user": "loader",
        "password": f"{{{{ env_var('{PASSWORD}') }}}}",
        "dbname": "calls",
        "schema": "my_calls_models",
        "threads": 4,
        "sslmode": "require",
    }
    assert warehouse.password == "pass-1234-word"
    assert "pass-1234-word" not in repr(warehouse) + json.dumps(described)
    assert warehouse.name_model("recordings") == '"my_calls_models"."recordings"'


def test_a_connection_to_the_models_reads_and_does_not_write(own_folder: Path) -> None:
    write_duckdb(own_folder / "vbc.duckdb", {"users": []})
    local = dlt.pipeline(
        "local", destination=dlt.destinations.duckdb(str(own_folder / "vbc.duckdb")), dataset_name="vbc"
    )
    remote = dlt.pipeline("remote", destination=dlt.destinations.postgres(POSTGRES), dataset_name="vbc")
    assert find_database(local).name_model("recordings") == '"vbc"."vbc_models"."recordings"'
    for pipeline in (local, remote):
        connection = find_database(pipeline).connect()
        cursor = connection.cursor()
        cursor.execute("SELECT CAST(TIMESTAMPTZ '2025-03-09 12:00:00+05' AS TEXT)")
        assert cursor.fetchall() == [("2025-03-09 07:00:00+00",)]
        with pytest.raises(Exception, match="read-only"):
            cursor.execute("CREATE TABLE written (a INTEGER)")
        connection.close()


PROFILES = """
own:
  target: dev
  outputs: {dev: {type: duckdb, path: vbc.duckdb, schema: own}}
"""
OWN_PROJECT = """
name: own
version: "1.0"
profile: own
vars: {vbc_timezone: America/New_York}
models: {vbc_source: {+schema: calls}}
flags: {send_anonymous_usage_stats: false}
"""
LONG_CALLS = """
select recording_key, duration_seconds from {{ ref('vbc_source', 'recordings') }} where duration_seconds > 600
"""


@pytest.mark.slow
def test_the_models_are_a_package_of_ones_own_dbt_project(own_folder: Path) -> None:
    tables = invent(5)
    write_duckdb(own_folder / "vbc.duckdb", tables)
    (own_folder / "models").mkdir()
    (own_folder / "models" / "long_calls.sql").write_text(LONG_CALLS)
    (own_folder / "profiles.yml").write_text(PROFILES)
    (own_folder / "dbt_project.yml").write_text(OWN_PROJECT)
    (own_folder / "packages.yml").write_text(f"packages: [{{local: {PROJECT}}}]")

    def dbt(*command: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *command]
        return subprocess.run(program, capture_output=True, text=True, check=False, env=dict(os.environ))

    for command in (["deps"], ["build"]):  # models and their tests
        done = dbt(*command)
        assert done.returncode == 0, done.stdout
    stale = dbt("source", "freshness")  # what was invented was read in 2025
    assert stale.returncode == 1
    assert "ERROR STALE freshness of vbc.scan_windows" in stale.stdout
    with duckdb.connect("vbc.duckdb", read_only=True) as connection:
        for model, expected in work_out(tables, "America/New_York").items():
            rows = connection.execute(f"SELECT {MODELS[model]} FROM vbc.own_calls.{model}").fetchall()
            assert differences(rows, expected) == ([], []), model
        found = connection.execute("SELECT count(*) FROM vbc.own.long_calls").fetchall()
    assert found == [(sum((row[12] or 0) > 600 for row in work_out(tables, "UTC")["recordings"]),)]


def test_the_dbt_package_is_beside_the_code_and_tells_nobody() -> None:
    assert Path(vbc_source.__file__).parent in PROJECT.parents
    project = (PROJECT / "dbt_project.yml").read_text()
    assert "send_anonymous_usage_stats: false" in project
