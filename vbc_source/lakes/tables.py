"""Read the tables of a lake: plain parquet files, Delta and Iceberg tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.lakes.swap import list_files

FILESYSTEM = "filesystem"
LOAD_ID = "_dlt_load_id"  # dlt's own name for it
_READERS = 8
_ATTEMPTS = 5  # a compaction may remove a file between listing and reading


def is_lake(pipeline: Any) -> bool:
    """Whether a pipeline loads files."""
    destination = pipeline.destination
    return destination is not None and destination.destination_type.endswith(f".{FILESYSTEM}")


def find_format(client: Any, table: str) -> str:
    """Return the format of a table: `delta`, `iceberg`, or empty for plain files."""
    return str(client.prepare_load_table(table).get("table_format") or "")


def read_table(client: Any, table: str, columns: list[str] | None = None) -> pa.Table:
    """Read all rows of a table, of every load; DuckDB would need extensions for it, which it downloads."""
    if table not in client.schema.tables:
        raise DestinationUndefinedEntity(table)
    table_format = find_format(client, table)
    if table_format == "delta":
        return pa.table(client.load_open_table("delta", table).to_pyarrow_table(columns=columns))
    if table_format == "iceberg":
        return client.load_open_table("iceberg", table).scan(selected_fields=tuple(columns or "*")).to_arrow()
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read_files(client, list_files(client, table), columns)
        except FileNotFoundError:
            continue
    return _read_files(client, list_files(client, table), columns)


def _read_files(client: Any, paths: list[str], columns: list[str] | None) -> pa.Table:
    def read(path: str) -> pa.Table:
        with client.fs_client.open(path, "rb") as file:
            if not path.endswith(".parquet"):  # dlt writes its own tables as JSON lines
                return pj.read_json(file)
            parquet = pq.ParquetFile(file)
            # files of earlier versions lack columns that were added since
            there = parquet.schema_arrow.names
            return parquet.read(columns=columns and [name for name in columns if name in there])

    with ThreadPoolExecutor(_READERS) as readers:  # a bucket answers many requests at once
        parts = list(readers.map(read, paths))
    return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})
