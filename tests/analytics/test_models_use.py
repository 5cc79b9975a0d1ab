"""Use of the models: on the demo's data, tested, documented, and as a package of another dbt project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest
from expected_models import MODELS, differences, expect_models
from loading import instant, run_vbc, start_vbc, still_gateway
from raw_tables import COLUMNS, POSTGRES, connect_postgres, invent, own_dataset, write_duckdb

import vbc_source
from vbc_source.analytics.database import PASSWORD_VARIABLE, find_database
from vbc_source.analytics.models import PROJECT
from vbc_source.emulator import Gateway
from vbc_source.load.destinations import Target

KINDS = ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)]
Serve = Callable[[Gateway], str]


def read_raw(connection: Any, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Read the loaded tables that the models use."""
    tables = {}
    for name in COLUMNS:
        connection.execute(
            "SELECT count(*) FROM information_schema.tables "
            f"WHERE table_schema = '{dataset}' AND table_name = '{name}'"
        )
        if connection.fetchall() == [(0,)]:
            continue
        connection.execute(f"SELECT * FROM {dataset}.{name}")
        titles = [column[0] for column in connection.description]
        tables[name] = [dict(zip(titles, row, strict=True)) for row in connection.fetchall()]
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_models_of_the_demo_equal_the_emulators_recordings(serve: Serve, own_folder: Path, kind: str) -> None:
    gateway = still_gateway(recordings=3000)
    zone = {"SOURCES__VBC__VBC_TIMEZONE": "America/New_York"}
    with own_dataset() if kind == "postgres" else nullcontext("vbc_data") as dataset:
        options = ("--destination", "postgres", "--dataset", dataset) if kind == "postgres" else ()
        url, target = serve(gateway), {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
        for command in (["sync"], ["models", "run"], ["models", "test"]):
            done = start_vbc(own_folder, url, *command, *options, **zone, **target)
            assert done.returncode == 0, done.stdout + done.stderr
        if kind == "postgres":
            with connect_postgres() as cursor:
                _check_demo(cursor, dataset, gateway)
        else:
            with duckdb.connect("vbc.duckdb", read_only=True) as connection:
                _check_demo(connection, "vbc_data", gateway)


def _check_demo(connection: Any, dataset: str, gateway: Gateway) -> None:
    models = dataset.removesuffix("_data") + "_models"
    for model, expected in expect_models(read_raw(connection, dataset), "America/New_York").items():
        connection.execute(f"SELECT {MODELS[model]} FROM {models}.{model}")
        assert differences(connection.fetchall(), expected) == ([], []), model
    held = gateway.company.all()
    connection.execute(f"SELECT direction, sum(recordings) FROM {models}.daily_directions GROUP BY 1")
    found = {direction: int(count) for direction, count in connection.fetchall()}
    assert found == Counter(row["call_direction"] or "UNKNOWN" for row in held)
    connection.execute(f"SELECT round(sum(total_seconds) * 1000) FROM {models}.weekly_hours")
    assert connection.fetchall() == [(sum(row["duration"] or 0 for row in held),)]
    connection.execute(f"SELECT count(*), min(started_at) FROM {models}.recordings")
    assert connection.fetchall() == [(len(held), min(instant(row["start"]) for row in held))]


@pytest.mark.slow
def test_models_test_finds_a_duplicate_and_docs_are_one_page(own_folder: Path) -> None:
    write_duckdb(own_folder / "vbc.duckdb", invent(4))
    assert run_vbc(own_folder, "http://127.0.0.1:9", "models", "run").returncode == 0
    tested = run_vbc(own_folder, "http://127.0.0.1:9", "models", "test", "--json")
    assert tested.returncode == 0, tested.stderr
    result = json.loads(tested.stdout.splitlines()[-1])
    assert len(result["nodes"]) > 120
    assert "days_have_23_and_25_hours_when_clocks_change" in {node["name"] for node in result["nodes"]}
    assert {node["status"] for node in result["nodes"]} == {"pass"}
    documented = run_vbc(own_folder, "http://127.0.0.1:9", "models", "docs", "--output", "page.html")
    assert documented.returncode == 0, documented.stderr
    assert "Length in seconds, exact to the millisecond" in (own_folder / "page.html").read_text()
    assert {path.name for path in own_folder.iterdir()} <= {"vbc.duckdb", "dlt", "page.html"}

    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute("INSERT INTO vbc_models.recordings FROM vbc_models.recordings LIMIT 1")
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "test")
    assert failed.returncode == 1
    assert "fail: unique_vbc__recordings_recording_key" in failed.stderr


