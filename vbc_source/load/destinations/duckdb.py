"""A DuckDB destination that merges a table from its parquet file, with little memory.

dlt copies a file into a staging table, removes repeated keys there, and merges from the staging table. DuckDB
merges from a parquet file just as well, which saves the copy and takes half the time. What is loaded is the
same.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import dlt
import duckdb

from vbc_source.dlt_internals import (
    DuckDbClient,
    DuckDbCopyJob,
    HasFollowupJobs,
    ParquetFormatConfiguration,
    ParsedLoadJobFileName,
    RunnableLoadJob,
)
from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.destinations.added_columns import AddsColumns
from vbc_source.load.destinations.cached_configuration import CachedConfiguration

log = logging.getLogger(__name__)

# DuckDB's default limit is most of the machine's memory. Recordings need far less: what does not fit goes to
# disk. A second thread takes more memory and saves no time.
LITTLE_MEMORY = {"memory_limit": "64MB", "threads": "1"}
RETRIES_BEFORE_MORE_MEMORY = 2  # some retries have other reasons than memory
_HEADER_BYTES = 3 * 4096  # DuckDB writes three header blocks first; a smaller file is no database yet
_MERGE_HINTS = ("x-merge-source-filter", "x-merge-destination-scope", "x-merge-skip-unchanged-rows")


class VbcDuckDb(CachedConfiguration, dlt.destinations.duckdb):
    """dlt's DuckDB destination with a client of ours.

    Pass it to your own pipeline for the speed and memory of `vbc sync`:
    `dlt.pipeline("vbc", destination=VbcDuckDb("vbc.duckdb"), dataset_name="vbc_data")`. It takes the
    arguments and the configuration (`[destination.duckdb]`) of dlt's own.
    """

    # no __init__ here: dlt reads the defaults of its arguments from its signature

    @property
    def client_class(self) -> type[VbcDuckDbClient]:
        """The client that dlt loads with."""
        return VbcDuckDbClient

    @property
    def destination_type(self) -> str:
        """The type that dlt keeps in state: dlt's own, since the data is the same and dlt can load it too."""
        return "dlt.destinations.duckdb"

    def capabilities(self, *args: Any, **kwargs: Any) -> Any:
        """Return dlt's capabilities, with two jobs at a time: all share one memory limit."""
        capabilities = super().capabilities(*args, **kwargs)
        capabilities.max_parallel_load_jobs = 2
        # files that are read once are not worth the time of compressing them
        capabilities.parquet_format = ParquetFormatConfiguration(compression="none")
        return capabilities

    def _share(self, config: Any) -> Any:
        config = config.copy()
        config.credentials.on_resolved()  # makes the pool of connections that a copy lacks
        return config


class VbcDuckDbClient(AddsColumns, DuckDbClient):
    """Merges a table whose rows are one parquet file from that file; everything else is dlt's."""

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Make the dataset."""
        # here too, for pipelines of the user's own: the commands check it before a request is sent
        check_dataset_name(self.config.credentials.database, self.sql_client.dataset_name)
        super().initialize_storage(truncate_tables)  # type: ignore[arg-type]

    def create_load_job(self, table: Any, file_path: str, load_id: str, restore: bool = False) -> Any:
        """Make the job that loads one file."""
        # the same question as below, where the follow-up jobs are made: a file is merged
        # here, or by them, never twice
        if self._is_single(table) and _is_mergeable(table, file_path):
            return MergeFileJob(file_path, self.config.normalize_dataset_name(self.schema))
        job = super().create_load_job(table, file_path, load_id, restore)
        return CopyFileJob(file_path) if type(job) is DuckDbCopyJob else job

    def create_table_chain_completed_followup_jobs(
        self, table_chain: Sequence[Any], completed_table_chain_jobs: Sequence[Any] | None = None
    ) -> list[Any]:
        """Make the jobs that follow when all files of a table are loaded: none where its file was merged."""
        jobs = completed_table_chain_jobs or ()
        root = table_chain[0]
        if jobs and self._is_single(root) and all(_is_mergeable(root, str(job.file_path)) for job in jobs):
            return []
        return super().create_table_chain_completed_followup_jobs(table_chain, completed_table_chain_jobs)

    def _is_single(self, table: Any) -> bool:
        """Whether a table has no nested tables, which dlt merges together with it."""
        return all(other.get("parent") != table["name"] for other in self.schema.tables.values())


class CopyFileJob(DuckDbCopyJob):
    """dlt's own job for a file in any folder, with more memory where `LITTLE_MEMORY` is too little."""

    def run(self) -> None:
        """Copy the file into its staging table, or into the table itself."""
        parquet = self.job_file_info().file_format == "parquet"
        _run_with_memory(self, self._copy if parquet else super().run)

    def _copy(self) -> None:
        client: Any = self._job_client
        table = client.sql_client.make_qualified_table_name(self.load_table_name)
        file = _read_parquet(client.sql_client, self._file_path)
        client.sql_client.execute_sql(f"INSERT INTO {table} BY NAME SELECT * FROM {file}")


class MergeFileJob(RunnableLoadJob, HasFollowupJobs):
    """Merges a parquet file into its table."""

    def __init__(self, file_path: str, dataset: str) -> None:
        super().__init__(file_path)
        self._dataset = dataset

    def run(self) -> None:
        """Merge the file."""
        _run_with_memory(self, self._merge)

    def _merge(self) -> None:
        """Replace the rows of the file's keys in one transaction; repeating it changes nothing."""
        client: Any = self._job_client
        sql = client.sql_client
        # dlt opens the client of a merge in the staging dataset; this file goes into the table itself
        with sql.with_alternative_dataset_name(self._dataset), sql.begin_transaction():
            expected, inserted = _merge_file(sql, self._load_table, self._file_path)
            # in the transaction, so that a wrong count leaves the table as it was
            if inserted != expected:
                raise VbcError(
                    f"{self.load_table_name}: {inserted} rows were inserted, {expected} are in the file"
                )


