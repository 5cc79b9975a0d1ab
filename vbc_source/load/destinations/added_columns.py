"""Columns that a table of an earlier version gets: its rows lack them, so they cannot be required there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vbc_source.dlt_internals import SqlJobClientBase

ADDED_VALUE = "x-added-value"  # hint of a column: the value that rows without it stand for


class AddsColumns(SqlJobClientBase):
    """A client that adds required columns to tables with rows; dlt's statement for it fails."""

    def _create_table_update(self, table_name: str, storage_columns: Any) -> Sequence[Any]:
        """Return the columns to create; those of a table that is there are not required."""
        columns = super()._create_table_update(table_name, storage_columns)
        if not storage_columns:
            return columns
        return [{**column, "nullable": True, "primary_key": False} for column in columns]

    def _make_add_column_sql(self, new_columns: Sequence[Any], table: Any = None) -> list[str]:
        """Write what adds the columns, with a default where rows without it stand for a value."""
        clauses = super()._make_add_column_sql(new_columns, table)
        values = [column.get(ADDED_VALUE) for column in new_columns]
        return [
            clause if value is None else f"{clause} DEFAULT {value:d}"
            for clause, value in zip(clauses, values, strict=True)
        ]
