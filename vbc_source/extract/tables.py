"""The tables that go to dlt: rows, their lists as child tables, and who may read which list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import dlt
import pyarrow as pa

from vbc_source.api.endpoints import Endpoint
from vbc_source.dlt_internals import YieldMapItem
from vbc_source.lakes.tables import is_lake
from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import ARROW_TYPES, INSTANT
from vbc_source.schema.names import LOAD_ID
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import build_table, split_lists

LIST_KEY = ("account_id", "resource", "user_id")  # of a list, in the ledgers of what was read


class ChildTables(YieldMapItem):
    """The step of a pipe that moves the lists in rows to tables of their own."""

    # After dlt's incremental step (1), which refuses tables without a cursor column, and after what a user
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
    # files keep earlier versions of a row, and the load tells which one counts; databases replace it
    mark = _add_load_id if in_lake else lambda table: table
    yield mark(rows.drop_columns([name for name in shape.lists if name in rows.column_names]))
    key = (*endpoint.key, shape.child_key)
    for name, table in split_lists(rows, endpoint.key, shape, privacy).items():
        # a row that marks a list as empty is deleted after it has cleared the list; in files it stays
        columns = {} if in_lake else {"is_empty": {"hard_delete": True}}
        child = f"{endpoint.name}__{name}"
        yield mark_table(mark(table), child, (*key, "position"), merge_key=key, columns=columns)


def _add_load_id(rows: pa.Table) -> pa.Table:
    """Add the id of the running load to rows; those that have it already, such as proofs, stay unchanged."""
    if LOAD_ID in rows.column_names:
        return rows
    load_id = str(dlt.current.load_package_state()["load_id"])
    return rows.append_column(LOAD_ID, pa.repeat(pa.scalar(load_id), len(rows)))


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


def make_user_access(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Make rows of `user_access`: lists that became forbidden or unknown, or readable again."""
    return mark_table(pa.Table.from_pylist(list(rows), ACCESS_SCHEMA), "user_access", LIST_KEY)


def mark_table(rows: pa.Table, name: str, key: Sequence[str] = (), **hints: Any) -> Any:
    """Mark rows of a resource as those of another table: merged by a key, or appended without one."""
    keys: dict[str, Any] = {"primary_key": key, "merge_key": (), **hints}
    table = dlt.mark.make_hints(name, write_disposition="merge" if key else "append", **keys)
    return dlt.mark.with_hints(rows, table, create_table_variant=True)


ACCESS_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in LIST_KEY]
    + [pa.field(name, pa.string()) for name in ("user_name", "access", "detail")]
    + [pa.field("noted_at", INSTANT)]
)
