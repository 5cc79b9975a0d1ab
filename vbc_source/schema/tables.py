"""Building an Arrow table from the pages of a window, and child tables from its lists. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import VARIANT, build_column, guess_type, to_text
from vbc_source.schema.pages import PageRows, has_values
from vbc_source.schema.specs import RECORDING, ListSpec, RowSpec


def build_table(
    pages: Sequence[PageRows],
    key: Mapping[str, str],
    known: Callable[[str], pa.DataType | None],
    normalize: Callable[[str], str] = str,
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> pa.Table:
    """Build one table from pages; lists stay columns of lists.

    If an id is on two pages, its first row is taken. `key` has constant columns to put in front, such
    as the account id. `known` returns the type of an unknown field that was loaded before, or None; values
    that do not fit it go to a variant column. `normalize` returns the name of a field in the destination;
    a field whose name is taken, by the key or another field, becomes a variant column.
    """
    table = pa.concat_tables([page.table for page in pages], promote_options="default")
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    columns |= zip(table.column_names, table.columns, strict=True)
    if not privacy.keeps:
        # a value that does not fit its column may be anything, so variant columns are personal too
        names = [name for name in table.column_names if name in spec.personal or name.endswith(VARIANT)]
        columns |= {name: privacy.hide_column(table[name]) for name in names}
    for name in dict.fromkeys(name for page in pages for name in page.unknown):
        values = [value for page in pages for value in page.unknown.get(name) or [None] * len(page.table)]
        values = values if privacy.keeps else [privacy.hide_value(value) for value in values]
        if has_values(values):
            column, kind = normalize(name or "unnamed"), None
            while column in columns:  # as of `ID` beside `id`
                column, kind = column + VARIANT, pa.string()
            columns |= build_column(column, values, kind or known(column) or guess_type(values))
    return _drop_repeated(make_table(columns, [*key, spec.id_column]), spec.id_column)


def make_table(columns: Mapping[str, Any], required: Sequence[str]) -> pa.Table:
    """Make a table of columns; the required ones are not nullable, which dlt expects of keys."""
    fields = [pa.field(name, column.type, name not in required) for name, column in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))


def _drop_repeated(table: pa.Table, id_column: str) -> pa.Table:
    if pc.count_distinct(table[id_column]).as_py() == len(table):
        return table
    rows = {id_: row for row, id_ in reversed(list(enumerate(table[id_column].to_pylist())))}
    return table.take(sorted(rows.values()))


def digest(table: pa.Table, id_column: str) -> str:
    """Return a digest of the content of a table, independent of the order of its rows."""
    sink = pa.BufferOutputStream()
    ordered = table.sort_by(id_column).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(ordered)
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()


def split_lists(
    table: pa.Table,
    key: Sequence[str],
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> dict[str, pa.Table]:
    """Split the lists of a table of `build_table` into child tables, by the name of the list.

    Their columns are those of `key`, the id of the row (`recording_id` or the like), `position` in the
    API's list from 0, the value columns, and `is_empty`. A row with an empty list gets one child with
    `is_empty`: dlt replaces children only for keys that it receives, so a list that became empty would
    otherwise keep its old children.
    """
    present = [name for name in spec.lists if name in table.column_names]
    return {name: _split_list(table, name, key, spec, privacy) for name in present}


def _split_list(
    table: pa.Table, name: str, key: Sequence[str], spec: RowSpec, privacy: PiiPolicy
) -> pa.Table:
    lists = table[name].combine_chunks()
    parents = pc.list_parent_indices(lists)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])  # the table may be a slice of a larger one
    positions = pc.subtract(pa.arange(0, len(parents)), pc.cast(pc.take(offsets, parents), pa.int64()))
    values = pc.list_flatten(lists)
    valid = pc.is_valid(values)  # null and {} became null: they are no values
    parents, positions, values = (column.filter(valid) for column in (parents, positions, values))
    empty = pc.indices_nonzero(pc.invert(pc.is_in(pa.arange(0, len(lists)), parents)))
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
    value: Any = None
    with suppress(msgspec.DecodeError):
        value = msgspec.json.decode(text or "{}")
    return value if isinstance(value, dict) else {first_column: text}
