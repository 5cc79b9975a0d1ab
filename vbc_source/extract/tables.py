"""The tables that go to dlt: rows, their lists as child tables, and the ledgers of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.endpoints import Endpoint
from vbc_source.dlt_internals import YieldMapItem
from vbc_source.extract.destination_lookup import StoredReading, add_load_id
from vbc_source.extract.lists import ListOwner
from vbc_source.extract.repeated_readings import name_list
from vbc_source.extract.window_reader import ReadWindow
from vbc_source.lakes.tables import is_lake
from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import INSTANT, LARGEST
from vbc_source.schema.pages import PageRows, read_page
from vbc_source.schema.tables import build_table, split_lists

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": INSTANT,
}


class ChildTables(YieldMapItem):
    """The step of a pipe that moves the lists in rows to tables of their own."""

    # Behind dlt's incremental step (1), which refuses tables without a cursor column, and behind what a user
    # adds to the pipe: so `with_resources` brings the child tables, and a limit does not count them.
    placement_affinity: ClassVar[float] = 1.5

    def __init__(self, endpoint: Endpoint, privacy: PiiPolicy) -> None:
        self._endpoint, self._privacy, self._in_lake = endpoint, privacy, False
        super().__init__(self._split)

    def bind(self, pipe: Any) -> ChildTables:
        """Look up the destination; dlt calls this once in each run, when the pipeline is active."""
        # not for each table: dlt resolves the configuration again each time, which takes longer than a table
        self._in_lake = is_lake(dlt.current.pipeline())
        super().bind(pipe)
        return self

    def _split(self, rows: pa.Table) -> Iterator[Any]:
        return split_children(rows, self._endpoint, self._privacy, in_lake=self._in_lake)


def split_children(
    rows: pa.Table, endpoint: Endpoint, privacy: PiiPolicy, *, in_lake: bool = False
) -> Iterator[Any]:
    """Yield rows without their lists, then a child table for each list."""
    shape = endpoint.shape
    mark = add_load_id if in_lake else lambda table: table
    yield mark(rows.drop_columns([name for name in shape.lists if name in rows.column_names]))
    key = (*endpoint.key, shape.child_key)
    for name, table in split_lists(rows, endpoint.key, shape, privacy).items():
        # a row that marks a list as empty is deleted after it has cleared the list; in files it stays
        columns = {} if in_lake else {"is_empty": {"hard_delete": True}}
        child = f"{endpoint.name}__{name}"
        yield mark_table(mark(table), child, (*key, "position"), merge_key=key, columns=columns)


class TableBuilder:
    """Builds the tables of an endpoint's rows.

    A column that the specs do not know keeps the type that it got first, here or in an earlier load.
    """

    def __init__(self, endpoint: Endpoint, schema: dlt.Schema, privacy: PiiPolicy) -> None:
        self._endpoint, self._schema, self._privacy = endpoint, schema, privacy
        self._types: dict[str, pa.DataType] = {}

    def build(self, pages: Sequence[PageRows], key: Mapping[str, str]) -> pa.Table:
        """Build a table of the rows of pages; `key` holds the columns that identify the list."""
        table = build_table(pages, key, self._known_type, self._endpoint.shape, self._privacy)
        for field in table.schema:
            self._types.setdefault(field.name, field.type)
        return table

    def _known_type(self, column: str) -> pa.DataType | None:
        tables = self._schema.tables
        columns = tables[self._endpoint.name]["columns"] if self._endpoint.name in tables else {}
        known = columns.get(column, {}).get("data_type")
        return ARROW_TYPES.get(known, pa.string()) if known else self._types.get(column)


def make_empty_tables(endpoint: Endpoint, schema: dlt.Schema) -> Iterator[Any]:
    """Yield the tables that a load of a list brings, without rows."""
    page = read_page(b'{"total_items": 0}', endpoint.shape)
    yield TableBuilder(endpoint, schema, PiiPolicy()).build([page.rows], dict.fromkeys(endpoint.key, ""))
    yield make_scan_windows(endpoint, [], "", in_lake=is_lake(dlt.current.pipeline()))
    yield make_user_access([])


def make_scan_windows(
    endpoint: Endpoint,
    proofs: Sequence[tuple[ListOwner, ReadWindow[PageRows]]],
    filters: str,
    load_id: str | None = None,
    read_at: datetime | None = None,
    *,
    in_lake: bool = False,
    replaced: Mapping[int, StoredReading] = {},
) -> Any:
    """Make rows of `scan_windows`: what was read, when, and whether it is proven complete.

    They name the load that brings them, and how many rows they prove: both must be in the destination. A load
    that was killed may have left its proofs without the rows, and rows may be deleted later. `read_at` is no
    later than the first request: what appeared between reading and loading is not proven.

    `replaced` are, by place in `proofs`, the rows that a repeated reading takes the place of. Its row stands
    for all of them: requests and rows are added up. In a lake, rows are only added.
    """
    now, load = read_at or datetime.now(timezone.utc), load_id or dlt.current.load_package_state()["load_id"]
    rows = []
    for place, (owner, proof) in enumerate(proofs):
        name = name_list(endpoint.name, owner, proof.window, filters)
        before = replaced.get(place) or StoredReading(f"{name}-{load}", False, now, 0, 0, 0)
        row = {
            "reading_id": before.id,
            "account_id": owner.account,
            "resource": endpoint.name,
            "user_id": owner.user,
            "window_start": proof.window.start,
            "window_end": proof.window.end,
            "total_items": min(proof.total_items, LARGEST - 1),  # nothing bounds what a server reports
            "rows_read": before.rows_read + sum(page.count for page in proof.pages),
            "rows_loaded": count_inside(proof, endpoint.shape.id_column),
            "is_proven": proof.is_proven,
            "requests": before.requests + proof.requests,
            "readings": before.readings + 1,
            "attempts": proof.attempts,
            "scanned_at": now,
            "filters": filters or None,
            "_dlt_load_id": load,
        }
        rows.append(row)
    table = pa.Table.from_pylist(rows, _PROOFS)
    if in_lake:
        return mark_table(table, "scan_windows")
    # nullable: rows of earlier versions have no key
    return mark_table(table, "scan_windows", ("reading_id",), columns={"reading_id": {"nullable": True}})


def count_inside(proof: ReadWindow[PageRows], id_column: str = "id") -> int:
    """Count the rows of a window that start in it; its last second belongs to the next one too."""
    pages = [page.rows.table.select([id_column, "start"]) for page in proof.pages]
    rows = pa.concat_tables(pages) if pages else pa.table({id_column: [], "start": []})
    bounds = (pa.scalar(bound, INSTANT) for bound in (proof.window.start, proof.window.end))
    start, end = bounds
    inside = pc.and_(pc.greater_equal(rows["start"], start), pc.less(rows["start"], end))
    return int(pc.count_distinct(rows[id_column].filter(inside)).as_py())


def make_user_access(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Make rows of `user_access`: lists that became forbidden or unknown, or readable again."""
    return mark_table(pa.Table.from_pylist(list(rows), _ACCESS), "user_access", _LIST_KEY)


def mark_table(rows: pa.Table, name: str, key: Sequence[str] = (), **hints: Any) -> Any:
    """Mark rows of a resource as those of another table: merged by a key, or appended without one."""
    keys: dict[str, Any] = {"primary_key": key, "merge_key": (), **hints}
    table = dlt.mark.make_hints(name, write_disposition="merge" if key else "append", **keys)
    return dlt.mark.with_hints(rows, table, create_table_variant=True)


_LIST_KEY = ("account_id", "resource", "user_id")
_PROOFS = pa.schema(
    dict.fromkeys(("reading_id", *_LIST_KEY), pa.string())
    | dict.fromkeys(("window_start", "window_end"), INSTANT)
    | dict.fromkeys(
        ("total_items", "rows_read", "rows_loaded", "requests", "readings", "attempts"), pa.int64()
    )
    | {"is_proven": pa.bool_(), "scanned_at": INSTANT, "filters": pa.string(), "_dlt_load_id": pa.string()}
)
_ACCESS = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in _LIST_KEY]
    + [pa.field(name, pa.string()) for name in ("user_name", "access", "detail")]
    + [pa.field("noted_at", INSTANT)]
)
