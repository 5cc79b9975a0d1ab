"""Compact plain parquet files: small files of many loads become one file a month, with the rows that count.

A month whose files are compacted already and that got no new rows is left alone, so the cost of a compaction
depends on the rows that were loaded since the last one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vbc_source.lakes.current_rows import START, end_month, list_months, select_current
from vbc_source.lakes.swap import Swap, list_files, name_file

ALL, NONE = "all", "none"  # instead of a month: tables without `start`, rows without one
_LOAD = re.compile(r"\d{9,}\.\d+")  # a load id of dlt in a file's name
_COMPACTED = re.compile(r"compact\.([^.]+)\.[0-9a-f]{32}\.parquet$")


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    name: str
    month: str  # empty for a file of a load

    @classmethod
    def make(cls, client: Any, path: str) -> _File:
        found = _COMPACTED.search(path)
        return cls(path, name_file(client, path), found[1] if found else "")


def compact_files(client: Any, table: str, complete: frozenset[str]) -> int:
    """Compact the files of one table; return how many files there are less.

    Args:
        client: dlt's client of the dataset.
        table: The table's name.
        complete: Ids of the loads that are complete; files of others are left alone.
    """
    swap = Swap(client, table)
    # first: the note of the next compaction would take the place of a killed one's, and its files would stay
    swap.recover()
    files = [_File.make(client, path) for path in list_files(client, table) if path.endswith(".parquet")]
    new = [file for file in files if not file.month and _find_load(file.name) in complete]
    # a single new file can wait: its months would be rewritten for nothing gained
    if len(new) < 2:
        return 0
    compacted: dict[str, list[_File]] = {}
    for file in files:
        if file.month:
            compacted.setdefault(file.month, []).append(file)
    columns = client.schema.tables[table]["columns"]
    # the `x` keeps a slash at the end of a prefix, which a relative path loses
    prefix = name_file(client, client.get_table_prefix(table) + "x")[:-1]
    added, replaced = {}, [file.name for file in new]
    for month in _find_months(client, new):
        old = compacted.get(month, [])
        replaced += [file.name for file in old]
        # a new name each time: the old file of the month stays beside it until the swap removes it
        name = f"{prefix}compact.{month}.{uuid4().hex}.parquet"
        added[name] = partial(_write_month, client, [*old, *new], month, columns)
    swap.run(added, replaced)
    return len(replaced) - len(added)


def _write_month(client: Any, files: list[_File], month: str, columns: Any) -> bytes:
    """Write the rows of one month as a parquet file; memory holds those rows alone."""
    parts = [_read(client, file, _write_filter(month)) for file in files]
    rows = select_current(pa.concat_tables(parts, promote_options="default"), columns)
    return write_parquet(rows)


def write_parquet(rows: pa.Table) -> bytes:
    """Write rows as a parquet file."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    return buffer.getvalue()


def make_successor(name: str) -> str:
    """Make a name for a file that takes another's place, from which its month or load is still read."""
    if _COMPACTED.search(name):
        return f"{name.rsplit('.', 2)[0]}.{uuid4().hex}.parquet"
    return f"{name.removesuffix('.parquet')}.{uuid4().hex[:8]}.parquet"


def _find_load(name: str) -> str:
    # the file's own name first: a layout may put a load id into the name of a folder as well
    found = _LOAD.search(name.rpartition("/")[2]) or _LOAD.search(name)
    return found[0] if found else ""


def _find_months(client: Any, files: list[_File]) -> Iterator[str]:
    """Yield the months of the rows in files."""
    parts = [_read(client, file, columns=[START]) for file in files]
    if not any(START in part.column_names for part in parts):
        yield ALL
        return
    starts = pa.concat_tables(parts, promote_options="default")[START]
    for month in list_months(starts):
        yield f"{month:%Y-%m}"
    if starts.null_count:
        yield NONE


def _read(
    client: Any, file: _File, rows: pc.Expression | None = None, columns: list[str] | None = None
) -> pa.Table:
    with client.fs_client.open(file.path, "rb") as handle:
        # files of loads before a column came do not have it, and Arrow refuses to read it there
        if columns is not None:
            there = pq.read_schema(handle).names
            columns = [name for name in columns if name in there]
        return pq.read_table(handle, columns=columns, filters=rows)


def _write_filter(month: str) -> pc.Expression | None:
    if month == ALL:
        return None
    start = pc.field(START)
    if month == NONE:
        return start.is_null()
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=timezone.utc)
    return (start >= pa.scalar(first)) & (start < pa.scalar(end_month(first)))


def compact_loads(client: Any, table: str) -> int:
    """Join the files of dlt's own table of loads, one for each load, which every query of proofs reads."""
    swap = Swap(client, table)
    swap.recover()
    files = list_files(client, table)
    if len(files) < 2:
        return 0
    lines = []
    for path in files:
        lines += [line for line in client.fs_client.cat_file(path).splitlines() if line.strip()]
    # not of the form that dlt gives to a load, whose file must stay as it is
    joined = f"{table}/compact__{uuid4().hex}.jsonl"
    swap.run({joined: lambda: b"\n".join(lines) + b"\n"}, [name_file(client, path) for path in files])
    return len(files) - 1
