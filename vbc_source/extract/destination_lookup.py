"""What is loaded already: the questions that extraction asks the destination, and tables that are files.

Loads do not remove rows from files. Plain files and Iceberg tables are appended to. Delta tables replace a
row by its key, but keep the rest of a list that became shorter. So each row carries the load that brought it,
and a query selects what counts: the newest load of a recording (docs/destinations.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.api.endpoints import Endpoint
from vbc_source.dlt_internals import load_pipeline_state_from_destination
from vbc_source.lakes.queries import LakeClient, needs_extension
from vbc_source.lakes.tables import is_lake, read_table
from vbc_source.schema.erased import DATABASES, ERASED, ERASED_KEY
from vbc_source.schema.names import AUDIO_SCHEMA, GONE, LOAD_ID
from vbc_source.windows import SECOND, Window

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
ListKey = tuple[str, ...]  # the values of the key columns of a list


@dataclass(frozen=True, slots=True)
class LoadedList:
    """The loaded rows of a list in a span.

    Attributes:
        ids: Their ids.
        newest: The newest `start` among them.
    """

    ids: pa.Array = field(default_factory=lambda: pa.array([], pa.int64()))
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A row of `scan_windows` that a later reading of the same window may replace.

    Attributes:
        id: Its key.
        is_complete: Whether the load that brought it is complete.
        scanned_at: When the window was read.
        readings: How many readings the row stands for.
        requests: Requests of all of them.
        rows_read: Rows of all of them.
    """

    id: str
    is_complete: bool
    scanned_at: datetime
    readings: int
    requests: int
    rows_read: int


