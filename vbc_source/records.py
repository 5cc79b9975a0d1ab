"""Bytes of a list page become Arrow columns. Pure; the schemas are data.

The body is decoded in compiled code into slotted structs, whose fields are then taken column by
column. A value that does not fit its column goes, as text, to a column beside it named as dlt names
variants (`duration__v_text`); a field that is not known becomes a column. Nothing is dropped but
`_links`, which repeats the address of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.columns import INSTANT, LARGEST, VARIANT, build_column, build_list, guess_type, to_integer
from vbc_source.proof import Page

FIELDS: Mapping[str, pa.DataType] = {
    "call_direction": pa.string(),
    "call_id": pa.string(),
    "caller_id": pa.string(),
    "cnam": pa.string(),
    "dnis": pa.string(),
    "download_url": pa.string(),
    "duration": pa.int64(),
    "start": INSTANT,
    "end": INSTANT,
    "file_name": pa.string(),
    "file_size_in_bytes": pa.int64(),
}
"""The columns of a recording beside its key, by the API's own names."""

LISTS: Mapping[str, tuple[str, pa.DataType]] = {
    "extensions": ("extension", pa.string()),
    "rule_ids": ("rule_id", pa.int64()),
}
"""The lists of a recording: each becomes a table with one value column."""

_KNOWN = ("id", *FIELDS, *LISTS)
# `extension` is seen beside `extensions`, empty: named here, it costs no second decoding
_Recording = msgspec.defstruct(
    "_Recording",
    [(name, Any, None) for name in (*_KNOWN, "extension", "_links")],
    forbid_unknown_fields=True,
    gc=False,
)


class _Embedded(msgspec.Struct):
    recordings: list[_Recording] | None = None  # type: ignore[valid-type]


class _AnyEmbedded(msgspec.Struct):
    recordings: list[dict[str, Any]] | None = None


class _Body(msgspec.Struct, rename={"embedded": "_embedded", "links": "_links"}):
    total_items: int
    embedded: _Embedded | None = None
    page_size: Any = None
    links: Any = None


class _AnyBody(msgspec.Struct, rename={"embedded": "_embedded", "links": "_links"}):
    total_items: int
    embedded: _AnyEmbedded | None = None
    page_size: Any = None
    links: Any = None


_decoder = msgspec.json.Decoder(_Body, strict=False)
_any_decoder = msgspec.json.Decoder(_AnyBody, strict=False)

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """The recordings of one page.

    Attributes:
        table: the known columns; the lists as lists of text.
        further: other fields, which are typed when all pages of a window are there.
    """

    table: pa.Table
    further: Columns


def read_page(body: bytes) -> Page[Rows]:
    """Read one list answer.

    Raises:
        ValueError: the body is not a list answer; the text holds none of its values.
    """
    try:
        try:
            answer: _Body | _AnyBody = _decoder.decode(body)
        except msgspec.ValidationError:  # new fields, or a shape that tells which value is wrong
            answer = _any_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a list answer: {error}") from None
    recordings: Sequence[Any] = (answer.embedded.recordings if answer.embedded else None) or ()
    columns = _take_columns(recordings)
    ids = _read_ids(columns.pop("id"))
    known = {"id": pa.array(ids, pa.int64())}
    for name, kind in FIELDS.items():
        known |= build_column(name, columns.pop(name), kind)
    for name in LISTS:
        known[name] = build_list(columns.pop(name))
    size = answer.page_size
    return Page(
        total_items=answer.total_items,
        page_size=size if type(size) is int and size > 0 else None,
        seconds=dict(zip(ids, _whole_seconds(known["start"]), strict=True)),
        count=len(recordings),
        rows=Rows(pa.table(known), columns),
        links=tuple(filter(None, map(_read_self_link, (answer.links, _links_of(recordings))))),
    )


def _whole_seconds(instants: pa.Array) -> list[int | None]:
    seconds: list[int | None] = pc.divide(pc.cast(instants, pa.int64()), 1_000_000).to_pylist()
    return seconds


def _take_columns(rows: Sequence[Any]) -> Columns:
    names = [*_KNOWN, "extension"]
    if rows and isinstance(rows[0], dict):
        seen = dict.fromkeys(name for row in rows for name in row if name != "_links")
        names = list(dict.fromkeys([*names, *seen]))
        return {name: list(map(methodcaller("get", name), rows)) for name in names}
    return {name: list(map(attrgetter(name), rows)) for name in names}


