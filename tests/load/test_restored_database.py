"""What was loaded is known by the destination alone: a run loads what it lacks, whatever local state says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dlt
import duckdb
import pytest
from expected_rows import ago
from loading import load, open_pipeline, query, run_vbc, still_gateway

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

DATABASE = Path("test_db.duckdb")


def fill(gateway: Gateway, first: int, count: int, days: float) -> None:
    for number in range(count):
        gateway.company.add(id=first + number, start=ago(days=days + number / 1000), duration=1000)


def ids(pipeline: dlt.Pipeline) -> list[int]:
    return [row[0] for row in query(pipeline, "SELECT id FROM company_recordings ORDER BY id")]


@pytest.mark.slow
def test_a_database_that_is_restored_from_a_backup_gets_what_it_lacks(serve: Serve) -> None:
    gateway = still_gateway(users=2)
    fill(gateway, 1, 5, days=20)
    url, names = serve(gateway), ("company_recordings", "users")
    load(open_pipeline(), url, *names)
    shutil.copy(DATABASE, "backup.duckdb")
    for first, days in ((100, 10), (200, 0.1)):  # one behind the lookback of the newest, one in it
        fill(gateway, first, 3, days)
        gateway.users.add(id=first)
        load(open_pipeline(), url, *names)
    load(open_pipeline(), url, *names)
    shutil.copy("backup.duckdb", DATABASE)
    load(pipeline := open_pipeline(), url, *names)
    assert len(ids(pipeline)) == 11
    assert query(pipeline, "SELECT count(*) FROM users") == [(len(gateway.users.all()),)]
    gateway.clear()
    load(pipeline := open_pipeline(), url, *names)  # and is not read anew after that
    assert min(request.query.get("start:gte", "9") for request in gateway.requests) > ago(days=3)


@pytest.mark.slow
def test_two_databases_with_one_pipeline_name_are_both_complete(serve: Serve) -> None:
    gateway = still_gateway()
    fill(gateway, 1, 5, days=20)
    url = serve(gateway)

    def load_into(name: str) -> list[int]:
        database = dlt.destinations.duckdb(str(Path.cwd() / f"{name}.duckdb"))
        pipeline = dlt.pipeline("test", destination=database, dataset_name="vbc_data")
        load(pipeline, url)
        return ids(pipeline)

    assert len(load_into("first")) == 5
    assert len(load_into("second")) == 5
    fill(gateway, 100, 3, days=10)
    assert len(load_into("second")) == 8
    fill(gateway, 200, 3, days=0.5)
    assert len(load_into("first")) == 11
    assert len(load_into("second")) == 11


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM company_recordings WHERE id = 201",
        *(
            pytest.param(damage, marks=pytest.mark.slow)
            for damage in (
                "DELETE FROM company_recordings WHERE id >= 200",
                "DELETE FROM company_recordings WHERE id >= 100",
                "DELETE FROM company_recordings",
                "DROP TABLE company_recordings",
                "DROP TABLE company_recordings__extensions; DELETE FROM company_recordings",
                "DROP TABLE scan_windows",
            )
        ),
    ],
)
def test_rows_that_somebody_has_deleted_are_loaded_again(serve: Serve, damage: str) -> None:
    gateway = still_gateway()
    for first, days in ((1, 20), (100, 10), (200, 0.5)):
        fill(gateway, first, 4, days)
    url = serve(gateway)
    for _ in range(2):
        load(pipeline := open_pipeline(), url)
    with pipeline.sql_client() as client:
        for statement in damage.split("; "):
            client.execute_sql(statement)
    load(pipeline := open_pipeline(), url)
    assert len(ids(pipeline)) == 12
    assert query(pipeline, "SELECT count(*) FROM scan_windows")[0][0] > 0


@pytest.mark.slow
def test_users_and_jobs_that_somebody_has_deleted_are_loaded_again(serve: Serve) -> None:
    gateway = still_gateway(users=3)
    user = gateway.users.all()[0]["id"]
    gateway.jobs.add(user, status="complete")
    url, tables = serve(gateway), ("users", "extensions", "export_jobs")
    for _ in range(2):
        load(pipeline := open_pipeline(), url, *tables)
    counts = [query(pipeline, f"SELECT count(*) FROM {table}") for table in tables]
    with pipeline.sql_client() as client:
        for table in tables:
            client.execute_sql(f"DELETE FROM {table}")
    load(pipeline := open_pipeline(), url, *tables)
    assert [query(pipeline, f"SELECT count(*) FROM {table}") for table in tables] == counts


@pytest.mark.slow
def test_commands_get_on_with_deleted_rows_and_dropped_tables(serve: Serve, tmp_path: Path) -> None:
    gateway = still_gateway(users=1)
    fill(gateway, 1, 5, days=20)
    gateway.users.recordings(gateway.users.api_user).add(id=7, start=ago(days=9))
    url = serve(gateway)
    span = ("--start-date", ago(days=40), "--end-date", ago(days=5), "--workers", "1")
    run_vbc(tmp_path, url, "sync")

    def execute(sql: str) -> None:
        with duckdb.connect(str(tmp_path / "vbc.duckdb")) as connection:
            connection.execute(sql)

    execute("DELETE FROM vbc_data.company_recordings WHERE id = 3")
    assert run_vbc(tmp_path, url, "verify").returncode == 1
    assert "1 window(s)" in run_vbc(tmp_path, url, "backfill", *span, "--window", "50").stdout
    assert run_vbc(tmp_path, url, "verify").returncode == 0
    for table in ("user_recordings", "scan_windows", "users", "user_access"):
        execute(f"DROP TABLE IF EXISTS vbc_data.{table}")
        for command in ("verify", "status"):
            result = run_vbc(tmp_path, url, command)
            assert "Catalog" not in result.stderr + result.stdout, result.stderr
    assert run_vbc(tmp_path, url, "backfill", *span).returncode == 0
    assert run_vbc(tmp_path, url, "sync").returncode == 0
    assert run_vbc(tmp_path, url, "verify").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("drop", "--drop-all"), ("drop", "company_recordings"), ("sync",)], ids=" ".join
)
def test_what_a_command_of_dlt_drops_is_loaded_again(
    serve: Serve, own_folder: Path, command: tuple[str, ...]
) -> None:
    gateway = still_gateway(users=1)
    fill(gateway, 1, 5, days=20)
    url = serve(gateway)
    assert run_vbc(own_folder, url, "sync").returncode == 0
    dlt_command = [
        str(Path(sys.executable).with_name("dlt")),
        "--non-interactive",
        "pipeline",
        "vbc",
        *command,
    ]
    database = f"duckdb:///{own_folder}/vbc.duckdb"
    done = subprocess.run(
        dlt_command,
        check=False,
        env={**os.environ, "DESTINATION__DUCKDB__CREDENTIALS": database},
        cwd=own_folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_vbc(own_folder, url, "sync").returncode == 0
    assert run_vbc(own_folder, url, "verify").returncode == 0
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
        ids = "SELECT count(*), count(DISTINCT id) FROM vbc_data.company_recordings"
        assert connection.execute(ids).fetchone() == (5, 5)
