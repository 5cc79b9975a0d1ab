"""`vbc sync` merges into DuckDB from files: what is there afterwards is what dlt alone would have loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.pipeline.exceptions import PipelineStepFailed
from loading import open_pipeline, query

import vbc_source.load.sync as connector
from vbc_source.load.duckdb import loading_fast

KILLED_AT = ("followup", "moved", "merge", "merged")


def rows(first: int, last: int, **columns: Any) -> pa.Table:
    """Rows with keys from first to last, and further columns of one value."""
    ids = list(range(first, last))
    return pa.table(
        {"account": ["1"] * len(ids), "id": ids, **{n: [v] * len(ids) for n, v in columns.items()}}
    )


def load(pipeline: dlt.Pipeline, tables: Sequence[pa.Table], fast: bool) -> None:
    @dlt.resource(name="things", write_disposition="merge", primary_key=("account", "id"))
    def things() -> Iterator[pa.Table]:
        yield from tables

    pipeline.extract(things())
    pipeline.normalize()
    with loading_fast(pipeline) if fast else nullcontext():
        pipeline.load()


LOADS = {
    "new": [[rows(0, 50, text="a")]],
    "changed": [[rows(0, 50, text="a")], [rows(40, 60, text="b")]],
    "a column less": [[rows(0, 50, text="a", more=1)], [rows(40, 60, text="b")]],
    "a column more": [[rows(0, 50, text="a")], [rows(40, 60, text="b", more=1)]],
    "twice in one file": [[rows(0, 50, text="a"), rows(0, 10, text="a")]],
    "in two files": [[rows(0, 50, text="a"), rows(50, 90, text="a", more=1)]],
}


@pytest.mark.parametrize("name", LOADS)
def test_what_is_loaded_is_what_dlt_alone_loads(own_folder: Path, name: str) -> None:
    found = []
    for fast in (False, True):
        pipeline = open_pipeline(f"fast_{fast}")
        for tables in LOADS[name]:
            load(pipeline, tables, fast)
        columns = ", ".join(sorted(pipeline.default_schema.tables["things"]["columns"]))
        found.append(sorted(query(pipeline, f"SELECT {columns} FROM things"), key=str))
    assert found[0] == found[1]
    assert len(found[0]) == max(table["id"][-1].as_py() + 1 for tables in LOADS[name] for table in tables)


def test_nothing_is_copied_into_staging_where_one_file_holds_it_all(own_folder: Path) -> None:
    pipeline = open_pipeline()
    load(pipeline, [rows(0, 50, text="a")], fast=True)
    with pipeline.sql_client() as client, client.with_staging_dataset():
        staged = client.make_qualified_table_name("things")
        assert client.execute_sql(f"SELECT count(*) FROM {staged}") == [(0,)]


KILLED = """
import os, sys
from pathlib import Path
import pyarrow.parquet as pq
import dlt.load.load as loading
from dlt.common.storages.load_package import PackageStorage
from dlt.destinations.job_client_impl import SqlLoadJob
from test_duckdb_load import load, open_pipeline

def kill(owner, name, before, wanted):
    usual = getattr(owner, name)
    def killed(*args, **kwargs):
        if before and wanted(*args): os._exit(9)
        result = usual(*args, **kwargs)
        if wanted(*args): os._exit(9)
        return result
    setattr(owner, name, killed)

def is_file(*args): return any(str(arg).endswith(".parquet") for arg in args)
match sys.argv[1]:
    case "followup": kill(loading.Load, "create_followup_jobs", True, lambda *args: True)
    case "moved": kill(PackageStorage, "complete_job", True, is_file)
    case "merge": kill(SqlLoadJob, "run", True, lambda *args: True)
    case "merged": kill(SqlLoadJob, "run", False, lambda *args: True)
load(open_pipeline(), [pq.read_table("rows.parquet")], fast=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("moment", KILLED_AT)
def test_whoever_goes_on_after_a_kill_loses_nothing(own_folder: Path, moment: str, fast: bool) -> None:
    """Also dlt alone, which knows nothing of merges from files."""
    pipeline = open_pipeline()
    load(pipeline, [rows(0, 30, text="a")], fast=True)
    pq.write_table(rows(20, 60, text="b"), "rows.parquet")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, "-c", KILLED, moment], env=environment, check=False)
    assert killed.returncode == 9
    with loading_fast(pipeline) if fast else nullcontext():
        pipeline.load()
    expected = [(id_, "a" if id_ < 20 else "b") for id_ in range(60)]
    assert query(pipeline, "SELECT id, text FROM things ORDER BY id") == expected


def test_rows_too_long_for_little_memory_are_loaded_all_the_same(own_folder: Path) -> None:
    """As if the API began to add transcripts: a field of some KB, which does not compress."""
    pipeline = connector.open_pipeline("long", "duckdb", "vbc")
    texts = pa.array([os.urandom(8_192).hex() for _ in range(4_000)])
    load(pipeline, [rows(0, 4_000).append_column("text", texts)], fast=True)
    assert query(pipeline, "SELECT count(*), min(length(text)) FROM things") == [(4_000, 16_384)]


def test_a_memory_limit_of_the_users_own_is_kept(own_folder: Path) -> None:
    credentials = DuckDbCredentials("own.duckdb", global_config={"memory_limit": "50MB", "threads": 1})
    pipeline = dlt.pipeline("own", destination=dlt.destinations.duckdb(credentials), dataset_name="vbc")
    texts = pa.array([os.urandom(8_192).hex() for _ in range(4_000)])
    with pytest.raises(PipelineStepFailed, match="Out of Memory"):
        load(pipeline, [rows(0, 4_000).append_column("text", texts)], fast=True)