def _run_with_memory(job: RunnableLoadJob, run: Callable[[], None]) -> None:
    """Run a job with little memory; where that was too little several times, with DuckDB's own limit.

    The settings concern the whole process's connection to the file, and end with it. What the user has set in
    `[destination.duckdb.credentials] global_config` is left alone.
    """
    client: Any = job._job_client
    configured = client.config.credentials.global_config or {}
    limits = dict(LITTLE_MEMORY)
    if job.job_file_info().retry_count >= RETRIES_BEFORE_MORE_MEMORY:
        with duckdb.connect() as database:  # RESET restores the setting's text, not the limit (DuckDB 1.5)
            own_limit = database.execute("SELECT current_setting('memory_limit')").fetchall()
        limits["memory_limit"] = str(own_limit[0][0])
        retries, memory = job.job_file_info().retry_count, LITTLE_MEMORY["memory_limit"]
        log.info("%s failed %d times: it may use more memory than %s", job.load_table_name, retries, memory)
    for name, value in limits.items():
        if name not in configured:
            client.sql_client.execute_sql(f"SET GLOBAL {name} = '{value}'")
    run()


def _read_parquet(sql: Any, path: str) -> str:
    """Write the reading of a parquet file; a folder's name may hold a quote, or a "=" as partitions have."""
    return f"read_parquet({sql.capabilities.escape_literal(path)}, hive_partitioning = false)"


def _merge_file(sql: Any, table: Any, path: str) -> tuple[int, int]:
    """Merge a parquet file by dlt's strategy `delete-insert`; return its number of keys, and of new rows."""

    def find(hint: str) -> list[str]:
        return [sql.escape_column_name(name) for name, column in table["columns"].items() if column.get(hint)]

    name, file = sql.make_qualified_table_name(table["name"]), _read_parquet(sql, path)
    keys = ", ".join(find("primary_key"))
    # a null is no deletion, and `NOT column` would leave its row out
    kept = " AND ".join(f"{column} IS DISTINCT FROM true" for column in find("hard_delete")) or "true"
    ((expected, is_repeated),) = sql.execute_sql(
        "SELECT count(*) FILTER (WHERE kept > 0), coalesce(max(kept) > 1, false) "
        f"FROM (SELECT count(*) FILTER (WHERE {kept}) AS kept FROM {file} GROUP BY {keys})"
    )
    # by the merge key as well: of a list, all items go, also those beyond its new end
    for key in filter(None, (find("primary_key"), find("merge_key"))):
        same = " AND ".join(f"d.{column} = s.{column}" for column in key)
        sql.execute_sql(f"DELETE FROM {name} AS d WHERE EXISTS (SELECT 1 FROM {file} AS s WHERE {same})")
    rows = f"SELECT * FROM {file} WHERE {kept}"
    if is_repeated:  # numbering the rows takes longer than counting them
        rows += f" QUALIFY row_number() OVER (PARTITION BY {keys}) = 1"
    # by name: the file may lack columns that earlier loads had
    ((inserted,),) = sql.execute_sql(f"INSERT INTO {name} BY NAME {rows}")
    return expected, inserted


def _is_mergeable(table: Any, file_path: str) -> bool:
    """Whether a file holds all rows of its table in a package: of several, each could undo the one before."""
    file = ParsedLoadJobFileName.parse(file_path)
    columns = table["columns"].values()
    if (table["write_disposition"], file.file_format) != ("merge", "parquet") or table.get("parent"):
        return False
    if table.get("x-merge-strategy", "delete-insert") != "delete-insert" or any(map(table.get, _MERGE_HINTS)):
        return False
    if not any(column.get("primary_key") for column in columns) or any("dedup_sort" in c for c in columns):
        return False
    # in every folder of the package: dlt moves a file from new to started to completed jobs
    jobs = Path(file_path).parent.parent.glob(f"*_jobs/{file.table_name}.*.parquet")
    return all(path.name.split(".")[1] == file.file_id for path in jobs)


def catalog_name(database: str) -> str:
    """Return what DuckDB calls a database: its file's name up to the first dot."""
    return PurePath(database).name.split(".")[0]


def check_dataset_name(database: Any, dataset: str) -> None:
    """Refuse a dataset named like the file: DuckDB cannot tell `vbc.table` from `vbc.vbc.table` then."""
    if isinstance(database, str) and catalog_name(database).lower() == dataset.lower():
        raise SettingsError(
            f"dataset {dataset} is named like the DuckDB file {PurePath(database).name}, and DuckDB cannot "
            "tell them apart in queries: choose another --dataset (dataset_name in Python), such as vbc_data"
        )


def remove_half_made(database: Path) -> None:
    """Remove a DuckDB file that a killed process has only begun: it has no data, and DuckDB cannot open it.

    Any other file stays, also one that another process is creating just now. On Windows, where an open file
    cannot be removed, nothing is.
    """
    try:
        if not database.is_file() or database.stat().st_size >= _HEADER_BYTES:
            return
        with database.open("rb+") as file:
            if sys.platform != "win32":  # as DuckDB locks it
                import fcntl

                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # a header begins with its checksum, and "DUCK" follows at byte 8
            head = file.read()
            if head[8:12] == b"DUCK" or not any(head):
                database.unlink()
    except OSError:
        log.debug("%s is left as it is: another process holds it", database)
