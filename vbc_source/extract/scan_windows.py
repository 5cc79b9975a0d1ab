"""Rows of `scan_windows`: what was read, when, and whether it is proven complete.

A reading that brought nothing new replaces the row of an earlier one. A list that rests is read again and
again from the same second on. Each reading proves what the one before proved, and more, so they share two
rows that are replaced in turn. One row would not do: until its load is complete the new proof does not count,
and the old one, which does, would be gone.

Readings that brought rows keep rows of their own, and windows that merely touch are not joined: a row says
when all of its window was read, from which the models derive when a recording was first loaded, and how old a
proof is. And with a longer lookback less of each window counts, so that a joined one would prove too much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.destination_lookup import StoredReading
from vbc_source.extract.reading.lists import ListOwner
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.tables import LIST_KEY, mark_table
from vbc_source.schema.columns import INSTANT, LARGEST
from vbc_source.schema.names import LOAD_ID
from vbc_source.schema.pages import PageRows
from vbc_source.windows import Window, format_instant

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)
SCHEMA = pa.schema(
    dict.fromkeys(("reading_id", *LIST_KEY), pa.string())
    | dict.fromkeys(("window_start", "window_end"), INSTANT)
    | dict.fromkeys(
        ("total_items", "rows_read", "rows_loaded", "requests", "readings", "attempts"), pa.int64()
    )
    | {"is_proven": pa.bool_(), "scanned_at": INSTANT, "filters": pa.string(), LOAD_ID: pa.string()}
)


def name_list(resource: str, owner: ListOwner, window: Window, filters: str) -> str:
    """Return a name for a list from a second on, short enough for a key."""
    text = "\n".join((resource, str(owner), filters, format_instant(window.start)))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def name_rows(name: str) -> tuple[str, str]:
    """Return the keys of the two rows that repeated readings share."""
    return f"{name}-a", f"{name}-b"


def choose_row(name: str, stored: Mapping[str, StoredReading]) -> StoredReading:
    """Return the row to replace: never the newest one of a complete load."""
    rows = [stored.get(id_) or StoredReading(id_, False, EARLIEST, 0, 0, 0) for id_ in name_rows(name)]
    return min(rows, key=lambda row: (row.is_complete, row.scanned_at))


def make_scan_windows(
    endpoint: Endpoint,
    windows: Sequence[tuple[ListOwner, ReadWindow[PageRows]]],
    filters: str,
    load_id: str | None = None,
    read_at: datetime | None = None,
    *,
    in_lake: bool = False,
    replaced: Mapping[int, StoredReading] = {},
) -> Any:
    """Make the rows of windows that were read.

    They name the load that brings them, and how many rows they prove: both must be in the destination. A load
    that was killed may have left its proofs without the rows, and rows may be deleted later. `read_at` is no
    later than the first request: what appeared between reading and loading is not proven.

    `replaced` are, by place in `windows`, the rows that a repeated reading takes the place of. Its row stands
    for all of them: requests and rows are added up. In a lake, rows are only added.
    """
    now, load = read_at or datetime.now(timezone.utc), load_id or dlt.current.load_package_state()["load_id"]
    rows = []
    for place, (owner, read) in enumerate(windows):
        name = name_list(endpoint.name, owner, read.window, filters)
        before = replaced.get(place) or StoredReading(f"{name}-{load}", False, now, 0, 0, 0)
        row = {
            "reading_id": before.id,
            "account_id": owner.account,
            "resource": endpoint.name,
            "user_id": owner.user,
            "window_start": read.window.start,
            "window_end": read.window.end,
            "total_items": min(read.total_items, LARGEST - 1),  # nothing bounds what a server reports
            "rows_read": before.rows_read + sum(page.count for page in read.pages),
            "rows_loaded": count_inside(read, endpoint.shape.id_column),
            "is_proven": read.is_proven,
            "requests": before.requests + read.requests,
            "readings": before.readings + 1,
            "attempts": read.attempts,
            "scanned_at": now,
            "filters": filters or None,
            LOAD_ID: load,
        }
        rows.append(row)
    table = pa.Table.from_pylist(rows, SCHEMA)
    if in_lake:
        return mark_table(table, "scan_windows")
    # nullable: rows of earlier versions have no key
    return mark_table(table, "scan_windows", ("reading_id",), columns={"reading_id": {"nullable": True}})


def count_inside(read: ReadWindow[PageRows], id_column: str = "id") -> int:
    """Count the rows of a window that start in it; its last second belongs to the next one too."""
    pages = [page.rows.table.select([id_column, "start"]) for page in read.pages]
    # counted anew from the pages: `total_items` has the last second too, and rows that
    # were read twice count once
    rows = pa.concat_tables(pages) if pages else pa.table({id_column: [], "start": []})
    start, end = (pa.scalar(bound, INSTANT) for bound in (read.window.start, read.window.end))
    inside = pc.and_(pc.greater_equal(rows["start"], start), pc.less(rows["start"], end))
    return int(pc.count_distinct(rows[id_column].filter(inside)).as_py())
