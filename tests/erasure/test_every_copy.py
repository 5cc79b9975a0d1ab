"""No trace of a planted number is left in any file or table, whatever the destination and the bucket."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from archiving import configure
from expected_rows import ago, only
from forgetting import MAIN, NUMBER, PATTERN, plant, search
from in_process import run_in_process
from loading import open_target
from warehouses import Warehouse, set_up

from vbc_source.cli.app import main
from vbc_source.config import VbcConfig
from vbc_source.dashboard.plays import find_plays
from vbc_source.emulator import Emulator, Gateway
from vbc_source.load.compaction import _Lake
from vbc_source.warehouse.completeness import read_proven_spans
from vbc_source.warehouse.queries import LoadedTables

CALLS = {"SOURCES__VBC__CALL_LOGS": "true"}
JOB = "job-of-a-caller"
POLICY = '[[rules]]\nname = "all"\nactions = ["archive"]\n'
# all that leave files or rows of their own, but for what goes where a person says: bags, reports, downloads
COMMANDS = (
    ("sync",),
    ("audio",),
    ("verify", "--repair"),
    ("fixity",),
    ("reconcile",),
    ("retention", "plan", "--out", "plan.json"),
    ("export", "create"),
    ("export", "list"),
    ("doctor",),
)
MODELS = (("models", "run"), ("models", "test"))
GROUPS = ("export", "models", "recordings", "retention")
# run at the end, or apart; printed alone; written where a person says; of invented data
NOT_SEARCHED = {
    *((name,) for name in ("forget", "backfill", "compact", "status", "evidence", "report", "dashboard")),
    *(("recordings", name) for name in ("list", "show", "delete")),
    *(("export", name) for name in ("wait", "download")),
    *(("retention", "apply"), ("models", "docs"), ("demo",), ("emulator",)),
}
CALLER_TABLES = ("company_recordings", "user_recordings", "call_logs", "export_jobs")
CALLER_MODELS = ("recordings", "calls", "callers")


def run(url: str, *arguments: str, **changed: str) -> dict[str, Any]:
    done = run_in_process(*arguments, "--json", **configure(url), **{**CALLS, **changed})
    assert PATTERN.search(done.output.encode()) is None, arguments
    assert done.stdout, done.output
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def plant_calls() -> Gateway:
    gateway = plant()
    gateway.call_logs  # noqa: B018 - generated before anything is changed
    gateway.jobs.add(id=JOB, status="complete", filtered_by={"caller": NUMBER})  # a field nobody declared
    return gateway


def print_metrics(url: str, *arguments: str, **changed: str) -> str:
    """Return what Prometheus gets, which a timer keeps in a file."""
    done = run_in_process(
        "status", "--format", "prometheus", *arguments, **configure(url), **{**CALLS, **changed}
    )
    assert "vbc_audio" in done.stdout, done.output
    return done.stdout


def list_tables(name: str, dataset: str) -> set[str]:
    """Return the tables of a database, dlt's own too, whose rows hold the number."""
    pipeline = open_target("vbc", "postgres" if name == "postgres" else "duckdb", dataset)
    with pipeline.sql_client() as client:
        tables = client.execute_sql(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            f"AND table_schema LIKE '{dataset}%'"
        )
        return {
            table
            for schema, table in tables or ()
            if PATTERN.search(repr(client.execute_sql(f'SELECT * FROM "{schema}"."{table}"')).encode())
        }


