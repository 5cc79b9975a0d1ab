"""Has `vbc sync` load into DuckDB in half the time that dlt takes by itself; what is loaded is the same.

dlt copies a file into a staging table, numbers the rows there to find repetitions, and merges from
there. DuckDB merges from a file as well as from a table, which saves the copy and its room on disk.
dlt's own merge follows all the same, and finds the staging table empty; so whoever goes on after a
kill, dlt alone too, merges once more or finds it done.

A load keeps to little memory (`LITTLE_MEMORY`), which is plenty for recordings as they are. A table that
wants more, since its rows have become long, gets what DuckDB takes by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.destination.client import HasFollowupJobs, RunnableLoadJob
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.impl.duckdb.duck import DuckDbClient
from dlt.destinations.sql_jobs import SqlMergeFollowupJob

from vbc_source.load.database_lock import find_kind

log = logging.getLogger(__name__)

# DuckDB's own limit is most of the machine; what does not fit goes to disk. dlt loads several tables at once:
# with a thread for each, that takes less time than with several
LITTLE_MEMORY = {"memory_limit": "64MB", "threads": 1}
PATIENCE = 2  # times that a job may lack memory before it gets more


@contextmanager
def loading_fast(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Merge from files, and keep a DuckDB database open; other destinations are left as they are.

    Without an open connection each of dlt's clients writes all of the database out at its end.
    """
    if find_kind(pipeline) != "duckdb":
        yield
        return
    usual: Any = DuckDbClient.create_load_job

    def create_load_job(client: DuckDbClient, table: Any, file_path: str, *args: Any, **kwargs: Any) -> Any:
        if _can_be_merged(table, file_path):
            return _give_room(_MergeFromFile(file_path, table))
        job = usual(client, table, file_path, *args, **kwargs)
        return _give_room(job) if isinstance(job, RunnableLoadJob) else job

    client: Any = DuckDbClient
    client.create_load_job = create_load_job
    try:
        with pipeline.sql_client():
            yield
    finally:
        client.create_load_job = usual


def _give_room(job: RunnableLoadJob) -> RunnableLoadJob:
    """Have a job that little memory is too little for run once more, with DuckDB's own limit.

    Not at once: several jobs share it, and dlt tries one that failed again, when others may have ended.
    """
    usual = job.run

    def run() -> None:
        try:
            usual()
        except DatabaseTransientException as error:
            client: Any = job._job_client
            limited = client.config.credentials.global_config == LITTLE_MEMORY  # by us, not by the user
            lacking = isinstance(error.dbapi_exception, duckdb.OutOfMemoryException)
            if not (limited and lacking and job.job_file_info().retry_count >= PATIENCE):
                raise
            log.info("%s takes more memory than %s", job.load_table_name, LITTLE_MEMORY["memory_limit"])
            client.sql_client.execute_sql("RESET GLOBAL memory_limit")
            usual()

    setattr(job, "run", run)  # noqa: B010 - a method is not assigned otherwise
    return job


def _can_be_merged(table: Any, file_path: str) -> bool:
    """Whether a file holds all rows of its table in a package; of several, each could undo the one before."""
    file = ParsedLoadJobFileName.parse(file_path)
    strategy = table.get("x-merge-strategy", "delete-insert")
    if (table["write_disposition"], strategy, file.file_format) != ("merge", "delete-insert", "parquet"):
        return False
    others = Path(file_path).parent.parent.glob(f"*_jobs/{file.table_name}.*.parquet")
    return all(path.name.split(".")[1] == file.file_id for path in others)


class _MergeFromFile(RunnableLoadJob, HasFollowupJobs):
    """Merges as dlt does, from a file in the place of the staging table."""

    def __init__(self, file_path: str, table: Any) -> None:
        super().__init__(file_path)
        self._table = table

    def run(self) -> None:
        """Merge; all of it, or nothing."""
        client: Any = self._job_client
        sql, dataset = client.sql_client, client.config.normalize_dataset_name(client.schema)
        file = f"read_parquet('{self._file_path.replace(chr(39), 2 * chr(39))}', hive_partitioning = false)"
        with sql.with_alternative_dataset_name(dataset), sql.begin_transaction():
            told: Any = {**self._table, "x-stage-data-deduplicated": self._is_distinct(sql, file)}
            _, staging = sql.get_qualified_table_names(self._table["name"])
            # the staging table, empty itself, brings columns that the file lacks
            source = f"(SELECT * FROM {staging} WHERE false UNION ALL BY NAME SELECT * FROM {file})"
            for statement in SqlMergeFollowupJob.generate_sql([told], sql):
                sql.execute_sql(statement.replace(staging, source))

    def _is_distinct(self, sql: Any, file: str) -> bool:
        """Whether no key is there twice: asking is cheaper than sorting, which dlt does else."""
        columns = self._table["columns"].items()
        keys = [sql.escape_column_name(name) for name, column in columns if column.get("primary_key")]
        query = f"SELECT count(*) = count(DISTINCT ({', '.join(keys)})) FROM {file}"
        return bool(keys) and sql.execute_sql(query) == [(True,)]
