"""The client of `VbcPostgres`: its merge, and its indexes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq

from vbc_source.dlt_internals import (
    DatabaseException,
    PostgresClient,
    PostgresParquetCopyJob,
    SqlMergeFollowupJob,
)
from vbc_source.load.destinations.added_columns import AddsColumns

log = logging.getLogger(__name__)

_OTHER_MERGES = ("x-merge-source-filter", "x-merge-destination-scope")
_LONGEST_NAME = 63  # of anything in Postgres
_INDEXED = "start"  # nearly every query asks for a span of it


class VbcPostgresClient(AddsColumns, PostgresClient):
    """Merges without writing unchanged rows, and creates the indexes that merges and queries use."""

    def create_load_job(self, table: Any, file_path: str, load_id: str, restore: bool = False) -> Any:
        """Make the job that loads one file."""
        job = super().create_load_job(table, file_path, load_id, restore)
        return CopyRowsJob(file_path) if type(job) is PostgresParquetCopyJob else job

    def _create_merge_followup_jobs(self, table_chain: Sequence[Any]) -> list[Any]:
        return [MergeChangedJob.from_table_chain(table_chain, self.sql_client)]

    def complete_load(self, load_id: str) -> None:
        """Create missing indexes, then mark the load as complete.

        Not before the rows are loaded: building an index over loaded rows is faster. Not in the transaction
        of a merge: two loads at once, each with rows written, would wait for each other.
        """
        sql = self.sql_client
        listed = "SELECT indexname FROM pg_indexes WHERE schemaname = %s"
        known = {name for (name,) in sql.execute_sql(listed, sql.dataset_name) or ()}
        for table in self.schema.data_tables(seen_data_only=True):
            for name, columns in _name_indexes(table):
                if name not in known:
                    self._create_index(name, str(table["name"]), columns)
        # the row in `_dlt_loads` comes last: from then on, the load's proofs count
        super().complete_load(load_id)

    def _create_index(self, name: str, table: str, columns: Sequence[str]) -> None:
        sql = self.sql_client
        names = ", ".join(map(sql.escape_column_name, columns))
        place = f"{sql.make_qualified_table_name(table)} ({names})"
        statement = f"CREATE INDEX IF NOT EXISTS {sql.escape_column_name(name)} ON {place}"
        try:
            sql.execute_sql(statement)
        except DatabaseException:
            # the table may be another role's; loading is right without an index, only slower
            log.warning("an index could not be created, so merges are slow; let the owner run: %s", statement)


def _name_indexes(table: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name and the columns of each index that a table should have."""
    columns = table["columns"]
    primary, merge = (
        tuple(name for name, column in columns.items() if column.get(hint))
        for hint in ("primary_key", "merge_key")
    )
    keys = [primary] if table.get("write_disposition") == "merge" else []
    # an index on the primary key serves a merge key that it begins with
    if keys and merge != primary[: len(merge)]:
        keys.append(merge)
    if columns.get(_INDEXED, {}).get("data_type") == "timestamp":
        keys.append((_INDEXED,))
    for key in filter(None, keys):
        name = f"vbc_{table['name']}_{'_'.join(key)}"
        # Postgres would cut it: the index would be looked for, and not found, after each load
        if len(name) > _LONGEST_NAME:
            name = f"vbc_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        yield name, key


class CopyRowsJob(PostgresParquetCopyJob):
    """dlt's own job, which fails for a file without rows."""

    def run(self) -> None:
        """Copy the file into its staging table, or into the table itself."""
        if pq.read_metadata(self._file_path).num_rows:
            super().run()


class MergeChangedJob(SqlMergeFollowupJob):
    """dlt's strategy `delete-insert`, which leaves rows alone that are there already, unchanged."""

    @classmethod
    def gen_merge_sql(cls, table_chain: Sequence[Any], sql_client: Any) -> list[str]:
        """Write the statements of the merge; dlt runs them in one transaction."""
        table = table_chain[0]
        if len(table_chain) > 1 or not _is_plain(table):
            return list(super().gen_merge_sql(table_chain, sql_client))
        escape = sql_client.escape_column_name
        target, staging = sql_client.get_qualified_table_names(table["name"])
        primary, merge = (
            [escape(name) for name, column in table["columns"].items() if column.get(hint)]
            for hint in ("primary_key", "merge_key")
        )
        _, kept = cls._get_hard_delete_col_and_cond(
            table, escape, sql_client.capabilities.escape_literal, invert=True, alias="s."
        )
        kept = kept or "true"
        changed = cls.gen_changed_cond(table, escape) or "false"
        unchanged = f"SELECT 1 FROM {staging} AS s WHERE {_join(primary)} AND {kept} AND NOT ({changed})"
        deletes = [
            f"DELETE FROM {target} AS d WHERE EXISTS (SELECT 1 FROM {staging} AS s WHERE {_join(key)}) "
            f"AND NOT EXISTS ({unchanged})"
            for key in (primary, merge)
            if key
        ]
        names = [escape(name) for name in table["columns"]]
        # a load that was killed while it copied into the staging table has copied some rows twice
        rows = f"SELECT DISTINCT ON ({', '.join(primary)}) {', '.join(names)} FROM {staging} AS s"
        new = f"NOT EXISTS (SELECT 1 FROM {target} AS d WHERE {_join(primary)})"
        insert = f"INSERT INTO {target} ({', '.join(names)}) {rows} WHERE {kept} AND {new}"
        # without statistics, the plan for a table just written may be one for a handful of rows
        return [f"ANALYZE {staging}", *deletes, insert]


def _is_plain(table: Any) -> bool:
    """Whether rows are merged by a primary key alone, and can be compared: Postgres cannot compare JSON."""
    columns = table["columns"].values()
    return (
        any(column.get("primary_key") for column in columns)
        and not any(map(table.get, _OTHER_MERGES))
        and not any("dedup_sort" in column or column.get("data_type") == "json" for column in columns)
    )


def _join(key: Sequence[str]) -> str:
    return " AND ".join(f"d.{column} = s.{column}" for column in key)