def _read_ids(values: list[Any]) -> list[int]:
    read = [value if type(value) is int and abs(value) < LARGEST else to_integer(value) for value in values]
    ids = [value for value in read if value is not None]
    if len(ids) < len(values):
        raise ValueError("a recording bears no numeric id")
    return ids


def _links_of(recordings: Sequence[Any]) -> Any:
    first = recordings[0] if recordings else None
    return first.get("_links") if isinstance(first, dict) else getattr(first, "_links", None)


def _read_self_link(links: Any) -> str | None:
    link = links.get("self") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    return href if isinstance(href, str) else None


def build_recordings(
    pages: Sequence[Rows],
    key: Mapping[str, str],
    known: Callable[[str], pa.DataType | None],
    normalize: Callable[[str], str] = str,
) -> pa.Table:
    """Make one Arrow table of pages that belong together; the lists are still in it, as lists.

    Args:
        pages: the rows of one or more pages; of a recording that is on two, the first is taken.
        key: constant columns to put in front, such as the account id.
        known: gives the type of a further column that was loaded before; values that do not fit it
            go to a variant column.
        normalize: gives the name a field has in the destination; one that is taken already, as by
            the key, becomes a variant column too.
    """
    table = pa.concat_tables([page.table for page in pages], promote_options="default")
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    required = [*key, "id"]
    columns |= zip(table.column_names, table.columns, strict=True)
    for name in dict.fromkeys(name for page in pages for name in page.further):
        nothing = [None]
        values = [value for page in pages for value in page.further.get(name) or nothing * len(page.table)]
        if any(value is not None for value in values):
            column, kind = normalize(name or "unnamed"), None
            while column in columns:  # several fields of one name, as `ID` and `id`
                column, kind = column + VARIANT, pa.string()
            columns |= build_column(column, values, kind or known(column) or guess_type(values))
    return _drop_repeated(_nullable(columns, required))


def _drop_repeated(table: pa.Table) -> pa.Table:
    rows = {id_: row for row, id_ in reversed(list(enumerate(table["id"].to_pylist())))}
    return table if len(rows) == len(table) else table.take(sorted(rows.values()))


def _nullable(columns: Mapping[str, Any], required: Sequence[str]) -> pa.Table:
    fields = [pa.field(name, column.type, name not in required) for name, column in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))


def split_lists(recordings: pa.Table, key: Sequence[str]) -> dict[str, pa.Table]:
    """Take the lists out of recordings into tables of their own.

    Args:
        recordings: as `build_recordings` made them.
        key: names of the key columns before `id`, which becomes `recording_id`.

    Returns:
        By list name: key columns, `recording_id`, `position` (from 0, as in the API's list), the
        value, and `is_empty`: a recording without any gets one row that bears it, so that a list
        which shrank to nothing clears what was loaded of it before.
    """
    return {name: _split_list(recordings, name, key) for name in LISTS if name in recordings.column_names}


def _split_list(recordings: pa.Table, name: str, key: Sequence[str]) -> pa.Table:
    value_name, kind = LISTS[name]
    lists = recordings[name].combine_chunks()
    parents = pc.list_parent_indices(lists)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    positions = pc.subtract(_count(parents), pc.cast(pc.take(offsets, parents), pa.int64()))
    values = pc.list_flatten(lists)
    filled = pc.is_valid(values)  # null and {} say nothing
    parents, positions, values = (column.filter(filled) for column in (parents, positions, values))
    empty = pc.indices_nonzero(pc.invert(pc.is_in(_count(lists), parents)))
    rows = pa.concat_arrays([parents, pc.cast(empty, parents.type)])
    columns: dict[str, Any] = {column: pc.take(recordings[column], rows) for column in key}
    columns["recording_id"] = pc.take(recordings["id"], rows)
    columns["position"] = pa.concat_arrays([positions, pa.repeat(pa.scalar(0, pa.int64()), len(empty))])
    required = list(columns)
    values = pa.concat_arrays([values, pa.nulls(len(empty), pa.string())])
    try:
        columns[value_name] = pc.cast(values, kind)
    except pa.ArrowInvalid:
        columns |= build_column(value_name, values.to_pylist(), kind)
    columns["is_empty"] = pa.concat_arrays(
        [pa.nulls(len(positions), pa.bool_()), pa.repeat(pa.scalar(True), len(empty))]
    )
    return _nullable(columns, required)


def _count(rows: Any) -> pa.Array:
    return pa.array(range(len(rows)), pa.int64())
