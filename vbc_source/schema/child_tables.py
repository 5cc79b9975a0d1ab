"""Splitting lists inside rows into child tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import build_column, to_text
from vbc_source.schema.specs import RECORDING, ListSpec, RowSpec
from vbc_source.schema.tables import make_table


def split_lists(
    table: pa.Table,
    key: Sequence[str],
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> dict[str, pa.Table]:
    """Split the lists of a table into child tables.

    Args:
        table: A table of `build_table`.
        key: Names of the key columns in front of the id.
        spec: Schema of the rows.
        privacy: Policy for personal data.

    Returns:
        Child tables by the name of the list. Columns: the key, the id of the row (`recording_id` or
        the like), `position` in the API's list from 0, the value columns, and `is_empty`. A row with
        an empty list gets one child with `is_empty`: dlt replaces children only for keys that it
        receives, so a list that became empty would otherwise keep its old children.
    """
    present = [name for name in spec.lists if name in table.column_names]
    return {name: _split_list(table, name, key, spec, privacy) for name in present}


def _split_list(
    table: pa.Table, name: str, key: Sequence[str], spec: RowSpec, privacy: PiiPolicy
) -> pa.Table:
    lists = table[name].combine_chunks()
    parents = pc.list_parent_indices(lists)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])  # the table may be a slice of a larger one
    positions = pc.subtract(_count(parents), pc.cast(pc.take(offsets, parents), pa.int64()))
    values = pc.list_flatten(lists)
    valid = pc.is_valid(values)  # null and {} became null: they are no values
    parents, positions, values = (column.filter(valid) for column in (parents, positions, values))
    empty = pc.indices_nonzero(pc.invert(pc.is_in(_count(lists), parents)))
    rows = pa.concat_arrays([parents, pc.cast(empty, parents.type)])
    columns: dict[str, Any] = {column: pc.take(table[column], rows) for column in key}
    columns[spec.child_key] = pc.take(table[spec.id_column], rows)
    columns["position"] = pa.concat_arrays([positions, pa.repeat(pa.scalar(0, pa.int64()), len(empty))])
    required = list(columns)
    values = pa.concat_arrays([values, pa.nulls(len(empty), pa.string())])
    columns |= _build_values(values, spec.lists[name], privacy)
    columns["is_empty"] = pa.concat_arrays(
        [pa.nulls(len(positions), pa.bool_()), pa.repeat(pa.scalar(True), len(empty))]
    )
    return make_table(columns, required)


def _build_values(values: pa.Array, spec: ListSpec, privacy: PiiPolicy) -> dict[str, Any]:
    if spec.objects:
        return _build_object_columns(values.to_pylist(), spec, privacy)
    ((name, kind),) = spec.columns.items()
    values = privacy.hide_long(values) if kind == pa.string() else values
    try:
        return {name: pc.cast(values, kind)}
    except pa.ArrowInvalid:
        columns = build_column(name, values.to_pylist(), kind)
        variants = {other: privacy.hide_column(columns[other]) for other in columns if other != name}
        return {name: columns[name]} | variants


def _build_object_columns(texts: list[str | None], spec: ListSpec, privacy: PiiPolicy) -> dict[str, Any]:
    """Build the columns of items that are objects; pages keep those as JSON."""
    objects = [_read_object(text, next(iter(spec.columns))) for text in texts]
    renamed = [{spec.names.get(name, name): value for name, value in item.items()} for item in objects]
    names = dict.fromkeys([*spec.columns, *(name for item in renamed for name in item)])
    columns: dict[str, Any] = {}
    for name in names:
        values = [item.get(name) for item in renamed]
        if name not in spec.clear:
            values = [privacy.hide_value(value) for value in values]
        column = [None if value is None else to_text(value) for value in values]
        columns |= build_column(name, column, spec.columns.get(name, pa.string()))
    return columns


def _read_object(text: str | None, first_column: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    return value if isinstance(value, dict) else {first_column: text}


def _count(rows: Any) -> pa.Array:
    return pa.arange(0, len(rows))
