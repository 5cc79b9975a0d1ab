"""Queries of what is loaded, in SQL that every destination of dlt understands; nothing is written.

No pipeline is opened: that would write into dlt's working folder, which a running sync may be using.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import dlt
import sqlglot
from dlt.common.schema import Schema
from sqlglot import exp

from vbc_source.lakes.queries import query_tables
from vbc_source.lakes.tables import FILESYSTEM, check_bucket, check_format, name_format
from vbc_source.load.destinations import Target, destination_kind, open_destination
from vbc_source.load.failures import explaining
from vbc_source.load.locks import can_lock, hold_database
from vbc_source.schema.names import AUDIO_SCHEMA, SOURCE_SCHEMA
from vbc_source.windows import format_instant

_LIST = "vbc list {}"  # stands for a list until the query is text
# a text, a quoted name, a cast, or the name of a placeholder
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|::|:(\w+)""")

Row = tuple[Any, ...]
Value: TypeAlias = "str | int | datetime | Sequence[str]"


class LoadedTables:
    """The tables of the source and of the ledgers (names of dlt schemas) in one dataset.

    `locked`: the caller holds the lock of the target's pipeline already. With `watch`, each query looks again
    for a ledger that is not there yet, else `refresh` does. With `read_only`, the caller writes nothing
    afterwards, so that a disk that is read-only will do.
    """

    def __init__(
        self,
        target: Target,
        ledgers: Sequence[str] = (AUDIO_SCHEMA,),
        *,
        locked: bool = False,
        watch: bool = True,
        read_only: bool = False,
    ) -> None:
        self.target, self.destination = target, open_destination(target)
        self.kind = destination_kind(self.destination)
        self._ledgers, self._locked, self._watch, self._read_only = ledgers, locked, watch, read_only
        self._schemas: list[Schema] = []

    def lock(self) -> AbstractContextManager[Any]:
        """Keep the source's pipeline out of a database that admits one process."""
        if self._locked or (self._read_only and not can_lock()):
            return nullcontext()
        return hold_database(self.target.pipeline, self.kind)

    def query(self, write: str | Callable[[LoadedTables], str], **values: Value) -> list[Row]:
        """Query the destination in DuckDB's dialect; `write` may write the query once tables are known.

        Values replace the placeholders (`:name`); instants are passed as text to be cast, and a list stands
        in `IN (:name)`.
        """
        with self.lock(), explaining():
            ledgers = self._schemas[1:] if self._watch else ()
            if not self._schemas or not all(ledger.data_table_names() for ledger in ledgers):
                self._read_schemas()
            text = write if isinstance(write, str) else write(self)
            lists = {name: value for name, value in values.items() if _is_list(value)}
            literals = {name: _to_literal(name, value) for name, value in values.items()}
            if self.kind == "duckdb":
                return self._query_duckdb(text, literals, lists)
            query = exp.replace_placeholders(sqlglot.parse_one(text, read="duckdb"), **literals)
            if self.kind == FILESYSTEM:
                return self._query_files(query, lists)
            return self._query_database(query, lists)

    def _query_duckdb(self, text: str, values: Mapping[str, Any], lists: Mapping[str, Any]) -> list[Row]:
        """Query DuckDB, whose dialect it is: translating takes longer than most queries do."""

        def write_token(token: re.Match[str]) -> str:
            name = token[1]
            if not name:
                return token[0]
            return _write_list(lists[name], "duckdb") if name in lists else f"${name}"

        used = {name for name in _TOKEN.findall(text) if name and name not in lists}
        with self._client.sql_client as client:
            bound = {name: values[name] for name in used}
            # only values that the text uses: DuckDB refuses others
            return list(client.execute_sql(_TOKEN.sub(write_token, text), **bound) or ())

    def _query_database(self, query: Any, lists: Mapping[str, Any]) -> list[Row]:
        # run as text: a relation would infer the types of its columns first, which takes as long again
        relation = self._dataset.query(query, query_dialect="duckdb")
        text = _put_in_lists(relation.to_sql(), lists, relation.destination_dialect)
        with self._dataset.sql_client as client:
            return [tuple(row) for row in client.execute_sql(text) or ()]

    @cached_property
    def _client(self) -> Any:
        """A client of the destination: each new one resolves the configuration, and is opened when needed."""
        client: Any = self.open_dataset(Schema(SOURCE_SCHEMA)).destination_client
        if self._read_only and self.kind == "duckdb":
            file = client.config.credentials.database
            client.config.credentials.read_only = Path(file).exists() and not os.access(file, os.W_OK)
        return client

    def _query_files(self, query: Any, lists: Mapping[str, Any]) -> list[Row]:
        """Query a lake over Arrow tables."""
        tables = {table.name for table in query.find_all(exp.Table)}
        schemas = {table: schema for table in tables if (schema := self._find_schema(table))}
        # one for each schema: a new one resolves the configuration, and makes a catalog of Iceberg tables;
        # none is kept: its catalog would not see later versions of a table
        clients = {
            name: self.open_dataset(schema).destination_client
            for name, schema in {schema.name: schema for schema in schemas.values()}.items()
        }
        owners = {table: clients[schema.name] for table, schema in schemas.items()}
        return query_tables(query, owners, _put_in_lists(query.sql("duckdb"), lists, "duckdb"))

    def find(self, *tables: str) -> list[str]:
        """Return those of some tables that are there."""
        if not self._schemas:
            self.refresh()
        return [table for table in tables if self.has(table)]

    def has(self, table: str) -> bool:
        """Return whether a table is there; for use while a query is written."""
        return self._find_schema(table) is not None

    def list_tables(self) -> list[str]:
        """Return the tables of all these schemas, but dlt's own."""
        if not self._schemas:
            self.refresh()
        return sorted({name for schema in self._schemas for name in schema.data_table_names()})

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns of a table with dlt's types; none where it is not there."""
        schema = self._find_schema(table)
        columns = schema.tables[table]["columns"] if schema else {}
        return {name: str(column["data_type"]) for name, column in columns.items() if column.get("data_type")}

    def _find_schema(self, table: str) -> Schema | None:
        return next((schema for schema in self._schemas if table in schema.tables), None)

    def refresh(self) -> None:
        """Look which tables there are."""
        with self.lock(), explaining():
            self._read_schemas()

    def _read_schemas(self) -> None:
        names = (SOURCE_SCHEMA, *self._ledgers)
        if self.kind == "duckdb" and not Path(self._client.config.credentials.database).exists():
            self._schemas = list(map(Schema, names))  # reading makes no file
            return
        # one client for all of them: `dlt.dataset` would open a connection for each
        with self._client as client:
            self._schemas = [_read_schema(client, name) for name in names]
            if self.kind == FILESYSTEM:
                # nothing there may mean that nothing was loaded, or that the bucket is
                # missing: the latter is an error
                if not any(schema.data_table_names() for schema in self._schemas):
                    check_bucket(client)
                check_format(client, name_format(self.destination))
            else:
                _forget_dropped_tables(client, self._schemas)
        # kept, as each new one resolves the configuration again
        self._dataset = self.open_dataset(self._schemas)

    def make_client(self) -> Any:
        """Make a client for the caller's own SQL; it opens a connection when it is entered."""
        return self.open_dataset(Schema(SOURCE_SCHEMA)).sql_client

    def open_dataset(self, schema: Any) -> dlt.Dataset:
        """Open the dataset with a dlt schema, a name of one that is stored there, or several."""
        return dlt.dataset(self.destination, self.target.dataset, schema)


