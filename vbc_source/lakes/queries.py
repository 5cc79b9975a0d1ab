"""Query the tables of a lake over Arrow: DuckDB's own readers of lakes are extensions, which it downloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from vbc_source.lakes.tables import find_format, read_table
from vbc_source.schema.columns import ARROW_TYPES


def query_tables(
    query: Any, clients: Mapping[str, Any], text: str = "", values: Sequence[Any] = ()
) -> list[Any]:
    """Run a query in DuckDB's dialect.

    Args:
        query: The query, parsed: only the columns that it names are read.
        clients: By table, the client of the destination whose dlt schema has the table.
        text: The query's text, where that is another one.
        values: What its placeholders stand for.
    """
    # a `*` in an inner query brings only columns that are named somewhere: the outermost has to name its own
    names = {column.name for column in query.find_all(exp.Column)}
    with duckdb.connect() as connection:
        # instants come back in the session's zone, and texts without a zone are cast by it
        connection.execute("SET TimeZone = 'UTC'")
        for table, client in clients.items():
            hints = client.schema.tables[table]["columns"] if table in client.schema.tables else {}
            # `count(*)` names no column, and a table has to have one: then all are read
            rows = read_table(client, table, [name for name in hints if name in names] or None)
            connection.register(table, rows if rows.column_names else _make_empty(hints))
        return connection.execute(text or query.sql("duckdb"), values).fetchall()


def needs_extension(client: Any) -> bool:
    """Return whether dlt's own SQL client reads a lake by an extension of DuckDB."""
    # all tables of a dataset have one format, and this one is in each dataset
    return not client.is_local_filesystem or bool(find_format(client, "scan_windows"))


class LakeClient:
    """Queries a lake over Arrow, with those methods of dlt's SQL clients that its user calls."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __enter__(self) -> LakeClient:
        """Open nothing: each query reads its tables."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close nothing."""

    def escape_column_name(self, name: str) -> str:
        """Write a name of a column or a table."""
        return exp.to_identifier(name, quoted=True).sql("duckdb")

    make_qualified_table_name = escape_column_name

    def execute_sql(self, sql: str, *values: Any) -> list[Any]:
        """Run a query with `%s` for each value; raises DestinationUndefinedEntity if a table is missing."""
        query = sqlglot.parse_one(sql.replace("%s", "?"), read="duckdb")
        tables = {table.name for table in query.find_all(exp.Table)}
        return query_tables(query, dict.fromkeys(tables, self._client), values=values)


def _make_empty(columns: Mapping[str, Any]) -> pa.Table:
    """Make a table without rows, as of one whose files are gone."""
    kinds = {
        name: ARROW_TYPES.get(str(column.get("data_type")), pa.string()) for name, column in columns.items()
    }
    return pa.schema(kinds).empty_table()
