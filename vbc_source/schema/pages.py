"""Bytes of a list page become Arrow columns. Pure; the schemas are data (`shapes`).

The body is decoded in compiled code into slotted structs, whose cells then become columns. A value
that does not fit its column goes, as text, to a column beside it named as dlt names variants
(`duration__v_text`); a field that is not known becomes a column. Nothing is dropped but `_links`,
which repeats the address of the request. Postgres holds no NUL in a text, and no encoding holds half
a character: `␀` and `�` stand for them, in every destination.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from operator import methodcaller
from typing import Any, Generic, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import (
    LARGEST,
    VARIANT,
    build_column,
    build_list,
    guess_type,
    to_integer,
    to_text,
)
from vbc_source.schema.specs import RECORDING, RowSpec

Columns = dict[str, list[Any]]
Decoder = msgspec.json.Decoder[Any]

NUL = b"\\u0000"  # as JSON writes it
# an escaped backslash and a pair of surrogates pass; a lone surrogate and NUL do not
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(?P<nul>\\u0000)"
)
_REPLACED = {"lone": b"\\ufffd", "nul": b"\\u2400", None: b""}


Rows = TypeVar("Rows")


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One answer of a list endpoint.

    Attributes:
        total_items: how many rows the whole list has.
        page_size: the size the server says it used, or None.
        ids: of the rows.
        seconds: works out, for each id, its `start` in seconds since 1970; seldom wanted.
        count: number of rows.
        rows: the rows, in whatever form the reader of the body gave them.
        links: addresses the answer gives of the list and of its first row.
    """

    total_items: int
    page_size: int | None
    ids: Sequence[int]
    seconds: Callable[[], Mapping[int, int | None]]
    count: int
    rows: Rows
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageRows:
    """The rows of one page.

    Attributes:
        table: the known columns; the lists as lists of text.
        further: other fields, which are typed when all pages of a window are there.
    """

    table: pa.Table
    further: Columns


@cache
def _decoders(shape: RowSpec) -> tuple[Decoder, Decoder]:
    """A decoder of what is known, and one of any fields."""
    # one link a page is enough: they are not decoded here
    fields = [(name, msgspec.Raw if name == "_links" else Any, None) for name in _names(shape)]
    known = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
    return _decoder(shape, known), _decoder(shape, dict[str, Any])


def _decoder(shape: RowSpec, row: Any) -> Decoder:
    rows = (shape.collection, list[row] | None, None)
    embedded = msgspec.defstruct("Embedded", [rows])
    body = msgspec.defstruct(
        "Body",
        [
            ("total_items", int),
            ("embedded", embedded | None, None),
            ("page_size", Any, None),
            ("links", Any, None),
        ],
        rename={"embedded": "_embedded", "links": "_links"},
    )
    return msgspec.json.Decoder(body, strict=False, float_hook=_read_number)


def _read_number(text: str) -> float | str:
    """Read a number with a fraction; one that no double holds stays text."""
    return text if math.isinf(number := float(text)) else number


def _names(shape: RowSpec) -> list[str]:
    inside = tuple(f"{name}_" for name in shape.nested)
    own = [name for name in shape.fields if not name.startswith(inside)] if inside else shape.fields
    return [shape.id, *own, *shape.lists, *shape.nested, *shape.ignored, "_links"]


def read_page(body: bytes, shape: RowSpec = RECORDING) -> Page[PageRows]:
    """Read one list answer.

    Args:
        body: the answer.
        shape: what its rows are.

    Raises:
        ValueError: the body is not a list answer; the text holds none of its values.
    """
    answer = _decode(body, shape)
    rows: Sequence[Any] = (getattr(answer.embedded, shape.collection) if answer.embedded else None) or ()
    columns = _take_columns(rows, shape)
    ids = _read_ids(columns.pop(shape.id), shape)
    table = {shape.id_column: pa.array(ids, shape.id_kind)}
    for name, kind in shape.fields.items():
        table |= build_column(name, columns.pop(name, []) or [None] * len(rows), kind)
    for name in shape.lists:
        table[name] = build_list(columns.pop(name))
    size = answer.page_size
    return Page(
        total_items=answer.total_items,
        page_size=size if type(size) is int and size > 0 else None,
        ids=ids,
        seconds=partial(_read_seconds, ids, table.get("start")),
        count=len(rows),
        rows=PageRows(pa.table(table), {name: values for name, values in columns.items() if _says(values)}),
        links=tuple(filter(None, map(_read_self_link, (answer.links, _links_of(rows))))),
    )


def _decode(body: bytes, shape: RowSpec) -> Any:
    known, anything = _decoders(shape)
    body = _repair(body) if (b"\\" in body and NUL in body) or not _is_text(body) else body
    try:
        try:
            return known.decode(body)
        except msgspec.ValidationError:  # new fields, or a shape that tells which value is wrong
            return anything.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        if body != (repaired := _repair(body)):  # half a character
            return _decode(repaired, shape)
        raise ValueError(f"not a list answer: {error}") from None


