"""Lists inside rows become tables of their own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import build_column, to_text
from vbc_source.schema.pages import nullable
from vbc_source.schema.specs import RECORDING, ListSpec, RowSpec


def split_lists(
    table: pa.Table,
    key: Sequence[str],
    shape: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> dict[str, pa.Table]:
    """Take the lists out of rows into tables of their own.

    Args:
        table: as `build_table` made it.
        key: names of the key columns before the row's id, which becomes `recording_id` or the like.
        shape: what the rows are.
        privacy: what becomes of personal data.

    Returns:
        By list name: key columns, the row's id, `position` (from 0, as in the API's list), the
        value columns, and `is_empty`: a row without any gets one that bears it, so that a list
        which shrank to nothing clears what was loaded of it before.
    """
    present = [name for name in shape.lists if name in table.column_names]
    return {name: _split_list(table, name, key, shape, privacy) for name in present}


def _split_list(
    table: pa.Table, name: str, key: Sequence[str], shape: RowSpec, privacy: PiiPolicy
) -> pa.Table:
    lists = table[name].combine_chunks()
    parents = pc.list_parent_indices(lists)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    positions = pc.subtract(_count(parents), pc.cast(pc.take(offsets, parents), pa.int64()))
    values = pc.list_flatten(lists)
    filled = pc.is_valid(values)  # null and {} say nothing
    parents, positions, values = (column.filter(filled) for column in (parents, positions, values))
    empty = pc.indices_nonzero(pc.invert(pc.is_in(_count(lists), parents)))
    rows = pa.concat_arrays([parents, pc.cast(empty, parents.type)])
    columns: dict[str, Any] = {column: pc.take(table[column], rows) for column in key}
    columns[shape.child_key] = pc.take(table[shape.id_column], rows)
    columns["position"] = pa.concat_arrays([positions, pa.repeat(pa.scalar(0, pa.int64()), len(empty))])
    required = list(columns)
    values = pa.concat_arrays([values, pa.nulls(len(empty), pa.string())])
    columns |= _take_items(values, shape.lists[name], privacy)
    columns["is_empty"] = pa.concat_arrays(
        [pa.nulls(len(positions), pa.bool_()), pa.repeat(pa.scalar(True), len(empty))]
    )
    return nullable(columns, required)


def _take_items(values: pa.Array, items: ListSpec, privacy: PiiPolicy) -> dict[str, Any]:
    if items.objects:
        return _take_objects(values.to_pylist(), items, privacy)
    ((name, kind),) = items.columns.items()
    values = privacy.hide_long(values) if kind == pa.string() else values
    try:
        return {name: pc.cast(values, kind)}
    except pa.ArrowInvalid:
        columns = build_column(name, values.to_pylist(), kind)
        return {name: columns.pop(name)} | {
            variant: privacy.hide_column(column) for variant, column in columns.items()
        }


def _take_objects(texts: list[str | None], items: ListSpec, privacy: PiiPolicy) -> dict[str, Any]:
    """Make columns of items that are objects, which a page keeps as JSON."""
    objects = [_read_object(text, next(iter(items.columns))) for text in texts]
    renamed = [{items.names.get(name, name): value for name, value in item.items()} for item in objects]
    names = dict.fromkeys([*items.columns, *(name for item in renamed for name in item)])
    columns: dict[str, Any] = {}
    for name in names:
        values = [item.get(name) for item in renamed]
        if name not in items.clear:
            values = [privacy.hide_value(value) for value in values]
        columns |= build_column(
            name, [to_or_none(value) for value in values], items.columns.get(name, pa.string())
        )
    return columns


def to_or_none(value: Any) -> str | None:
    """Write a value as text, but leave null as it is."""
    return None if value is None else to_text(value)


def _read_object(text: str | None, plain: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    return value if isinstance(value, dict) else {plain: text}


def _count(rows: Any) -> pa.Array:
    return pa.arange(0, len(rows))
