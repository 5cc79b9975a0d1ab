"""Building an Arrow table from the pages of a window, and child tables from its lists. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import CLEAR_URL, LONG_ID, PiiPolicy
from vbc_source.schema.columns import VARIANT, build_column, guess_type, to_text
from vbc_source.schema.names import Field, name_fields
from vbc_source.schema.pages import PageRows, has_values
from vbc_source.schema.specs import RECORDING, ListSpec, PersonalColumns, RowSpec


def build_table(
    pages: Sequence[PageRows],
    key: Mapping[str, str],
    known: Callable[[str], pa.DataType | None],
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> pa.Table:
    """Build one table from pages; lists stay columns of lists.

    If an id is on two pages, its first row is taken. `key` has constant columns to put in front, such
    as the account id. `known` returns the type of an unknown field that was loaded before, or None; values
    that do not fit it go to a variant column. Unknown fields are named by `schema.names`.
    """
    # a page may have a variant column that the others lack: Arrow fills it with nulls
    table = pa.concat_tables([page.table for page in pages], promote_options="default")
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    columns |= zip(table.column_names, table.columns, strict=True)
    columns = hide_columns(columns, spec, privacy)
    unknown: dict[Field, list[Any]] = {
        field: [value for page in pages for value in page.unknown.get(field) or [None] * len(page.table)]
        for field in dict.fromkeys(field for page in pages for field in page.unknown)
    }
    # hidden before they are named: the name of an unknown field may be a person's, and becomes a column's
    for name, values in name_fields(hide_fields(unknown, privacy), {*columns, *spec.own_columns}).items():
        if has_values(values):
            columns |= build_column(name, values, known(name) or guess_type(values))
    rows = _drop_repeated(make_table(columns, [*key, spec.id_column]), spec.id_column)
    return _name_legs(rows, spec) if spec.legs else rows


def read_row_ids(
    pages: Sequence[PageRows],
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> set[Any]:
    """Return the ids that the rows of a window's pages have in their table."""
    if not pages:
        return set()
    ids = build_table(pages, {}, lambda _: None, spec, privacy)[spec.id_column] if spec.legs else None
    return set(
        ids.to_pylist() if ids else [id_ for page in pages for id_ in page.table[spec.id_column].to_pylist()]
    )


def hide_columns(columns: dict[str, Any], spec: PersonalColumns, privacy: PiiPolicy) -> dict[str, Any]:
    """Hash or drop what is personal in known columns, and in the variant columns beside them."""
    if privacy.keeps:
        return columns
    # before the loop: what is moved to a variant column is hidden there
    for name in spec.ids:
        columns = _move_long_numbers(name, columns)
    for name in columns:
        if rule := find_rule(name, spec, privacy):
            columns = {**columns, name: privacy.hide_texts(columns[name], *rule)}
    return columns


def find_rule(
    name: str, spec: PersonalColumns, privacy: PiiPolicy
) -> tuple[Callable[[str], str | None], str | None] | None:
    """Return what hides a text of a known column, and the pattern of texts that it leaves as they are."""
    if name.endswith(VARIANT) or name in spec.personal:
        return privacy.hide, None  # a value that does not fit its column may be anything
    if name in spec.codes:
        return partial(privacy.hide_code, codes=spec.codes[name]), spec.codes[name]
    return (privacy.hide_url, CLEAR_URL) if name in spec.addresses else None


