"""Our DuckDB destination loads the same rows as dlt's own, whatever happens on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from loading import query

from vbc_source import Target, VbcDuckDb
from vbc_source.dlt_internals import DuckDbCredentials
from vbc_source.errors import SettingsError
from vbc_source.load.destinations import open_destination
from vbc_source.load.destinations.added_columns import ADDED_VALUE
from vbc_source.load.destinations.duckdb import MergeFileJob, _merge_file, catalog_name, check_dataset_name

KILLED_AT = ("followup", "moved", "merge", "merged")
KEY = ("account", "id")


def rows(first: int, last: int, **columns: Any) -> pa.Table:
    """Make rows with keys from first to last, and further columns of one value."""
    ids = list(range(first, last))
    return pa.table(
        {
            "account": ["1"] * len(ids),
            "id": ids,
            **{name: [value] * len(ids) for name, value in columns.items()},
        }
    )


def open_pipeline(name: str = "test", factory: Any = VbcDuckDb) -> dlt.Pipeline:
    return dlt.pipeline(
        name, destination=factory(str(Path.cwd() / f"{name}_db.duckdb")), dataset_name="vbc_data"
    )


def load(pipeline: dlt.Pipeline, tables: Sequence[pa.Table], **hints: Any) -> None:
    @dlt.resource(name="things", write_disposition="merge", **{"primary_key": KEY, **hints})
    def things() -> Iterator[pa.Table]:
        yield from tables

    pipeline.run(things())


LOADS = {
    "new": [[rows(0, 50, text="a")]],
    "changed": [[rows(0, 50, text="a")], [rows(40, 60, text="b")]],
    "a column less": [[rows(0, 50, text="a", more=1)], [rows(40, 60, text="b")]],
    "a column more": [[rows(0, 50, text="a")], [rows(40, 60, text="b", more=1)]],
    "twice in one file": [[rows(0, 50, text="a"), rows(0, 10, text="a")]],
    "in two files": [[rows(0, 50, text="a"), rows(50, 90, text="a", more=1)]],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    LOADS,
)
def test_the_same_rows_are_loaded_as_by_dlt_alone(name: str) -> None:
    found = []
    for factory in (dlt.destinations.duckdb, VbcDuckDb):
        pipeline = open_pipeline(f"by_{factory.__name__.lower()}", factory)
        for tables in LOADS[name]:
            load(pipeline, tables)
        columns = ", ".join(sorted(pipeline.default_schema.tables["things"]["columns"]))
        found.append(sorted(query(pipeline, f"SELECT {columns} FROM things"), key=str))
    assert found[0] == found[1]
    assert len(found[0]) == max(table["id"][-1].as_py() + 1 for tables in LOADS[name] for table in tables)


def test_a_merge_key_clears_the_rest_of_a_list_and_a_marked_row_is_not_inserted() -> None:
    hints = {
        "primary_key": (*KEY, "position"),
        "merge_key": KEY,
        "columns": {"is_empty": {"hard_delete": True}},
    }
    pipeline = open_pipeline()
    items = pa.table(
        {
            "account": ["1"] * 5,
            "id": [1, 1, 1, 2, 3],
            "position": [0, 1, 2, 0, 0],
            "is_empty": pa.nulls(5, pa.bool_()),
        }
    )
    load(pipeline, [items], **hints)
    shorter = pa.table(
        {
            "account": ["1"] * 2,
            "id": [1, 2],
            "position": [0, 0],
            "is_empty": pa.array([None, True], pa.bool_()),
        }
    )
    load(pipeline, [shorter], **hints)
    assert query(pipeline, "SELECT id, position FROM things ORDER BY id, position") == [(1, 0), (3, 0)]


def test_one_file_is_merged_without_the_staging_table() -> None:
    pipeline = open_pipeline()
    load(pipeline, [rows(0, 50, text="a")])
    with pipeline.sql_client() as client, client.with_staging_dataset():
        staged = client.make_qualified_table_name("things")
        assert client.execute_sql(f"SELECT count(*) FROM {staged}") == [(0,)]


def test_a_key_counts_once_with_any_row_that_is_kept_and_marked_rows_count_for_nothing() -> None:
    hints = {"columns": {"is_empty": {"hard_delete": True}}}
    pipeline, table = open_pipeline(), rows(0, 3, is_empty=None)
    marked = table.set_column(2, "is_empty", pa.array([True, True, None]))
    load(pipeline, [rows(0, 4, is_empty=None).cast(marked.schema)], **hints)
    # 0 is marked twice, 1 marked and kept, 2 kept twice, 3 not in the file
    load(pipeline, [marked, marked.slice(0, 1), table.slice(1).cast(marked.schema)], **hints)
    assert query(pipeline, "SELECT id, count(*) FROM things GROUP BY id ORDER BY id") == [
        (1, 1),
        (2, 1),
        (3, 1),
    ]


def test_files_that_are_read_once_are_not_compressed() -> None:
    pipeline = open_pipeline()
    pipeline.extract(pa.table({"id": [1, 2]}), table_name="things")
    pipeline.normalize()
    (file,) = Path(pipeline.working_dir).glob("**/things.*.parquet")
    assert pq.read_metadata(file).row_group(0).column(0).compression == "UNCOMPRESSED"


def test_dlt_uses_our_job_for_a_file_that_holds_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new dlt that no longer calls `create_load_job` or runs the job otherwise fails here."""
    merged: list[str] = []
    merge = MergeFileJob._merge

    def record(job: MergeFileJob) -> None:
        merged.append(job.load_table_name)
        merge(job)

    monkeypatch.setattr(MergeFileJob, "_merge", record)
    load(open_pipeline(), [rows(0, 5)])
    assert merged == ["things"]


