"""Tables that are files: no statement clears there what was loaded before.

Plain files and Iceberg tables are appended to; Delta tables replace a row by its key, but leave the rest
of a list that became shorter. So each row bears the load that brought it, and a query tells what counts:
the newest load of a recording (docs/destinations.md).
"""

from __future__ import annotations

from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq

from vbc_source.faults import SettingsError

FILESYSTEM = "filesystem"
LOAD_ID = "_dlt_load_id"  # dlt's own name for it
TABLE_FORMATS = ("delta", "iceberg")


def is_lake() -> bool:
    """Whether the pipeline that runs just now loads files."""
    destination = dlt.current.pipeline().destination
    return destination is not None and destination.destination_type.endswith(f".{FILESYSTEM}")


def add_load_id(rows: pa.Table) -> pa.Table:
    """Have rows bear the load that they come with."""
    load_id = str(dlt.current.load_package_state()["load_id"])
    return rows.append_column(LOAD_ID, pa.repeat(pa.scalar(load_id), len(rows)))


def read_table(client: Any, table: str) -> pa.Table:
    """Read all rows of a table, of each load; DuckDB would need extensions for it, which it downloads.

    Args:
        client: dlt's, of the destination.
        table: its name.

    Raises:
        DestinationUndefinedEntity: there is no such table yet.
    """
    table_format = client.prepare_load_table(table).get("table_format")
    if table_format == "delta":
        return pa.table(client.load_open_table("delta", table).to_pyarrow_table())
    if table_format == "iceberg":
        return client.load_open_table("iceberg", table).scan().to_arrow()
    parts = []
    for path in client.list_table_files(table):
        with client.fs_client.open(path, "rb") as file:
            parts.append(pq.read_table(file))
    return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})


def open_lake() -> Any:
    """Make the destination of files, of the format in `[destination.filesystem] table_format`.

    Raises:
        SettingsError: there is no such format.
    """
    table_format = dlt.config.get(f"destination.{FILESYSTEM}.table_format")
    if not table_format:
        return FILESYSTEM
    if table_format not in TABLE_FORMATS:
        raise SettingsError(
            f"[destination.filesystem] table_format must be delta or iceberg, or left out for plain "
            f"parquet files, not {table_format!r}"
        )
    options: dict[str, Any] = {"preferred_table_format": table_format}
    if table_format == "iceberg":  # pyiceberg's upsert takes minutes where appending takes seconds
        options["supported_merge_strategies"] = []
    return dlt.destinations.filesystem(**options)
