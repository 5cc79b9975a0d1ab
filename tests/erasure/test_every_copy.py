"""No trace of a planted number is left in any file or table, whatever the destination and the bucket."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from archiving import configure
from forgetting import MAIN, NUMBER, PATTERN, plant, search
from in_process import run_in_process
from loading import open_target
from warehouses import set_up

from vbc_source.config import VbcConfig
from vbc_source.dashboard.plays import find_plays
from vbc_source.emulator import Emulator, Gateway
from vbc_source.load.compaction import _Lake
from vbc_source.warehouse.completeness import read_proven_spans
from vbc_source.warehouse.queries import LoadedTables

CALLS = {"SOURCES__VBC__CALL_LOGS": "true"}
POLICY = '[[rules]]\nname = "all"\nactions = ["archive"]\n'
# all that leave files or rows of their own, but for what goes where a person says: bags, reports, downloads
COMMANDS = (
    ("sync",),
    ("audio",),
    ("verify", "--repair"),
    ("fixity",),
    ("reconcile",),
    ("retention", "plan", "--out", "plan.json"),
    ("status",),
    ("doctor",),
)
MODELS = (("models", "run"), ("models", "test"))


def run(url: str, *arguments: str, **changed: str) -> dict[str, Any]:
    done = run_in_process(*arguments, "--json", **configure(url), **{**CALLS, **changed})
    assert PATTERN.search(done.output.encode()) is None, arguments
    assert done.stdout, done.output
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def plant_calls() -> Gateway:
    gateway = plant()
    gateway.call_logs  # noqa: B018 - generated before anything is changed
    return gateway


def read_rows(name: str, dataset: str) -> str:
    """Return all rows of a destination's tables and dlt's own as text."""
    pipeline = open_target("vbc", "postgres" if name == "postgres" else "duckdb", dataset)
    with pipeline.sql_client() as client:
        tables = client.execute_sql(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            f"AND table_schema LIKE '{dataset.removesuffix('_data')}%'"
        )
        return repr(
            [client.execute_sql(f'SELECT * FROM "{schema}"."{table}"') for schema, table in tables or ()]
        )


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
            run(url, *words, *target, **bucket, **keep)
        if plays := find_plays(warehouse.target):
            plays.record(f"{MAIN}/company/1001", "ada", "play")
        if name in ("parquet", "delta"):
            gateway.company.change(1001, duration=90_000)
            assert run(url, "sync", *target, **bucket, **keep)["ok"]
            _Lake(warehouse.target).compact()
        assert search(own_folder)
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
            assert PATTERN.search(read_rows(name, warehouse.dataset).encode()) is None
        models = [("models", "run")] if name in ("duckdb", "postgres") else []
        for words in (("sync",), ("verify",), *models):
            again = run(url, *words, *target, **bucket)
            assert again["ok"], again
        assert search(own_folder) == []
        backfill = ("--start-date", "2026-01-01", "--end-date", "2027-01-01", "--workers", "1")
        assert run(url, "backfill", *backfill, *target)["ok"]
        assert PATTERN.search(repr(warehouse.read()).encode()) is None
        assert search(own_folder) == []