def _is_text(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _repair(body: bytes) -> bytes:
    """Write what is no character, and what a destination cannot hold in a text, as a sign for it."""
    text = body.decode("utf-8", "replace").encode()
    return _ESCAPES.sub(lambda found: _REPLACED[found.lastgroup] or found[0], text)


def _read_seconds(ids: Sequence[int], instants: pa.Array | None) -> dict[int, int | None]:
    if instants is None:
        return dict.fromkeys(ids)
    seconds = pc.divide(pc.cast(instants, pa.int64()), 1_000_000).to_pylist()
    return dict(zip(ids, seconds, strict=True))


def _says(values: list[Any]) -> bool:
    """Whether any value is there."""
    return values.count(None) < len(values)


def _take_columns(rows: Sequence[Any], shape: RowSpec) -> Columns:
    names = _names(shape)
    if rows and isinstance(rows[0], dict):
        names = list(dict.fromkeys([*names, *(name for row in rows for name in row)]))
        columns = {name: list(map(methodcaller("get", name), rows)) for name in names}
    else:
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        columns = {name: cells[position :: len(names)] for position, name in enumerate(names)}
    columns.pop("_links")
    for name in shape.nested:
        columns |= _flatten(name, columns.pop(name))
    return columns


def _flatten(name: str, values: list[Any]) -> Columns:
    """Make columns of the fields of an object; what is no object keeps the object's own name."""
    objects = [value if isinstance(value, dict) else {} for value in values]
    inner = dict.fromkeys(key for value in objects for key in value)
    columns = {f"{name}_{key}": [value.get(key) for value in objects] for key in inner}
    others = [None if isinstance(value, dict) else value for value in values]
    return columns | ({name: others} if _says(others) else {})


def _read_ids(values: list[Any], shape: RowSpec) -> list[Any]:
    if shape.id_kind == pa.string():
        texts = [to_text(value) for value in values if value not in (None, "", [], {})]
        if len(texts) < len(values):
            raise ValueError(f"a row of {shape.collection} bears no {shape.id}")
        return texts
    if set(map(type, values)) == {int} and min(values) >= -LARGEST and max(values) < LARGEST:
        return values
    read = list(map(to_integer, values))
    ids = [value for value in read if value is not None]
    if len(ids) < len(values):
        raise ValueError("a recording bears no numeric id")
    return ids


def _links_of(rows: Sequence[Any]) -> Any:
    first = rows[0] if rows else None
    links = first.get("_links") if isinstance(first, dict) else getattr(first, "_links", None)
    return msgspec.json.decode(links) if isinstance(links, msgspec.Raw) else links


def _read_self_link(links: Any) -> str | None:
    link = links.get("self") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    return href if isinstance(href, str) else None


def build_table(
    pages: Sequence[PageRows],
    key: Mapping[str, str],
    known: Callable[[str], pa.DataType | None],
    normalize: Callable[[str], str] = str,
    shape: RowSpec = RECORDING,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
) -> pa.Table:
    """Make one Arrow table of pages that belong together; the lists are still in it, as lists.

    Args:
        pages: the rows of one or more pages; of a row that is on two, the first is taken.
        key: constant columns to put in front, such as the account id.
        known: gives the type of a further column that was loaded before; values that do not fit it
            go to a variant column.
        normalize: gives the name a field has in the destination; one that is taken already, as by
            the key, becomes a variant column too.
        shape: what the rows are.
        privacy: what becomes of personal data.
    """
    table = pa.concat_tables([page.table for page in pages], promote_options="default")
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    required = [*key, shape.id_column]
    columns |= zip(table.column_names, table.columns, strict=True)
    if not privacy.keeps:
        columns |= _hide_personal(table, shape, privacy)
    for name in dict.fromkeys(name for page in pages for name in page.further):
        nothing = [None]
        values = [value for page in pages for value in page.further.get(name) or nothing * len(page.table)]
        values = values if privacy.keeps else [privacy.hide_value(value) for value in values]
        if _says(values):
            column, kind = normalize(name or "unnamed"), None
            while column in columns:  # several fields of one name, as `ID` and `id`
                column, kind = column + VARIANT, pa.string()
            columns |= build_column(column, values, kind or known(column) or guess_type(values))
    return _drop_repeated(nullable(columns, required), shape.id_column)


def _hide_personal(table: pa.Table, shape: RowSpec, privacy: PiiPolicy) -> dict[str, Any]:
    # a value that does not fit its column may be anything
    names = [name for name in table.column_names if name in shape.personal or name.endswith(VARIANT)]
    return {name: privacy.hide_column(table[name]) for name in names}


def digest(table: pa.Table, id_column: str) -> str:
    """Tell tables apart by what they hold, whatever the order of their rows."""
    sink = pa.BufferOutputStream()
    ordered = table.sort_by(id_column).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(ordered)
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()


def _drop_repeated(table: pa.Table, id_column: str) -> pa.Table:
    if pc.count_distinct(table[id_column]).as_py() == len(table):
        return table
    rows = {id_: row for row, id_ in reversed(list(enumerate(table[id_column].to_pylist())))}
    return table.take(sorted(rows.values()))


def nullable(columns: Mapping[str, Any], required: Sequence[str]) -> pa.Table:
    """Make a table of columns, of which the required ones hold no null."""
    fields = [pa.field(name, column.type, name not in required) for name, column in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))