def _read_schema(client: Any, name: str) -> Schema:
    """Read a dlt schema from the destination; an empty one if none is stored."""
    stored = client.get_stored_schema(name)
    return Schema.from_dict(json.loads(stored.schema), validate_schema=False) if stored else Schema(name)


def _forget_dropped_tables(client: Any, schemas: Sequence[Schema]) -> None:
    """Remove tables from schemas that are not there any more: they were dropped."""
    names = {name for schema in schemas for name in schema.data_table_names()}
    absent = [name for name, columns in client.get_storage_tables(sorted(names)) if not columns]
    for schema in schemas:
        for name in absent:
            schema.tables.pop(name, None)


def _to_literal(name: str, value: Value) -> str | int:
    if isinstance(value, datetime):
        # with its offset: a cast of a text without one takes the session's time zone
        return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")
    return value if isinstance(value, (str, int)) else _LIST.format(name)


def write_instant(moment: datetime) -> str:
    """Write an instant as a literal, in whole seconds."""
    return f"CAST('{format_instant(moment)}' AS TIMESTAMPTZ)"


def _is_list(value: Value) -> bool:
    return not isinstance(value, (str, int, datetime))


def _put_in_lists(text: str, lists: Mapping[str, Sequence[str]], dialect: Any) -> str:
    """Put lists into the text of a query: parsing thousands of names would take longer than the answer."""
    for name, values in lists.items():
        text = text.replace(exp.Literal.string(_LIST.format(name)).sql(dialect), _write_list(values, dialect))
    return text


def _write_list(values: Sequence[str], dialect: Any) -> str:
    return ", ".join(exp.Literal.string(value).sql(dialect) for value in values) or "NULL"


def query_pages(
    loaded: LoadedTables,
    write: Callable[[LoadedTables], str],
    columns: Sequence[str],
    key: int,
    page_rows: int,
    extend: Callable[[LoadedTables, str], str] | None = None,
    /,
    **values: Value,
) -> Iterator[dict[str, Any]]:
    """Query page by page, and yield each row once, with its columns by name.

    The first `key` columns identify a row and order the rows. Each page is a query of its own, after the last
    row of the page before: nothing stays open in the destination for the hours that a caller may need.
    `extend` writes the query that adds columns to the rows of a page, so that it need not add them to all.
    """
    order = columns[:key]
    last: Row = ()

    def write_page(loaded: LoadedTables) -> str:
        after = f"WHERE {_write_after(order, last)}" if last else ""
        chosen, ordered = "*" if extend else ", ".join(columns), f"ORDER BY {', '.join(order)}"
        page = f"SELECT {chosen} FROM ({write(loaded)}) AS pages {after} {ordered} LIMIT {page_rows}"
        if not extend:
            return page
        return f"SELECT {', '.join(columns)} FROM ({extend(loaded, page)}) AS extended {ordered}"

    more = True
    while more:
        after = {f"last_{name}": value for name, value in zip(order, last, strict=False)}
        page = loaded.query(write_page, **values, **after)
        for row in page:
            # where a destination is append-only, the same row may be there more than once
            if row[:key] != last[:key]:
                yield dict(zip(columns, row, strict=True))
            last = row
        more = len(page) == page_rows


def _write_after(order: Sequence[str], last: Row) -> str:
    """Write the condition for rows after the last one: SQL's own row comparison is not in every dialect."""
    # from the last column to the first: each one counts only where those before it are equal
    condition = ""
    for name, value in reversed(list(zip(order, last, strict=False))):
        literal = f"CAST(:last_{name} AS TIMESTAMPTZ)" if isinstance(value, datetime) else f":last_{name}"
        equal = f" OR ({name} = {literal} AND ({condition}))" if condition else ""
        condition = f"{name} > {literal}{equal}"
    return condition
