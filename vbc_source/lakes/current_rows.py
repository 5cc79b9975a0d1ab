"""Which rows of a lake count: the newest load of each row, as in docs/current_rows.sql. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.schema.names import LOAD_ID

START = "start"  # tables are divided by its months


def select_current(rows: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """Select the rows that count, in the order of their keys; all rows of tables that are only appended to.

    Args:
        rows: Rows of a table.
        columns: The table's columns in dlt's schema, with the hints of keys.
    """
    primary, merge = (
        [f'"{name}"' for name, column in columns.items() if column.get(hint)]
        for hint in ("primary_key", "merge_key")
    )
    order = [f'"{START}"'] if START in rows.column_names else []
    query = "SELECT * FROM rows"
    # a destination that only appends keeps a row's earlier versions beside it; load ids of dlt grow with time
    if primary and LOAD_ID in rows.column_names:
        query += " QUALIFY row_number() OVER (PARTITION BY {} ORDER BY {} DESC) = 1".format(
            ", ".join(primary), LOAD_ID
        )
        if merge:  # of a list, only the items of the newest load count
            query += f" AND {LOAD_ID} = max({LOAD_ID}) OVER (PARTITION BY {', '.join(merge)})"
    if order or primary:
        query += f" ORDER BY {', '.join(order + primary)}"
    with duckdb.connect() as connection:
        # instants come back in the session's zone, which would be that of the machine
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", rows)
        current = connection.execute(query).to_arrow_table()
    # DuckDB's result says of no column that it is not nullable, and the new file has to. But columns that are
    # required now are null in rows of earlier versions, whose files lack them.
    return current.cast(
        pa.schema(
            [
                field.with_nullable(field.nullable or current[field.name].null_count > 0)
                for field in rows.schema
            ]
        )
    )


def list_months(starts: pa.ChunkedArray) -> list[datetime]:
    """List the months of some instants, by their first moments in UTC."""
    years = pc.year(starts).cast(pa.int64())
    months = pc.month(starts).cast(pa.int64())
    numbers = pc.unique(pc.add(pc.multiply(years, 12), months)).drop_null()
    return [_first_moment(number) for number in sorted(numbers.to_pylist())]


def end_month(month: datetime) -> datetime:
    """Return the first moment of the month after."""
    return _first_moment(month.year * 12 + month.month + 1)


def _first_moment(number: int) -> datetime:
    return datetime((number - 1) // 12, (number - 1) % 12 + 1, 1, tzinfo=timezone.utc)
