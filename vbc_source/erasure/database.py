"""Rows in DuckDB and Postgres: loaded tables, staging tables and models; then the space that they leave.

Deleted rows stay readable in a DuckDB file until their blocks are used again, and in Postgres until a vacuum.
So the file is copied without them, and Postgres' tables are rewritten.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import duckdb

from vbc_source.analytics.models import PROJECT
from vbc_source.dlt_internals import DatabaseException
from vbc_source.durable_files import fsync, replace_file
from vbc_source.erasure.conditions import (
    KEPT,
    Erased,
    Kind,
    read_kind,
    write_condition,
    write_duckdb_match,
    write_postgres_match,
)
from vbc_source.erasure.subject import Subject
from vbc_source.errors import VbcError
from vbc_source.load.destinations import destination_kind
from vbc_source.load.destinations.duckdb import catalog_name

log = logging.getLogger(__name__)

_DRAFT = ".erasure"  # suffix of the copy of a DuckDB file until it takes the file's place
_PART = 500  # rows of one insert
_READ_BY_VIEW = "0A000"  # of PostgreSQL: a view uses the column


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table that holds rows to erase.

    Attributes:
        schema: Its schema.
        name: Its name.
        rows: Rows to erase.
        is_ours: Whether dlt or our models made it; rows of other tables are left to their owner.
    """

    schema: str
    name: str
    rows: int
    is_ours: bool

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.schema}.{self.name}"


class DatabaseRows:
    """The rows of one erasure in a database; the caller holds the locks."""

    def __init__(
        self, pipeline: dlt.Pipeline, subject: Subject, tables: Sequence[str], models_schema: str
    ) -> None:
        self._pipeline, self._subject, self._known = pipeline, subject, frozenset(tables)
        self.kind, self._models = destination_kind(pipeline.destination), models_schema
        self._match = write_postgres_match if self.kind == "postgres" else write_duckdb_match

    def find(self, erased: Erased) -> list[FoundTable]:
        """Count the rows to erase in every table of the dataset, its staging datasets and the models."""
        with self._open(erased) as client:
            return list(self._count(client))

    def _count(self, client: Any) -> Iterator[FoundTable]:
        for (schema, table), columns in _read_tables(client, self._models).items():
            where = self._write_condition(schema, table, columns, client)
            ((rows,),) = client.execute_sql(f"SELECT count(*) FROM {_name(schema, table)} AS t WHERE {where}")
            if rows:
                yield FoundTable(schema, table, int(rows), self._is_ours(schema, table, client))

    def erase(self, erased: Erased) -> int:
        """Delete the rows of all our tables, in one transaction; return how many there were."""
        with self._open(erased) as client:
            found = [table for table in self._count(client) if table.is_ours]
            for table in found:
                columns = _read_tables(client, self._models)[table.schema, table.name]
                where = self._write_condition(table.schema, table.name, columns, client)
                client.execute_sql(f"DELETE FROM {_name(table.schema, table.name)} AS t WHERE {where}")
        return sum(table.rows for table in found)

    def compact(self) -> list[str]:
        """Rewrite what deleted rows were in; return what could not be, in words."""
        if self.kind == "duckdb":
            config: Any = self._pipeline.destination_client().config
            return rewrite_file(Path(config.credentials.database))
        with self._pipeline.sql_client() as client:
            return list(self._vacuum(client))

    def find_named(self) -> list[str]:
        """Return the tables with a column that is named like the number: nothing removes those."""
        if not self._subject.digits:
            return []
        with self._pipeline.sql_client() as client:
            tables = _read_tables(client, self._models)
        return [
            f"{schema}.{table}"
            for (schema, table), columns in tables.items()
            if any(map(self._subject.is_in, columns))
        ]

    def _vacuum(self, client: Any) -> Iterator[str]:
        """Rewrite tables without dead rows, and renew their statistics, which hold frequent values."""
        for schema, table in _read_tables(client, self._models):
            name = _name(schema, table)
            # asked before: Postgres leaves out the table of another role with no more than a warning
            ((may,),) = client.execute_sql(
                "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c "
                "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
                schema,
                table,
            )
            if may:
                client.execute_sql(f"VACUUM (FULL, ANALYZE) {name}")
                yield from _clear_statistics(client, schema, table)
            else:
                yield f"dead rows of {schema}.{table} stay until its owner runs VACUUM (FULL, ANALYZE)"
        # The statistics before have become dead rows. Not FULL, which would stop all queries of the database
        # meanwhile; a login that does not own the database only gets a warning.
        client.execute_sql("VACUUM pg_catalog.pg_statistic")

    def _write_condition(self, schema: str, table: str, columns: Mapping[str, Kind], client: Any) -> str:
        if schema.startswith(client.dataset_name + "_staging"):
            return "true"  # scratch of a load, which empties them before it uses them
        return write_condition(table, columns, self._subject, self._match)

    def _is_ours(self, schema: str, table: str, client: Any) -> bool:
        if schema == self._models:
            return table in _list_models()
        # staging datasets are dlt's as a whole
        return schema != client.dataset_name or table in self._known

    @contextmanager
    def _open(self, erased: Erased) -> Iterator[Any]:
        """Begin a transaction whose temporary tables name the recordings and the calls.

        Outside of one, a pooler such as PgBouncer may run each statement in another session.
        """
        with self._pipeline.sql_client() as client, client.begin_transaction():
            for name, columns, rows in erased.list_tables():
                listed = ", ".join(f"{column} VARCHAR" for column in columns)
                client.execute_sql(f"CREATE TEMPORARY TABLE {name} ({listed})")
                for first in range(0, len(rows), _PART):
                    part = rows[first : first + _PART]
                    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(part))
                    values = [value for row in part for value in row]
                    client.execute_sql(f"INSERT INTO {name} VALUES {marks}", *values)
            yield client
            for name, _, _ in erased.list_tables():
                # the next user of a pooled session finds none of them
                client.execute_sql(f"DROP TABLE {name}")


