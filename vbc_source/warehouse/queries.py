"""What a destination holds, asked in SQL that every destination of dlt understands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from typing import Any

import dlt
import sqlglot
from dlt.common.schema import Schema

from vbc_source.load.database_lock import find_kind
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import AUDIO_SCHEMA
from vbc_source.load.locks import hold_pipeline_lock

SOURCE_SCHEMA = "vbc"
ONE_PROCESS = ("duckdb",)  # destinations that one process at a time may open

Row = tuple[Any, ...]


class LoadedTables:
    """The tables of the source and the ledgers, in one dataset.

    Args:
        pipeline: has the destination and the dataset.
        source_pipeline: name of the pipeline that loads the source there; the two take turns where
            the destination lets in one process only. Empty where its turn is taken already.
        ledgers: names of the ledgers' schemas.
        watches: whether to look again for a ledger that is not there; else that takes a `look`.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        source_pipeline: str,
        ledgers: Sequence[str] = (AUDIO_SCHEMA,),
        *,
        watches: bool = True,
    ) -> None:
        self._pipeline, self._source_pipeline = pipeline, source_pipeline
        self._ledgers, self._watches = ledgers, watches
        self._schemas: list[Schema] = []

    def take_turn(self) -> AbstractContextManager[Any]:
        """Keep the source's pipeline away for a moment."""
        one = find_kind(self._pipeline) in ONE_PROCESS
        return hold_pipeline_lock(self._source_pipeline) if one and self._source_pipeline else nullcontext()

    def query(self, write: Callable[[LoadedTables], str], **values: str | int | datetime) -> list[Row]:
        """Ask the destination.

        Args:
            write: writes the query, in DuckDB's dialect, when it is known which tables there are.
            values: what its placeholders (`:name`) stand for; instants as text to be cast.

        Raises:
            VbcError: it could not be asked.
        """
        with self.take_turn(), explaining():
            if self._lacks_ledger():
                self._read_schemas()
            query = sqlglot.exp.replace_placeholders(
                sqlglot.parse_one(write(self), read="duckdb"),
                **{name: _plain(value) for name, value in values.items()},
            )
            dataset = self._open(self._schemas)
            # run as text: a relation would work out the types of its columns, which takes as long again
            text = dataset.query(query, query_dialect="duckdb").to_sql()
            with dataset.sql_client as client:
                return [tuple(row) for row in client.execute_sql(text) or ()]

    def find(self, *tables: str) -> list[str]:
        """Those of some tables that are there.

        Raises:
            VbcError: the destination could not be asked.
        """
        if not self._schemas:
            self.look()
        return [table for table in tables if self.has(table)]

    def has(self, table: str, column: str | None = None) -> bool:
        """Whether a table, or a column of it, is there; to be asked while a query is written."""
        for schema in self._schemas:
            if table in schema.tables:
                return column is None or column in schema.tables[table]["columns"]
        return False

    def columns(self, table: str) -> list[str]:
        """The columns of a table that is there."""
        found = next(schema.tables[table]["columns"] for schema in self._schemas if table in schema.tables)
        return [name for name, column in found.items() if column.get("data_type")]

    def look(self) -> None:
        """Find out which tables there are.

        Raises:
            VbcError: the destination could not be asked.
        """
        with self.take_turn(), explaining():
            self._read_schemas()

    def _lacks_ledger(self) -> bool:
        if not self._schemas or not self._watches:
            return not self._schemas
        return not all(ledger.data_table_names() for ledger in self._schemas[1:])

    def _read_schemas(self) -> None:
        self._schemas = [self._open(name).schema for name in (SOURCE_SCHEMA, *self._ledgers)]

    def _open(self, schema: Any) -> dlt.Dataset:
        return dlt.dataset(self._pipeline.destination, self._pipeline.dataset_name, schema)


def _plain(value: str | int | datetime) -> str | int:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
    return value


def page_through(read_page: Callable[[Row | None], list[Row]], key: int) -> Iterator[Row]:
    """Yield the rows of all pages, each once: where a destination only appends, rows repeat.

    Args:
        read_page: gives the page behind a row, or the first one; empty behind the last.
        key: by how many columns, the first ones, rows are ordered and told apart.
    """
    last: Row | None = None
    while page := read_page(last):
        seen = last
        for row in page:
            if seen is None or row[:key] != seen[:key]:
                yield row
            seen = row
        last = page[-1]