class DestinationLookup:
    """Reads for one load what earlier runs have loaded.

    The destination is opened for each question, and only then. A failure is logged; the run then loads the
    rows, and leaves out what depends on the answer.
    """

    def __init__(self, pipeline: Any = None) -> None:
        self._given = pipeline
        self._loads: dict[str, bool] = {}  # by id: whether the load is complete

    @cached_property
    def _pipeline(self) -> Any:
        """The pipeline that loads; dlt resolves its configuration each time one asks for it."""
        return self._given or dlt.current.pipeline()

    @property
    def in_files(self) -> bool:
        """Whether the destination is files, to which rows are appended."""
        return is_lake(self._pipeline)

    def begin(self, schema: dlt.Schema, load_ids: Iterable[str]) -> None:
        """Create dropped tables again; ask a DuckDB file what every resource will ask.

        All at once: opening the file takes much longer than these questions. A question that fails here is
        asked again where its answer is needed.
        """
        if not self._pipeline.destination.destination_type.endswith(".duckdb"):
            self.restore_tables(schema)
            return
        with ExitStack() as stack:
            with suppress(Exception):  # each question tells by itself
                stack.enter_context(self._pipeline.sql_client())
            self.restore_tables(schema)
            for load_id in load_ids:
                self.has_load(load_id)
            with suppress(Exception):
                _ = self.erased

    def has_load(self, load_id: str) -> bool | None:
        """Return whether a load is complete in the destination, or waits to be loaded; None if not known."""
        if load_id not in self._loads:
            complete = self._ask_load(load_id)
            if complete is None:
                return None
            self._loads[load_id] = complete
        return self._loads[load_id]

    def _ask_load(self, load_id: str) -> bool | None:
        def ask(pipeline: Any) -> bool:
            # it is not loaded yet, but dlt loads what is pending before anything new
            if load_id in (
                *pipeline.list_extracted_load_packages(),
                *pipeline.list_normalized_load_packages(),
            ):
                return True
            if is_lake(pipeline):
                return _has_load_file(pipeline.destination_client(), load_id)
            with pipeline.sql_client() as client:
                table = client.make_qualified_table_name("_dlt_loads")
                id_, status = map(client.escape_column_name, ("load_id", "status"))
                # dlt writes this row last, when all jobs of the load are done
                sql = f"SELECT count(*) FROM {table} WHERE {id_} = %s AND {status} = 0"
                ((count,),) = client.execute_sql(sql, load_id) or ((0,),)
            return bool(count)

        return self._ask(ask, False, "which loads are complete")

    def _ask(self, question: Callable[[Any], Answer], missing: Any, subject: str) -> Answer | None:
        """Ask the destination; `missing` where the table is not there, None where it does not answer."""
        try:
            return question(self._pipeline)
        except DestinationUndefinedEntity:
            return missing  # type: ignore[no-any-return]
        except Exception as error:  # any error of any destination
            log.info("%s is not known: the destination raised %s", subject, type(error).__name__)
            return None

    @cached_property
    def erased(self) -> Mapping[ListKey, frozenset[str]]:
        """What was erased for good, by resource, account and user.

        What the destination raises where it does not answer is passed on: rows that were erased could be
        loaded again.
        """
        try:
            rows = _read_erased(self._pipeline)
        except DestinationUndefinedEntity:
            rows = []  # nothing was ever erased
        found: dict[ListKey, set[str]] = {}
        for account, resource, user, row_id in rows:
            found.setdefault((str(resource), str(account), str(user or "")), set()).add(str(row_id))
        return {key: frozenset(ids) for key, ids in found.items()}

    def read_state(self, source: str, resource: str) -> Mapping[str, Any]:
        """Read the state of a resource that the destination has; empty where it has none."""
        pipeline = self._pipeline
        try:
            with pipeline.destination_client() as client:
                state: Any = load_pipeline_state_from_destination(pipeline.pipeline_name, client) or {}
        except DestinationUndefinedEntity:
            return {}
        stored: Any = state.get("sources", {}).get(source, {}).get("resources", {}).get(resource, {})
        return dict(stored)

    def restore_tables(self, schema: dlt.Schema) -> bool:
        """Create tables again that were dropped; return whether there were any.

        dlt only looks at the schema that it has stored.
        """
        pipeline = self._pipeline
        names = schema.data_table_names(seen_data_only=True)
        if is_lake(pipeline) or not names:
            return False
        try:
            with dlt.dataset(
                pipeline.destination, pipeline.dataset_name, schema
            ).destination_client as client:
                found: Any = client
                absent = [name for name, columns in found.get_storage_tables(names) if not columns]
                # a schema that is not stored yet is created by the load itself
                if absent and found.get_stored_schema_by_hash(schema.stored_version_hash):
                    log.warning("tables were dropped, and are created again: %s", ", ".join(absent))
                    found.update_stored_schema(force=True)
                    return True
        except Exception as error:  # any error of any destination
            log.info("which tables there are is not known: the destination raised %s", type(error).__name__)
        return False

    def read_lists(
        self, endpoint: Endpoint, windows: Mapping[ListKey, Window | None]
    ) -> dict[ListKey, LoadedList] | None:
        """Read which rows of lists are loaded, each in its window of `start`, by one query."""

        def ask(pipeline: Any) -> Sequence[tuple[Any, ...]]:
            with _open(pipeline) as client:
                sql, values = _write_lists(client, endpoint, windows)
                return client.execute_sql(sql, *values) or ()

        # no table means no rows, but no answer means that nothing is known: the caller loads the rows again
        rows = self._ask(ask, (), f"which {endpoint.name} are loaded already")
        if rows is None:
            return None
        return _group_rows(rows, len(endpoint.key), pa.array([], endpoint.shape.id_kind).type)

    def read_newest(self, endpoint: Endpoint, now: datetime) -> dict[ListKey, datetime] | None:
        """Read the newest `start` of each list, up to now."""

        def ask(pipeline: Any) -> dict[ListKey, datetime]:
            with _open(pipeline) as client:
                start, *keys = map(client.escape_column_name, ("start", *endpoint.key))
                table, owner = client.make_qualified_table_name(endpoint.name), ", ".join(keys)
                # one start in the future, by a wrong clock, must not count as the newest for years
                sql = f"SELECT {owner}, max({start}) FROM {table} WHERE {start} <= %s GROUP BY {owner}"
                rows = client.execute_sql(sql, now) or ()
            return {tuple(map(str, key)): newest for *key, newest in rows}

        return self._ask(ask, {}, f"which {endpoint.name} are loaded already")

    def read_readings(self, ids: Sequence[str]) -> list[StoredReading] | None:
        """Read those rows of `scan_windows` that have one of some keys."""

        def ask(pipeline: Any) -> list[StoredReading]:
            with _open(pipeline) as client:
                named = ("reading_id", "scanned_at", "readings", "requests", "rows_read")
                columns = ", ".join(f"w.{client.escape_column_name(name)}" for name in named)
                windows, loads = map(client.make_qualified_table_name, ("scan_windows", "_dlt_loads"))
                sql = (
                    # DISTINCT, as a load that was killed at its very end is in `_dlt_loads` twice
                    f"SELECT DISTINCT {columns}, l.load_id IS NOT NULL FROM {windows} AS w "
                    f"LEFT JOIN {loads} AS l ON l.load_id = w._dlt_load_id AND l.status = 0 "
                    f"WHERE w.reading_id IN ({', '.join(['%s'] * len(ids))})"
                )
                rows = client.execute_sql(sql, *ids) or ()
            return [
                StoredReading(id_, bool(complete), at, *map(int, counts))
                for id_, at, *counts, complete in rows
            ]

        return self._ask(ask, [], "which windows were read before") if ids else []

    def read_present(
        self, endpoint: Endpoint, account: str, columns: Sequence[str]
    ) -> list[dict[str, Any]] | None:
        """Read the loaded rows of an account's snapshot that are not marked as gone."""
        try:
            pipeline = self._pipeline
            read = _read_files if is_lake(pipeline) else _query
            return read(pipeline, endpoint, account, columns)
        except DestinationUndefinedEntity:
            log.debug("%s was not loaded yet", endpoint.name)
            return []
        except Exception as error:  # any error of any destination
            subject, kind = f"which {endpoint.name} have left account {account}", type(error).__name__
            log.warning("%s is not known: the destination raised %s", subject, kind)
            return None