def list_relations(dataset: str) -> set[str]:
    """Return the relations of Postgres whose files hold the number, dead rows and indexes too.

    So does the table of statistics, which has frequent values of columns.
    """
    with open_target("vbc", "postgres", dataset).sql_client() as client:
        client.execute_sql("CHECKPOINT")
        files = client.execute_sql(
            f"""
            WITH tables AS (
                SELECT c.oid, c.reltoastrelid FROM pg_class AS c JOIN pg_namespace AS n
                    ON n.oid = c.relnamespace
                WHERE starts_with(n.nspname, '{dataset}') AND c.relkind IN ('r', 'm')
            ), relations (id) AS (
                SELECT oid FROM tables UNION SELECT reltoastrelid FROM tables WHERE reltoastrelid > 0
                UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)
            )
            SELECT CAST(CAST(id AS regclass) AS TEXT), pg_read_binary_file(pg_relation_filepath(id))
            FROM relations"""
        )
        statistics = client.execute_sql(
            "SELECT tablename, CAST(most_common_vals AS TEXT), CAST(histogram_bounds AS TEXT) FROM pg_stats "
            f"WHERE starts_with(schemaname, '{dataset}')"
        )
        found = {
            str(relation).rpartition(".")[2] for relation, data in files or () if PATTERN.search(bytes(data))
        }
        return found | {row[0] for row in statistics or () if PATTERN.search(repr(row).encode())}


def check_planted(name: str, dataset: str, places: list[str]) -> None:
    """Check that the number is where it is to be erased: else its absence proves nothing."""
    text = "\n".join(places)
    assert all(part in text for part in ("recording_type=company", "recording_type=user", "/load/loaded/"))
    assert set(CALLER_TABLES) <= {table for table in CALLER_TABLES if f"completed_jobs/{table}." in text}
    if name not in ("duckdb", "postgres"):
        assert set(CALLER_TABLES) <= {table for table in CALLER_TABLES if f"/lake/{dataset}/{table}/" in text}
        return
    assert {*CALLER_TABLES, *CALLER_MODELS} <= list_tables(name, dataset)
    if name == "postgres":
        assert set(CALLER_TABLES) <= list_relations(dataset)


def erase_pending_package(url: str, gateway: Gateway, warehouse: Warehouse, **settings: str) -> None:
    """Let a run be killed before it loads a new recording of the caller, and erase that one too."""
    gateway.company.add(
        id=1950, start=ago(hours=5), file_size_in_bytes=9, call_id="call-1950-x", caller_id="12025550177"
    )
    pipeline = warehouse.open()
    pipeline.extract(only(url, "company_recordings"))
    pipeline.normalize()
    assert pipeline.has_pending_data
    target = ("--destination", warehouse.destination, "--dataset", warehouse.dataset)
    result = run(url, "forget", NUMBER, "--apply", *target, **settings)
    assert (result["ok"], result["copies"]["vbc"]) == (True, 1), result