def test_password_is_passed_by_the_environment_only(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = "postgresql://loader:pass-1234-word@db.example.com:5433/calls?sslmode=require"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", credentials)
    database = find_database(Target("own", "postgres", "My Calls"))
    output = database.dbt_output()
    assert output == {
        "type": "postgres",
        "host": "db.example.com",
        "port": 5433,
        "user": "loader",
        "password": f"{{{{ env_var('{PASSWORD_VARIABLE}') }}}}",
        "dbname": "calls",
        "schema": "my_calls_models",
        "threads": 4,
        "sslmode": "require",
    }
    assert database.password == "pass-1234-word"
    assert "pass-1234-word" not in repr(database) + json.dumps(output)
    assert database.name_model("recordings") == '"my_calls_models"."recordings"'


@pytest.mark.parametrize("kind", KINDS)
def test_connection_is_read_only_and_in_utc(
    own_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    write_duckdb(own_folder / "vbc.duckdb", {"users": []})
    database = find_database(Target(destination=kind))
    assert database.name_model("recordings") == '"vbc_models"."recordings"'
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT CAST(TIMESTAMPTZ '2025-03-09 12:00:00+05' AS TEXT)")
    assert cursor.fetchall() == [("2025-03-09 07:00:00+00",)]
    with pytest.raises(Exception, match="read-only"):
        cursor.execute("CREATE TABLE written (a INTEGER)")
    connection.close()


PROFILES = """
own:
  target: dev
  outputs:
    dev: {type: duckdb, path: vbc.duckdb, schema: own, attach: [{path: raw_calls.duckdb, read_only: true}]}
"""
OWN_PROJECT = """
name: own
version: "1.0"
profile: own
vars: {vbc_timezone: America/New_York, vbc_database: raw_calls, vbc_schema: vbc_data}
models: {vbc_source: {+schema: calls}}
flags: {send_anonymous_usage_stats: false}
"""
OWN_SOURCE = """
version: 2
sources:
  - name: vbc
    schema: nowhere
    tables: [{name: company_recordings}, {name: recording_tombstones}]
"""
OWN_MACROS = """
{% macro default__each_day(first, last) %}null{% endmacro %}
{% macro duckdb__each_day(first, last) %}null{% endmacro %}
{% macro raw(table, columns) %}select 1{% endmacro %}
"""
LONG_CALLS = """
select recording_key, duration_seconds from {{ ref('vbc_source', 'vbc__recordings') }}
where duration_seconds > 600
"""


@pytest.mark.slow
def test_models_are_a_package_for_another_dbt_project(own_folder: Path) -> None:
    """Installed from a folder of a git repository; the raw tables are in another database."""
    tables = invent(5)
    write_duckdb(own_folder / "raw_calls.duckdb", tables)
    subfolder = PROJECT.relative_to(Path(vbc_source.__file__).parents[1])
    shutil.copytree(PROJECT, own_folder / "repository" / subfolder)
    author = ("-c", "user.name=any", "-c", "user.email=any@example.com")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-q", "-m", "Models")):
        subprocess.run(["git", *command], cwd=own_folder / "repository", check=True)
    (own_folder / "models").mkdir()
    (own_folder / "models" / "long_calls.sql").write_text(LONG_CALLS)
    # models, a source and a macro of one's own, named as the package might have called its own
    for name in (*MODELS, "stg_recordings", "stg_scan_windows", "stg_tombstones"):
        (own_folder / "models" / f"{name}.sql").write_text("select 'mine' as account_id, 0 as recordings")
    (own_folder / "models" / "sources.yml").write_text(OWN_SOURCE)
    (own_folder / "macros").mkdir()
    (own_folder / "macros" / "mine.sql").write_text(OWN_MACROS)
    (own_folder / "profiles.yml").write_text(PROFILES)
    (own_folder / "dbt_project.yml").write_text(OWN_PROJECT)
    (own_folder / "packages.yml").write_text(
        f"packages: [{{git: 'file://{own_folder}/repository', revision: main, subdirectory: {subfolder}}}]"
    )

    def dbt(*command: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *command]
        return subprocess.run(program, capture_output=True, text=True, check=False, env=dict(os.environ))

    for command in (["deps"], ["build"]):  # models and their tests
        done = dbt(*command)
        assert done.returncode == 0, done.stdout
    stale = dbt("source", "freshness")  # the invented windows are of 2025
    assert stale.returncode == 1
    assert "ERROR STALE freshness of vbc.scan_windows" in stale.stdout
    with duckdb.connect("vbc.duckdb", read_only=True) as connection:
        for model, expected in expect_models(tables, "America/New_York").items():
            rows = connection.execute(f"SELECT {MODELS[model]} FROM own_calls.{model}").fetchall()
            assert differences(rows, expected) == ([], []), model
        assert connection.execute("SELECT count(*) FROM own.recordings").fetchall() == [(1,)]
        found = connection.execute("SELECT count(*) FROM own.long_calls").fetchall()
    assert found == [(sum((row[12] or 0) > 600 for row in expect_models(tables, "UTC")["recordings"]),)]


def test_dbt_package_is_part_of_the_code_and_sends_no_usage_statistics() -> None:
    assert Path(vbc_source.__file__).parent in PROJECT.parents
    project = (PROJECT / "dbt_project.yml").read_text()
    assert "send_anonymous_usage_stats: false" in project


def test_raw_tables_are_looked_up_in_the_database_and_not_in_dbts_cache() -> None:
    """dbt fills its cache table by table: models compiled meanwhile took the rest for tables never loaded."""
    for path in PROJECT.rglob("*.sql"):
        code = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"\b(get_relation|load_relation|load_cached_relation)\b", code), path.name