@pytest.mark.slow
def test_a_required_column_is_added_to_a_table_with_rows() -> None:
    """As an upgrade does: rows that are there lack it, or have what they stand for."""
    pipeline = open_pipeline()
    load(pipeline, [rows(0, 2)])
    hints: Any = {"primary_key": ("account", "id", "version"), "columns": {"version": {ADDED_VALUE: 1}}}
    newer = rows(1, 3, version=1, kind="new")
    load(pipeline, [newer.cast(pa.schema([field.with_nullable(False) for field in newer.schema]))], **hints)
    expected = [(0, 1, None), (1, 1, "new"), (2, 1, "new")]
    assert query(pipeline, "SELECT id, version, kind FROM things ORDER BY id") == expected


@pytest.mark.slow
def test_nested_tables_are_merged_with_their_parents() -> None:
    """Our own tables have none; those of a user's pipeline may."""
    pipeline = open_pipeline()
    for parts in (["a", "b"], ["c"]):
        things = dlt.resource(
            [{"id": 1, "parts": parts}], name="things", primary_key="id", write_disposition="merge"
        )
        pipeline.run(things, loader_file_format="parquet")
    assert query(pipeline, "SELECT value FROM things__parts") == [("c",)]


def test_rows_that_do_not_add_up_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = open_pipeline()
    load(pipeline, [rows(0, 50, text="a")])
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    monkeypatch.setattr(
        "vbc_source.load.destinations.duckdb._merge_file", lambda *args: (51, _merge_file(*args)[1])
    )
    with pytest.raises(PipelineStepFailed, match="50 rows were inserted, 51 are in the file"):
        load(pipeline, [rows(0, 50, text="b")])
    assert query(pipeline, "SELECT DISTINCT text FROM things") == [("a",)]
    monkeypatch.undo()


def test_each_client_has_its_dataset_and_connections_of_its_own() -> None:
    """The configuration is resolved once, and a connection that one client closes stays open for others."""
    destination = open_destination(Target())
    datasets = ["one", "one", "other"]
    clients: list[Any] = [
        dlt.dataset(destination, name, dlt.Schema("vbc")).destination_client for name in datasets
    ]
    assert [client.config.dataset_name for client in clients] == datasets
    assert {client.config.credentials.database for client in clients} == {str(Path.cwd() / "vbc.duckdb")}
    assert len({id(client.config.credentials.conn_pool) for client in clients}) == 3
    with clients[0].sql_client as kept:
        with clients[1].sql_client as closed:
            closed.execute_sql("SELECT 1")
        assert kept.execute_sql("SELECT 2") == [(2,)]


@pytest.mark.slow
def test_a_pipeline_of_your_own_may_be_run_with_other_settings_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = dlt.pipeline("own", destination=VbcDuckDb("first.duckdb"), dataset_name="vbc_data")
    pipeline.run([{"id": 1}], table_name="things")
    pipeline.run([{"id": 2}], table_name="things", credentials="second.duckdb")
    for name, id_ in (("first", 1), ("second", 2)):
        with duckdb.connect(f"{name}.duckdb") as connection:
            assert connection.execute("SELECT id FROM vbc_data.things").fetchall() == [(id_,)]
    destination = VbcDuckDb()
    for name in ("third", "fourth"):
        monkeypatch.setenv("DESTINATION__DUCKDB__CREDENTIALS", f"duckdb:///{name}.duckdb")
        client = dlt.dataset(destination, "vbc_data", dlt.Schema("vbc")).destination_client
        assert Path(client.config.credentials.database).name == f"{name}.duckdb"