def list_commands(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of all commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from list_commands(command, *names, name)
        else:
            yield (*names, name)


def test_a_new_command_is_searched_or_declared() -> None:
    """Fails for a new command: add it to `COMMANDS`, or to those that leave nothing of their own."""
    searched = {words[:2] if words[0] in GROUPS else words[:1] for words in (*COMMANDS, *MODELS)}
    assert searched.isdisjoint(NOT_SEARCHED)
    assert set(list_commands(main)) == searched | NOT_SEARCHED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duckdb", "postgres", "parquet", "delta", "iceberg"])
def test_no_file_and_no_table_has_the_number(
    name: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = plant_calls()
    bucket = {"SOURCES__VBC__AUDIO__BUCKET_URL": str(own_folder / "bucket")}
    keep = {"LOAD__DELETE_COMPLETED_JOBS": "false"}  # as dlt does unless this is set
    with Emulator(gateway) as url, set_up(name, monkeypatch, lambda: {}) as warehouse:
        target = ("--destination", warehouse.destination, "--dataset", warehouse.dataset)
        monkeypatch.setattr(tempfile, "tempdir", str(own_folder / "tmp"))
        Path("tmp").mkdir()
        Path("retention.toml").write_text(POLICY)
        for words in (*COMMANDS, *(MODELS if name in ("duckdb", "postgres") else ())):
            run(url, *words, *(target if words[0] != "export" else ()), **bucket, **keep)
        Path("metrics.prom").write_text(print_metrics(url, *target, **bucket))
        if plays := find_plays(warehouse.target):
            plays.record(f"{MAIN}/company/1001", "ada", "play")
        gateway.company.change(1001, duration=90_000)  # its row is replaced, and the old one stays somewhere
        assert run(url, "sync", *target, **bucket, **keep)["ok"]
        if name in ("parquet", "delta"):
            _Lake(warehouse.target).compact()
        check_planted(name, warehouse.dataset, search(own_folder))
        kept = warehouse.read()["company_recordings"]
        config = VbcConfig.from_values(lookback_hours=1)
        before = read_proven_spans(LoadedTables(warehouse.target), config)
        result = run(url, "forget", NUMBER, "--apply", *target, **bucket, **keep)
        assert result["ok"], result
        assert result["copies"]["local_files"] > 0
        # what was proven before still is, so that no run reads it again for that
        assert {item.resource for item in before} >= {"company_recordings", "user_recordings", "call_logs"}
        assert read_proven_spans(LoadedTables(warehouse.target), config) == before
        assert search(own_folder) == []
        left = warehouse.read()
        assert len(left["company_recordings"]) == len(kept) - 4
        assert PATTERN.search(repr(left).encode()) is None
        if name in ("duckdb", "postgres"):
            assert list_tables(name, warehouse.dataset) == set()
        if name == "postgres":
            assert list_relations(warehouse.dataset) == set()
        erase_pending_package(url, gateway, warehouse, **bucket, **keep)
        assert search(own_folder) == []
        gateway.jobs.remove(JOB)  # the API deletes no job: until it expires, the next run lists it again
        models = [("models", "run")] if name in ("duckdb", "postgres") else []
        for words in (("sync",), ("verify",), *models):
            again = run(url, *words, *target, **bucket)
            assert again["ok"], again
        assert search(own_folder) == []
        backfill = ("--start-date", "2026-01-01", "--end-date", "2027-01-01", "--workers", "1")
        assert run(url, "backfill", *backfill, *target)["ok"]
        assert PATTERN.search(repr(warehouse.read()).encode()) is None
        assert search(own_folder) == []


@pytest.mark.slow
def test_what_a_killed_write_left_in_a_delta_table_is_removed(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No log names such files, nor those of versions older than what its checkpoint remembers."""
    with Emulator(plant()) as url, set_up("delta", monkeypatch, lambda: {}) as warehouse:
        target = ("--destination", warehouse.destination, "--dataset", warehouse.dataset)
        assert run(url, "sync", *target)["ok"]
        folder = next(own_folder.rglob(f"{warehouse.dataset}/company_recordings"))
        data, commit = next(folder.glob("*.parquet")), next(folder.glob("_delta_log/*.json"))
        for name in ("part-00001-killed-c000.snappy.parquet", "part-00002-killed-c000.snappy.parquet#1"):
            (folder / name).write_bytes(data.read_bytes())
        for name in ("_commit_killed.json.tmp", f"{7:020}.json#1", f"{7:020}.json.tmp"):
            (commit.parent / name).write_bytes(commit.read_bytes())
        before = warehouse.read()["company_recordings"]
        assert run(url, "forget", NUMBER, "--apply", *target)["ok"]
        assert search(own_folder) == []
        assert run(url, "sync", *target)["ok"]
        assert len(warehouse.read()["company_recordings"]) == len(before) - 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["duckdb", "parquet"])
def test_a_field_that_is_named_like_the_number_is_named(
    name: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = plant()
    gateway.company.change(1001, **{"202 555-0177": "rang"})
    with Emulator(gateway) as url, set_up(name, monkeypatch, lambda: {}) as warehouse:
        target = ("--destination", warehouse.destination, "--dataset", warehouse.dataset)
        assert run(url, "sync", *target)["ok"]
        shutil.rmtree(own_folder / "dlt", ignore_errors=True)  # as on another machine: no schema there has it
        result = run(url, "forget", NUMBER, *target)
    reasons = [item["reason"] for item in result["blocked"]]
    table = f"{warehouse.dataset}.company_recordings" if name == "duckdb" else "company_recordings"
    assert f"{table} has a column that is named like the number: drop it" in reasons
