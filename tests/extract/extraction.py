"""Runs the resources of a source in memory: rows, schema and state are kept as dlt would keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime, timezone
from functools import cache
from itertools import count
from typing import Any

import dlt
import duckdb
import pyarrow as pa
from dlt.common.schema.utils import new_table
from loading import credentials

from vbc_source.api.client import Client
from vbc_source.api.endpoints import Endpoint
from vbc_source.config import VbcConfig
from vbc_source.extract.destination_lookup import ListKey, LoadedList, StoredReading
from vbc_source.extract.state import PROGRESS_MARK, ResourceRun
from vbc_source.extract.tables import ARROW_TYPES, split_children
from vbc_source.source import Resources
from vbc_source.windows import SECOND, Window

DLT_TYPES = {kind: name for name, kind in ARROW_TYPES.items()}
Rows = list[dict[str, Any]]


class Extraction:
    """Stands in for a pipeline and its destination.

    A run that fails keeps nothing, neither rows nor state.

    Attributes:
        tables: The rows of each table.
        metrics: By resource, the counts of its last run.
        clock: Tells a run what time it is.
        answers: Whether the destination answers look-ups.
        lookups: How many look-ups were made.
    """

    def __init__(self) -> None:
        self.schema = dlt.Schema("vbc")
        self.tables: dict[str, Rows] = {}
        self.metrics: dict[str, dict[str, Any]] = {}
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
        self.answers, self.lookups = True, 0
        self._columns: dict[str, dict[str, pa.DataType]] = {}
        self._state: dict[str, Any] = {}
        self._loads = count(1)

    def run(self, resources: Resources, *names: str) -> None:
        """Run resources once, in the order of the source."""
        config, load_id = resources.config, str(next(self._loads))
        source = deepcopy(self._state)
        written: list[tuple[Endpoint, Any]] = []
        for endpoint, read in resources.readers.items():
            if endpoint.name not in names:
                continue
            now, metrics = self.clock(), self.metrics.setdefault(endpoint.name, {})
            metrics.clear()
            stateless = config.stateless
            run = ResourceRun(
                endpoint,
                config,
                source_id=resources.source_id,
                load_id=load_id,
                schema=self.schema,
                state={} if stateless else source.setdefault("resources", {}).setdefault(endpoint.name, {}),
                accounts={} if stateless else source.setdefault("accounts", {}),
                metrics=metrics,
                lookup=self,  # type: ignore[arg-type]
                now=now,
                window=config.fixed_window(now, lambda: None),
            )
            written += [(endpoint, item) for item in read(run)]
        for endpoint, item in written:
            self._write(endpoint, item, config.pii_policy)
        self._state = source

    @property
    def state(self) -> dict[str, Any]:
        return {"sources": {"vbc": self._state} if self._state else {}}

    def put_state(self, state: dict[str, Any]) -> None:
        self._state = state

    # what stands for the destination

    in_files = False
    erased: Mapping[tuple[str, ...], frozenset[str]] = {}

    def read_lists(
        self, endpoint: Endpoint, windows: Mapping[ListKey, Window | None]
    ) -> dict[ListKey, LoadedList] | None:
        self.lookups += 1
        if not self.answers:
            return None
        found: dict[ListKey, list[Any]] = {}
        for row in self.tables.get(endpoint.name, []):
            key = tuple(row[column] for column in endpoint.key)
            window = windows.get(key)
            if key in windows and (window is None or window.start <= row["start"] <= window.end + SECOND):
                found.setdefault(key, []).append((row[endpoint.shape.id_column], row.get("start")))
        return {
            key: LoadedList(
                pa.array([id_ for id_, _ in rows]), max(filter(None, (at for _, at in rows)), default=None)
            )
            for key, rows in found.items()
        }

    def read_newest(self, endpoint: Endpoint, now: datetime) -> dict[ListKey, datetime] | None:
        self.lookups += 1
        newest: dict[ListKey, datetime] = {}
        for row in self.tables.get(endpoint.name, []):
            key = tuple(row[column] for column in endpoint.key)
            if row["start"] <= now:
                newest[key] = max(newest.get(key, row["start"]), row["start"])
        return newest

    def read_readings(self, ids: Sequence[str]) -> list[StoredReading] | None:
        self.lookups += bool(ids)
        if not self.answers:
            return None
        names = ("readings", "requests", "rows_read")
        return [
            StoredReading(row["reading_id"], True, row["scanned_at"], *(row[name] for name in names))
            for row in self.tables.get("scan_windows", [])
            if row["reading_id"] in ids
        ]

    def read_present(self, endpoint: Endpoint, account: str, columns: Sequence[str]) -> Rows | None:
        self.lookups += 1
        if not self.answers:
            return None
        rows = self.tables.get(endpoint.name, [])
        return [
            {name: row.get(name) for name in columns}
            for row in rows
            if row["account_id"] == account and row["gone_at"] is None
        ]

    @contextmanager
    def sql_client(self) -> Iterator[Any]:
        """Serve the tables as a DuckDB database."""
        with _open_memory().cursor() as connection:
            for name, rows in self.tables.items():
                columns = self._columns[name]
                connection.register(name, pa.Table.from_pylist(rows, pa.schema(columns)))
            yield _SqlClient(connection)

    def _write(self, endpoint: Endpoint, item: Any, privacy: Any) -> None:
        if isinstance(item, pa.Table):
            for part in split_children(item, endpoint, privacy):
                if isinstance(part, pa.Table):
                    self._merge(endpoint.name, part, endpoint.primary_key)
                else:
                    self._write_hinted(part)
        else:
            self._write_hinted(item)

    def _write_hinted(self, item: Any) -> None:
        hints = item.meta.hints
        name, disposition = hints["table_name"], hints["write_disposition"]
        key = hints.get("merge_key") or hints.get("primary_key")
        self._merge(name, item.data, tuple(key) if disposition == "merge" else ())

    def _merge(self, name: str, table: pa.Table, key: tuple[str, ...]) -> None:
        kinds = {field.name: field.type for field in table.schema}
        columns = self._columns.setdefault(name, {})
        assert {column: columns.get(column, kind) for column, kind in kinds.items()} == kinds
        columns |= kinds
        new = table.to_pylist()
        replaced = {tuple(row[column] for column in key) for row in new} if key else set()
        rows = [
            row
            for row in self.tables.get(name, [])
            if not key or tuple(row[column] for column in key) not in replaced
        ]
        self.tables[name] = rows + [row for row in new if not row.get("is_empty")]
        fields: list[Any] = [{"name": column, "data_type": DLT_TYPES[kind]} for column, kind in kinds.items()]
        self.schema.update_table(new_table(name, columns=fields))


@cache
def _open_memory() -> duckdb.DuckDBPyConnection:
    """Open a database in memory, which takes longer than most queries; views are those of a cursor."""
    return duckdb.connect()


class _SqlClient:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute_sql(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()


def make_resources(url: str, extraction: Extraction, **settings: Any) -> Resources:
    config = VbcConfig.from_values(credentials=credentials(), base_url=url, **settings)
    return Resources(config, Client.from_config(config), extraction)  # type: ignore[arg-type]


def selected(resources: Resources, names: Sequence[str]) -> list[str]:
    """The given names, or those of the resources that the source selects itself."""
    return list(names) or [endpoint.name for endpoint in resources.readers if resources.is_selected(endpoint)]


def extract(extraction: Extraction, url: str, *names: str, **settings: Any) -> None:
    """Run resources of a new source once: those named, or those that it selects itself."""
    resources = make_resources(url, extraction, **settings)
    extraction.run(resources, *selected(resources, names))


def load(extraction: Extraction, url: str, *names: str, **settings: Any) -> None:
    """Run resources of a new source once: company recordings, or those named."""
    extract(extraction, url, *names or ("company_recordings",), **settings)


def sync(extraction: Extraction, url: str, *names: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Run resources of a new source until they have read all lists, as `vbc sync` does."""
    resources = make_resources(url, extraction, **settings)
    unfinished = selected(resources, names)
    while unfinished:
        extraction.run(resources, *unfinished)
        states = extraction.state["sources"].get("vbc", {}).get("resources", {})
        unfinished = [name for name in unfinished if PROGRESS_MARK in states.get(name, {})]
    return extraction.metrics