KILLED = """
import os, sys
import pyarrow.parquet as pq
import dlt.load.load as loading
from dlt.common.storages.load_package import PackageStorage
from vbc_source.load.destinations.duckdb import MergeFileJob
from test_duckdb import load, open_pipeline

def kill(owner, name, before, condition):
    original = getattr(owner, name)
    def killed(*args, **kwargs):
        if before and condition(*args): os._exit(9)
        result = original(*args, **kwargs)
        if condition(*args): os._exit(9)
        return result
    setattr(owner, name, killed)

def is_file(*args): return any(str(arg).endswith(".parquet") for arg in args)
match sys.argv[1]:
    case "followup": kill(loading.Load, "create_followup_jobs", True, lambda *args: True)
    case "moved": kill(PackageStorage, "complete_job", True, is_file)
    case "merge": kill(MergeFileJob, "run", True, lambda *args: True)
    case "merged": kill(MergeFileJob, "run", False, lambda *args: True)
load(open_pipeline(), [pq.read_table("rows.parquet")])
"""


@pytest.mark.slow
@pytest.mark.parametrize("factory", [VbcDuckDb, dlt.destinations.duckdb])
@pytest.mark.parametrize("moment", KILLED_AT)
def test_the_next_run_completes_a_killed_load_also_with_dlts_own_destination(
    moment: str, factory: Any
) -> None:
    load(open_pipeline(), [rows(0, 30, text="a")])
    pq.write_table(rows(20, 60, text="b"), "rows.parquet")
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    killed = subprocess.run([sys.executable, "-c", KILLED, moment], env=environment, check=False)
    assert killed.returncode == 9
    pipeline = open_pipeline(factory=factory)
    pipeline.load()
    expected = [(id_, "a" if id_ < 20 else "b") for id_ in range(60)]
    assert query(pipeline, "SELECT id, text FROM things ORDER BY id") == expected


@pytest.mark.slow
def test_rows_too_long_for_our_memory_limit_are_loaded() -> None:
    """As if the API began to send transcripts: a field of some KB, which does not compress."""
    pipeline = open_pipeline("long")
    texts = pa.array([os.urandom(8_192).hex() for _ in range(4_000)])
    load(pipeline, [rows(0, 4_000).append_column("text", texts)])
    assert query(pipeline, "SELECT count(*), min(length(text)) FROM things") == [(4_000, 16_384)]


@pytest.mark.slow
def test_a_memory_limit_that_the_user_has_set_is_kept() -> None:
    credentials = DuckDbCredentials("own.duckdb", global_config={"memory_limit": "50MB", "threads": 1})
    pipeline = dlt.pipeline("own", destination=VbcDuckDb(credentials), dataset_name="vbc_data")
    texts = pa.array([os.urandom(8_192).hex() for _ in range(4_000)])
    with pytest.raises(PipelineStepFailed, match="Out of Memory"):
        load(pipeline, [rows(0, 4_000).append_column("text", texts)])


@pytest.mark.parametrize(
    ("database", "dataset", "refused"),
    [
        ("vbc.duckdb", "vbc", True),
        ("/data/VBC.duckdb", "vbc", True),
        ("vbc_data.prod.duckdb", "vbc_data", True),
        ("vbc.duckdb", "vbc_data", False),
        (":memory:", "memory", False),
    ],
)
def test_a_dataset_named_like_the_file_is_refused(database: str, dataset: str, refused: bool) -> None:
    if not refused:
        return check_dataset_name(database, dataset)
    with pytest.raises(SettingsError, match=f"dataset {dataset} is named like the DuckDB file"):
        check_dataset_name(database, dataset)
    return None


def test_the_catalog_is_what_duckdb_calls_the_file(own_folder: Path) -> None:
    for name in ("plain.duckdb", "calls.prod.duckdb"):
        with duckdb.connect(str(own_folder / name)) as database:
            assert database.execute("SELECT current_database()").fetchall() == [(catalog_name(name),)]


def test_dlt_itself_reads_what_our_destination_has_loaded() -> None:
    """State names dlt's own destination, so that `dlt pipeline`, `dlt.attach` and a plain pipeline work."""
    load(open_pipeline("vbc", lambda path: VbcDuckDb(path.replace("vbc_db", "vbc"))), [rows(0, 5)])
    attached = dlt.attach("vbc")
    assert attached.destination.destination_type == "dlt.destinations.duckdb"
    assert attached.dataset()["things"].select("id").fetchall() == [(id_,) for id_ in range(5)]
