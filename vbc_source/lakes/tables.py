"""Read the tables of a lake: plain parquet files, Delta and Iceberg tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.errors import SettingsError
from vbc_source.lakes.swap import base_name, list_files

FILESYSTEM = "filesystem"
PLAIN = "none"  # the format of plain files
_FIRST = ("scan_windows", "recording_audio", "company_recordings")  # one of them is usually loaded first
_READERS = 8
_ATTEMPTS = 5  # a compaction may remove a file between listing and reading


def is_lake(pipeline: Any) -> bool:
    """Whether a pipeline loads files."""
    destination = pipeline.destination
    return destination is not None and destination.destination_type.endswith(f".{FILESYSTEM}")


def find_format(client: Any, table: str) -> str:
    """Return the format of a table: `delta`, `iceberg`, or empty for plain files."""
    return str(client.prepare_load_table(table).get("table_format") or "")


def name_format(destination: Any) -> str:
    """Return the name of the format in which a destination makes tables; where it has one alone, `none`."""
    return str(destination.capabilities().preferred_table_format or PLAIN)


def check_format(client: Any, table_format: str) -> None:
    """Check that a dataset has no tables of another format, beside whose files others would be put.

    Raises:
        SettingsError: It has; the message names both.
    """
    before = _detect_format(client)
    if before not in (None, table_format):
        raise other_format(before, table_format)


def check_bucket(client: Any) -> None:
    """Raise FileNotFoundError where the bucket itself is missing: its tables look as if never loaded then."""
    if not client.is_local_filesystem:
        client.fs_client.ls(client.bucket_path.partition("/")[0])


def other_format(before: str | None, table_format: str) -> SettingsError:
    """Make the error of a dataset that has another format than the settings."""
    return SettingsError(
        f"this dataset was created with table_format {before}, not {table_format}: set it back, or "
        "choose another --dataset"
    )


def _detect_format(client: Any) -> str | None:
    """Return the format of the tables that are there; None without any."""
    for table in _FIRST:
        if found := _detect_format_of(client, table):
            return found
    # dlt's own tables are JSON lines, whatever the format of the others
    tables = (name for name in sorted(_list_names(client)) if not name.startswith("_"))
    return next(filter(None, (_detect_format_of(client, table) for table in tables)), None)


def _detect_format_of(client: Any, table: str) -> str | None:
    names = _list_names(client, table)
    # in this order: a Delta table has parquet files beside its log, an Iceberg table has them a folder below
    if "_delta_log" in names:
        return "delta"
    if any(name.endswith(".parquet") for name in names):
        return PLAIN
    return "iceberg" if "metadata" in names else None


def _list_names(client: Any, *folder: str) -> set[str]:
    """List what is in the dataset's folder, or in one below it."""
    with suppress(FileNotFoundError, NotADirectoryError):
        paths = client.fs_client.ls(client.pathlib.join(client.dataset_path, *folder), detail=False)
        return {base_name(path) for path in paths}
    return set()


def read_table(client: Any, table: str, columns: list[str] | None = None) -> pa.Table:
    """Read all rows of a table, of every load; DuckDB would need extensions for it, which it downloads."""
    if table not in client.schema.tables:
        # as dlt's SQL clients do, so that a caller handles a missing table in one way everywhere
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
