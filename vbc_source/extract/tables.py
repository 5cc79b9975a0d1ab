"""What goes to dlt beside the rows themselves: lists as child tables, and ledgers of what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, ClassVar

import dlt
import pyarrow as pa
from dlt.common.schema import Schema
from dlt.extract.items_transform import YieldMapItem

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.completeness import ProvenWindow
from vbc_source.extract.file_tables import add_load_id, is_lake
from vbc_source.extract.lists import ListOwner
from vbc_source.pii import PiiPolicy
from vbc_source.schema.child_tables import split_lists
from vbc_source.schema.columns import INSTANT
from vbc_source.schema.pages import PageRows, read_page
from vbc_source.schema.tables import build_table

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": INSTANT,
}


class ChildTables(YieldMapItem):
    """Sends rows on, and their lists to tables of their own, behind whatever a user adds to the pipe.

    So they come with `with_resources`, and a limit counts tables of rows, not child tables.
    """

    placement_affinity: ClassVar[float] = 1.5


def split_children(endpoint: Endpoint, privacy: PiiPolicy) -> ChildTables:
    """Make the step that takes an endpoint's lists out of its rows."""

    def split(rows: pa.Table) -> Iterator[Any]:  # dlt would fill a second argument
        return _split(rows, endpoint, privacy, in_lake=is_lake())

    return ChildTables(split)


def _split(rows: pa.Table, endpoint: Endpoint, privacy: PiiPolicy, *, in_lake: bool) -> Iterator[Any]:
    shape = endpoint.shape
    mark = add_load_id if in_lake else lambda table: table
    present = [name for name in shape.lists if name in rows.column_names]
    yield mark(rows.drop_columns(present))
    key = (*endpoint.key, shape.child_key)
    for name, table in split_lists(rows, endpoint.key, shape, privacy).items():
        hints = dlt.mark.make_hints(
            table_name=f"{endpoint.name}__{name}",
            write_disposition="merge",
            primary_key=(*key, "position"),
            merge_key=key,
            # where no statement clears the rest of a list, the row that says so is needed
            columns={} if in_lake else {"is_empty": {"hard_delete": True}},
        )
        yield dlt.mark.with_hints(mark(table), hints, create_table_variant=True)


class TableBuilder:
    """Makes the tables of an endpoint's rows.

    A further column keeps the type that it got first, here or in an earlier load.

    Args:
        endpoint: of which rows.
        schema: what the destination knows.
        privacy: what becomes of personal data.
    """

    def __init__(self, endpoint: Endpoint, schema: Schema, privacy: PiiPolicy) -> None:
        self._endpoint, self._schema, self._privacy = endpoint, schema, privacy
        self._types: dict[str, pa.DataType] = {}

    def build(self, pages: Sequence[PageRows], key: Mapping[str, str]) -> pa.Table:
        """Make a table of the rows of pages; `key` holds the columns that tell whose they are."""
        normalize, shape = self._schema.naming.normalize_identifier, self._endpoint.shape
        table = build_table(pages, key, self._known_type, normalize, shape, self._privacy)
        for field in table.schema:
            self._types.setdefault(field.name, field.type)
        return table

    def _known_type(self, column: str) -> pa.DataType | None:
        tables = self._schema.tables
        columns = tables[self._endpoint.name]["columns"] if self._endpoint.name in tables else {}
        known = columns.get(column, {}).get("data_type")
        return ARROW_TYPES.get(known, pa.string()) if known else self._types.get(column)


def make_empty_tables(endpoint: Endpoint, schema: Schema) -> Iterator[Any]:
    """Make what a load of a list brings, without a row."""
    page = read_page(b'{"total_items": 0}', endpoint.shape)
    yield TableBuilder(endpoint, schema, PiiPolicy()).build([page.rows], dict.fromkeys(endpoint.key, ""))
    yield make_scan_windows(endpoint, [], "")
    yield make_user_access([])


def make_scan_windows(
    endpoint: Endpoint, proofs: Sequence[tuple[ListOwner, ProvenWindow[Any]]], filters: str
) -> Any:
    """What was proven complete, and when: rows of `scan_windows`.

    They name the load that brings them: the proof counts when `_dlt_loads` says that it is complete. A
    load that was killed may have left its proofs without the rows.
    """
    now, load = datetime.now(timezone.utc), dlt.current.load_package_state()["load_id"]
    rows = [
        {
            "account_id": place.account,
            "resource": endpoint.name,
            "user_id": place.user,
            "window_start": proof.window.start,
            "window_end": proof.window.end,
            "total_items": proof.total_items,
            "rows_read": sum(page.count for page in proof.pages),
            "requests": proof.requests,
            "attempts": proof.attempts,
            "scanned_at": now,
            "filters": filters or None,
            "_dlt_load_id": load,
        }
        for place, proof in proofs
    ]
    hints = dlt.mark.make_hints(
        table_name="scan_windows", write_disposition="append", primary_key=(), merge_key=()
    )
    return dlt.mark.with_hints(pa.Table.from_pylist(rows, _PROOFS), hints, create_table_variant=True)


def make_user_access(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Whose lists may not be read or are gone, and whose may be read again: rows of `user_access`."""
    hints = dlt.mark.make_hints(
        table_name="user_access",
        write_disposition="merge",
        primary_key=("account_id", "resource", "user_id"),
        merge_key=(),
    )
    return dlt.mark.with_hints(pa.Table.from_pylist(list(rows), _ACCESS), hints, create_table_variant=True)


_PROOFS = pa.schema(
    {
        "account_id": pa.string(),
        "resource": pa.string(),
        "user_id": pa.string(),
        "window_start": INSTANT,
        "window_end": INSTANT,
        "total_items": pa.int64(),
        "rows_read": pa.int64(),
        "requests": pa.int64(),
        "attempts": pa.int64(),
        "scanned_at": INSTANT,
        "filters": pa.string(),
        "_dlt_load_id": pa.string(),
    }
)
_ACCESS = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("resource", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("user_name", pa.string()),
        pa.field("access", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("noted_at", INSTANT),
    ]
)