def _move_long_numbers(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Move ids as long as a telephone number to the variant column."""
    numbers = columns[name]
    long = pc.fill_null(pc.or_(pc.greater_equal(numbers, LONG_ID), pc.less_equal(numbers, -LONG_ID)), False)
    if not pc.any(long).as_py():
        return columns
    others = columns.get(name + VARIANT, pa.scalar(None, pa.string()))
    texts = pc.if_else(long, pc.cast(numbers, pa.string()), others)
    return {**columns, name: pc.if_else(long, pa.scalar(None, numbers.type), numbers), name + VARIANT: texts}


def hide_fields(fields: Mapping[Field, list[Any]], privacy: PiiPolicy) -> dict[Field, list[Any]]:
    """Hash or drop what is personal in unknown fields, and in their names."""
    if privacy.keeps:
        return dict(fields)
    hidden: dict[Field, list[Any]] = {}
    for field, values in fields.items():
        names = [privacy.hide_name(part) for part in field]
        if None not in names:
            # half of a hash is enough for a name, and fits
            short = tuple(
                f"hidden_{name[:32]}" if name != part else part
                for name, part in zip(names, field, strict=True)
                if name
            )
            hidden[short] = [privacy.hide_value(value) for value in values]
    return hidden


def make_table(columns: Mapping[str, Any], required: Sequence[str]) -> pa.Table:
    """Make a table of columns; the required ones are not nullable, which dlt expects of keys."""
    fields = [pa.field(name, column.type, name not in required) for name, column in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))


def _name_legs(table: pa.Table, spec: RowSpec) -> pa.Table:
    """Replace the ids of contents, which change with any field, by ids that a row keeps.

    Rows that nothing tells apart but, say, their length are numbered, in the order of their contents. All of
    them start at the same second, so that every reading that is proven has all of them.
    """
    contents = table[spec.id_column].to_pylist()
    names = list(zip(*(map(str, table[name].to_pylist()) for name in spec.legs), strict=True))
    ids, seen = [""] * len(table), dict[tuple[str, ...], int]()
    # not in the order of pages, which may differ between two readings: numbers would change places
    for row in sorted(range(len(table)), key=contents.__getitem__):
        seen[names[row]] = seen.get(names[row], 0) + 1
        ordinal = seen[names[row]]
        text = hashlib.blake2b("\n".join(names[row]).encode(), digest_size=8).hexdigest()
        ids[row] = f"{text}-{ordinal}" if ordinal > 1 else text
    columns = dict(zip(table.column_names, table.columns, strict=True))
    # the call's id is part of the key in databases, which admits no null
    columns |= {spec.id_column: pa.array(ids, pa.string()), spec.id: pc.fill_null(columns[spec.id], "")}
    return make_table(columns, [field.name for field in table.schema if not field.nullable] + [spec.id])


def _drop_repeated(table: pa.Table, id_column: str) -> pa.Table:
    if pc.count_distinct(table[id_column]).as_py() == len(table):
        return table
    # reversed, so that of rows with one id the first is the last that is put in, and stays
    rows = {id_: row for row, id_ in reversed(list(enumerate(table[id_column].to_pylist())))}
    return table.take(sorted(rows.values()))


def digest(table: pa.Table, id_column: str) -> str:
    """Return a digest of the content of a table, independent of the order of its rows."""
    sink = pa.BufferOutputStream()
    # one chunk: each is a message of its own in the stream, and pages of other sizes would change the digest
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
    try:
        # all at once where each text is a number; else one by one, and the others go to the variant column
        columns = {name: pc.cast(values, kind)}
    except pa.ArrowInvalid:
        columns = build_column(name, values.to_pylist(), kind)
    return hide_columns(columns, spec, privacy)


def _build_object_columns(texts: list[str | None], spec: ListSpec, privacy: PiiPolicy) -> dict[str, Any]:
    """Build the columns of items that are objects; pages keep those as JSON."""
    fields = {column: name for name, column in spec.names.items()}  # the API's name of each column
    fields = {column: fields.get(column, column) for column in spec.columns}
    objects = [_read_object(text, next(iter(fields.values()))) for text in texts]
    columns: dict[str, Any] = {}
    for name, field in fields.items():
        values = [item.get(field) for item in objects]
        columns[name] = _build_texts(values if name in spec.codes else map(privacy.hide_value, values))
    columns = hide_columns(columns, spec, privacy)
    names = dict.fromkeys(name for item in objects for name in item if name not in fields.values())
    unknown: dict[Field, list[Any]] = {(name,): [item.get(name) for item in objects] for name in names}
    named = name_fields(hide_fields(unknown, privacy), spec.columns)
    return columns | {name: _build_texts(values) for name, values in named.items() if has_values(values)}


def _build_texts(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else to_text(value) for value in values], pa.string())


def _read_object(text: str | None, first_field: str) -> dict[str, Any]:
    value: Any = None
    with suppress(msgspec.DecodeError):
        value = msgspec.json.decode("{}" if text is None else text)
    return value if isinstance(value, dict) else {first_field: text}
