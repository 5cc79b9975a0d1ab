"""Compact Iceberg tables with the library `pyiceberg`, which has no compaction of its own: month by month.

dlt's catalog belongs to one process: two processes that write to a table at the same time overwrite each
other's commit. So a table is compacted under the lock of the pipeline that loads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.lakes.current_rows import START, end_month, list_months, select_current
from vbc_source.lakes.swap import base_name


def compact_iceberg(client: Any, table: str, keep_hours: float) -> int:
    """Rewrite months of several files with the rows that count; remove what no recent snapshot needs."""
    opened = client.load_open_table("iceberg", table)
    columns = client.schema.tables[table]["columns"]
    before = _count(opened)
    # a month at a time, so that memory holds the rows of one
    for part in list(_divide(opened)):
        if _count(opened, part) > 1:
            rows = select_current(opened.scan(row_filter=part).to_arrow(), columns)
            opened.overwrite(rows, overwrite_filter=part)
    # expiring makes metadata forget snapshots; their files stay until they are removed below
    oldest = datetime.now(timezone.utc) - timedelta(hours=keep_hours)
    opened.maintenance.expire_snapshots().older_than(oldest.replace(tzinfo=None)).commit()
    return before - _count(opened) + _remove_unused(client, opened, table, oldest)


def _divide(opened: Any) -> Iterator[Any]:
    """Yield a filter for each month; one for the whole of a table without `start`."""
    from pyiceberg.expressions import AlwaysTrue

    if START not in opened.schema().column_names:
        yield AlwaysTrue()
        return
    starts = opened.scan(selected_fields=(START,)).to_arrow()[START]
    for month in list_months(starts):
        first, after = (moment.isoformat() for moment in (month, end_month(month)))
        yield f"{START} >= '{first}' AND {START} < '{after}'"
    if starts.null_count:
        yield f"{START} IS NULL"


def _count(opened: Any, part: Any = None) -> int:
    scan = opened.scan(row_filter=part) if part else opened.scan()
    return len(list(scan.plan_files()))


def _remove_unused(client: Any, opened: Any, table: str, oldest: datetime) -> int:
    """Remove the files that no snapshot refers to, and that no load may be writing just now."""
    # compared by base names, which are unique: metadata has addresses with a scheme, a listing has paths
    used = {base_name(opened.metadata_location), "version-hint.text"}
    used |= {base_name(entry.metadata_file) for entry in opened.metadata.metadata_log[-1:]}
    for snapshot in opened.metadata.snapshots:
        used.add(base_name(snapshot.manifest_list))
        for manifest in snapshot.manifests(opened.io):
            used.add(base_name(manifest.manifest_path))
            used |= {
                base_name(entry.data_file.file_path) for entry in manifest.fetch_manifest_entry(opened.io)
            }
    unused = [
        path
        for path in client.list_table_files(table)
        if base_name(path) not in used and client.fs_client.modified(path) < oldest
    ]
    for path in unused:
        client.fs_client.rm_file(path)
    return len(unused)
