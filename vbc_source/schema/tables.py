"""Building one Arrow table from the pages of a window. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import VARIANT, build_column, guess_type
from vbc_source.schema.pages import PageRows, has_values
from vbc_source.schema.specs import RECORDING, RowSpec


def build_table(
    pages: Sequence[PageRows],
    key: Mapping[str, str],
    known: Callable[[str], pa.DataType | None],
    normalize: Callable[[str], str] = str,
    spec: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> pa.Table:
    """Build one table from pages; lists stay columns of lists.

    Args:
        pages: Rows of one or more pages. If an id is on two pages, its first row is taken.
        key: Constant columns to put in front, such as the account id.
        known: Returns the type of an unknown field that was loaded before, or None; values that do
            not fit it go to a variant column.
        normalize: Returns the name of a field in the destination. A field whose name is taken, by the
            key or another field, becomes a variant column.
        spec: Schema of the rows.
        privacy: Policy for personal data.
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