def _read_tables(client: Any, models_schema: str) -> dict[tuple[str, str], dict[str, Kind]]:
    """Read the columns of all tables in which a row of ours may be."""
    rows = client.execute_sql(
        "SELECT c.table_schema, c.table_name, c.column_name, c.data_type "
        "FROM information_schema.columns AS c "
        "JOIN information_schema.tables AS t ON t.table_schema = c.table_schema "
        "AND t.table_name = c.table_name AND t.table_catalog = c.table_catalog "
        "WHERE t.table_type = 'BASE TABLE' AND t.table_catalog = current_catalog "
        "ORDER BY c.table_schema, c.table_name"
    )
    dataset = client.dataset_name
    tables: dict[tuple[str, str], dict[str, Kind]] = {}
    for schema, table, column, data_type in rows or ():
        # a prefix: each window of a backfill has a staging dataset of its own
        ours = schema in (dataset, models_schema) or schema.startswith(f"{dataset}_staging")
        if ours and not table.startswith("_dlt_") and table not in KEPT:
            tables.setdefault((schema, table), {})[column] = read_kind(data_type)
    return tables


def _list_models() -> frozenset[str]:
    return frozenset(path.stem.removeprefix("vbc__") for path in (PROJECT / "models").rglob("vbc__*.sql"))


def _name(schema: str, table: str) -> str:
    return f'"{schema}"."{table}"'


def _clear_statistics(client: Any, schema: str, table: str) -> Iterator[str]:
    """Remove the statistics of a table that is empty: ANALYZE keeps those of the rows that it had.

    The owner of a table can do that: by setting the type of its columns to the type that they have.
    """
    name = _name(schema, table)
    if client.execute_sql(f"SELECT 1 FROM {name} LIMIT 1"):
        return
    columns = client.execute_sql(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a "
        "JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        schema,
        table,
    )
    changes = ", ".join(f'ALTER COLUMN "{column}" TYPE {kind}' for column, kind in columns)
    try:
        client.execute_sql(f"ALTER TABLE {name} {changes}")
    except DatabaseException as error:
        if getattr(error.dbapi_exception, "pgcode", None) != _READ_BY_VIEW:
            raise
        yield f"{schema}.{table} is empty, and its statistics stay while a view reads it: drop the view"


def rewrite_file(database: Path) -> list[str]:
    """Copy a DuckDB file without its free blocks, and let the copy take its place.

    The caller keeps other processes of ours away. A kill leaves the file as it was, or the copy complete.

    Returns:
        Why it was not possible, in words; nothing where it was.
    """
    draft = database.with_name(database.name + _DRAFT)
    # DuckDB would play the log that a killed copy has left back into the new one
    for leftover in (draft, draft.with_name(draft.name + ".wal")):
        leftover.unlink(missing_ok=True)
    needed, free = database.stat().st_size, shutil.disk_usage(database.parent).free
    if free < needed:
        return [
            f"free blocks of {database.name} stay readable: its copy needs {needed:,} bytes, and "
            f"{free:,} are free"
        ]
    try:
        _copy(database, draft)
    except duckdb.Error as error:
        draft.unlink(missing_ok=True)
        return [f"free blocks of {database.name} stay readable: it cannot be copied: {type(error).__name__}"]
    # DuckDB makes the copy by the umask; the file may be more private
    draft.chmod(database.stat().st_mode & 0o777)
    replace_file(draft, database)
    # a checkpoint has put all of it into the file that was copied
    database.with_name(database.name + ".wal").unlink(missing_ok=True)
    # rows that did not fit into memory, of a process that was killed: nobody has the file open now
    shutil.rmtree(database.with_name(database.name + ".tmp"), ignore_errors=True)
    fsync(database.parent)
    return []


def _copy(database: Path, draft: Path) -> None:
    name = catalog_name(str(database))
    with duckdb.connect() as connection:
        # views name the database that they are in, so it keeps its name
        connection.execute(f"ATTACH '{_escape(database)}' AS \"{name}\"")
        connection.execute(f'CHECKPOINT "{name}"')
        connection.execute(f"ATTACH '{_escape(draft)}' AS vbc_erasure_copy")
        connection.execute(f'COPY FROM DATABASE "{name}" TO vbc_erasure_copy')
        _compare(connection, name)
        # closes the copy, which is one whole file then
        connection.execute("DETACH vbc_erasure_copy")


def _compare(connection: Any, name: str) -> None:
    """Raise VbcError unless the copy has every table with as many rows, and every view."""
    counts = []
    for database in (name, "vbc_erasure_copy"):
        tables = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY ALL",
            [database],
        ).fetchall()
        views = connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal "
            "ORDER BY ALL",
            [database],
        ).fetchall()
        sizes = [
            connection.execute(f'SELECT count(*) FROM "{database}"."{schema}"."{table}"').fetchall()
            for schema, table in tables
        ]
        counts.append((tables, views, sizes))
    if counts[0] != counts[1]:
        raise VbcError("the copy of the DuckDB file differs from it; the file is left as it is")


def _escape(path: Path) -> str:
    return str(path).replace("'", "''")