def _write_lists(
    client: Any, endpoint: Endpoint, windows: Mapping[ListKey, Window | None]
) -> tuple[str, list[Any]]:
    """Write the query of the rows of lists; only those with windows are selected by list."""
    id_, *keys = map(client.escape_column_name, (endpoint.shape.id_column, *endpoint.key))
    table, owner = client.make_qualified_table_name(endpoint.name), ", ".join(f"r.{name}" for name in keys)
    if not endpoint.windowed:
        return f"SELECT {owner}, r.{id_}, NULL FROM {table} AS r", []
    start = client.escape_column_name("start")
    own = [f"k{number}" for number in range(len(keys))]
    listed = ", ".join([f"({', '.join(['%s'] * (len(keys) + 2))})"] * len(windows))
    same = " AND ".join(f"r.{name} = w.{mine}" for name, mine in zip(keys, own, strict=True))
    # the end counts whole seconds, and a start may have a fraction of its last one
    values = [
        value
        for key, window in windows.items()
        if window
        for value in (*key, window.start, window.end + SECOND)
    ]
    sql = (
        f"SELECT {owner}, r.{id_}, r.{start} FROM {table} AS r "
        f"JOIN (VALUES {listed}) AS w({', '.join(own)}, first_start, last_start) "
        f"ON {same} AND r.{start} >= w.first_start AND r.{start} <= w.last_start"
    )
    return sql, values


def _group_rows(rows: Sequence[tuple[Any, ...]], keys: int, kind: pa.DataType) -> dict[ListKey, LoadedList]:
    """Group rows of key, id and start by list."""
    grouped: dict[ListKey, tuple[list[Any], list[datetime]]] = {}
    for row in rows:
        ids, starts = grouped.setdefault(tuple(map(str, row[:keys])), ([], []))
        ids.append(row[keys])
        if row[keys + 1] is not None:
            starts.append(row[keys + 1])
    return {
        key: LoadedList(pa.array(ids, kind), max(starts, default=None))
        for key, (ids, starts) in grouped.items()
    }


def _open(pipeline: Any) -> Any:
    """Open a SQL client; dlt's own needs extensions of DuckDB for some lakes, which may be out of reach."""
    if is_lake(pipeline) and needs_extension(client := pipeline.destination_client()):
        return LakeClient(client)
    return pipeline.sql_client()


def _read_erased(pipeline: Any) -> Sequence[tuple[Any, ...]]:
    if is_lake(pipeline):
        client = pipeline.destination_client()
        if not client.fs_client.exists(client.pathlib.join(client.dataset_path, ERASED)):
            return []
        ledgers: Any = dlt.dataset(
            pipeline.destination, pipeline.dataset_name, AUDIO_SCHEMA
        ).destination_client
        table = read_table(ledgers, ERASED, list(ERASED_KEY))
        return [tuple(row[name] for name in ERASED_KEY) for row in table.to_pylist()]
    if pipeline.destination.destination_type.rpartition(".")[2] not in DATABASES:
        return []
    with pipeline.sql_client() as client:
        columns = ", ".join(map(client.escape_column_name, ERASED_KEY))
        sql = f"SELECT {columns} FROM {client.make_qualified_table_name(ERASED)}"
        return client.execute_sql(sql) or ()


def _has_load_file(client: Any, load_id: str) -> bool:
    name = f"{client.schema.name}__{load_id}.jsonl"  # as dlt names it
    loads = client.schema.loads_table_name
    if client.fs_client.exists(client.pathlib.join(client.dataset_path, loads, name)):
        return True
    # a compaction joins these files
    return load_id in read_table(client, loads, ["load_id"])["load_id"].to_pylist()


def _query(pipeline: Any, endpoint: Endpoint, account: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    with pipeline.sql_client() as client:
        owner, gone, *names = map(client.escape_column_name, ("account_id", GONE, *columns))
        table = client.make_qualified_table_name(endpoint.name)
        sql = f"SELECT {', '.join(names)} FROM {table} WHERE {owner} = %s AND {gone} IS NULL"
        rows = client.execute_sql(sql, account)
    return [dict(zip(columns, row, strict=True)) for row in rows or ()]


def _read_files(
    pipeline: Any, endpoint: Endpoint, account: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    # in files, a row stands beside its earlier versions: the newest load counts
    table = read_table(pipeline.destination_client(), endpoint.name).sort_by(LOAD_ID)
    rows = table.filter(pc.equal(table["account_id"], account)).to_pylist()
    newest = {row[endpoint.shape.id_column]: row for row in rows}
    return [{name: row.get(name) for name in columns} for row in newest.values() if not row.get(GONE)]
