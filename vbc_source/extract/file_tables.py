"""Tables that are files: no statement removes from them what was loaded before.

Plain files and Iceberg tables are appended to. Delta tables replace a row by its key, but keep the rest of a
list that became shorter. So each row carries the load that brought it, and a query selects what counts: the
newest load of a recording (docs/destinations.md).
"""

from __future__ import annotations

from typing import Any

import dlt
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity

FILESYSTEM = "filesystem"
LOAD_ID = "_dlt_load_id"  # dlt's own name for it


def is_lake(pipeline: Any) -> bool:
    """Whether a pipeline loads files."""
    destination = pipeline.destination
    return destination is not None and destination.destination_type.endswith(f".{FILESYSTEM}")


def add_load_id(rows: pa.Table) -> pa.Table:
    """Add the id of the running load to rows; those that have it already, such as proofs, stay unchanged."""
    if LOAD_ID in rows.column_names:
        return rows
    load_id = str(dlt.current.load_package_state()["load_id"])
    return rows.append_column(LOAD_ID, pa.repeat(pa.scalar(load_id), len(rows)))


def read_table(client: Any, table: str, columns: list[str] | None = None) -> pa.Table:
    """Read all rows of a table, of every load; DuckDB would need extensions for it, which it downloads."""
    if table not in client.schema.tables:
        raise DestinationUndefinedEntity(table)
    table_format: str | None = client.prepare_load_table(table).get("table_format")
    if table_format == "delta":
        return pa.table(client.load_open_table("delta", table).to_pyarrow_table(columns=columns))
    if table_format == "iceberg":
        return client.load_open_table("iceberg", table).scan(selected_fields=tuple(columns or "*")).to_arrow()
    parts = []
    for path in client.list_table_files(table):
        with client.fs_client.open(path, "rb") as file:
            # dlt writes its own tables as JSON lines
            is_parquet = path.endswith(".parquet")
            parts.append(pq.read_table(file, columns=columns) if is_parquet else pj.read_json(file))
    return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})
