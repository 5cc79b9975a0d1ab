"""Bytes of a list page become Arrow columns. Pure; the schemas are data.

The body is decoded in compiled code into slotted structs, whose fields are then taken column by
column. A value that does not fit its column goes, as text, to a column beside it named as dlt names
variants (`duration__v_text`); a field that is not known becomes a column. Nothing is dropped but
`_links`, which repeats the address of the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter, methodcaller
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.proof import Page

INSTANT = pa.timestamp("us", "UTC")
TEXTS = pa.list_(pa.string())
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

VARIANT = "__v_text"
_INSTANT_TEXT = re.compile(
    r"\s*(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)

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
    except msgspec.DecodeError as error:
        raise ValueError(f"not a list answer: {error}") from None
    recordings: Sequence[Any] = (answer.embedded.recordings if answer.embedded else None) or ()
    columns = _take_columns(recordings)
    ids = _read_ids(columns.pop("id"))
    known = {"id": pa.array(ids, pa.int64())}
    for name, kind in FIELDS.items():
        known |= _build(name, columns.pop(name), kind)
    for name in LISTS:
        known[name] = _build_list(columns.pop(name))
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
    read = [value if type(value) is int else _to_integer(value) for value in values]
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
    pages: Sequence[Rows], key: Mapping[str, str], known: Callable[[str], pa.DataType | None]
) -> pa.Table:
    """Make one Arrow table of pages that belong together; the lists are still in it, as lists.

    Args:
        pages: the rows of one or more pages; of a recording that is on two, the first is taken.
        key: constant columns to put in front, such as the account id.
        known: gives the type of a further column that was loaded before; values that do not fit it
            go to a variant column.
    """
    table = pa.concat_tables([page.table for page in pages], promote_options="default")
    columns: dict[str, Any] = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    required = [*key, "id"]
    columns |= zip(table.column_names, table.columns, strict=True)
    for name in dict.fromkeys(name for page in pages for name in page.further):
        nothing = [None]
        values = [value for page in pages for value in page.further.get(name) or nothing * len(page.table)]
        if any(value is not None for value in values):
            columns |= _build(name, values, known(name) or guess_type(values))
    return _drop_repeated(_nullable(columns, required))


def _drop_repeated(table: pa.Table) -> pa.Table:
    rows = {id_: row for row, id_ in reversed(list(enumerate(table["id"].to_pylist())))}
    return table if len(rows) == len(table) else table.take(sorted(rows.values()))


def _nullable(columns: Mapping[str, Any], required: Sequence[str]) -> pa.Table:
    fields = [pa.field(name, column.type, name not in required) for name, column in columns.items()]
    return pa.table(list(columns.values()), pa.schema(fields))


def guess_type(values: Iterable[Any]) -> pa.DataType:
    """Type a column by its values: one scalar type where they agree, else text."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _build(name: str, values: list[Any], kind: pa.DataType) -> dict[str, pa.Array]:
    """Build a column, and a variant column for the values that do not fit, if any."""
    try:
        if kind == INSTANT:  # compiled code reads `…Z`, `+0000` and `+05:30`
            return {name: pc.cast(pa.array(values, pa.string()), INSTANT)}
        if pa.types.is_boolean(kind) or set(map(type, values)) <= {_NATIVE[kind], type(None)}:
            return {name: pa.array(values, kind)}
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError, OverflowError):
        pass
    convert: Callable[[Any], Any] = _CONVERT.get(kind, _to_text)
    fitting = [None if value is None else convert(value) for value in values]
    others = [
        None if value is None or fit is not None else _to_text(value)
        for value, fit in zip(values, fitting, strict=True)
    ]
    columns = {name: pa.array(fitting, kind)}
    if any(value is not None for value in others):
        columns[name + VARIANT] = pa.array(others, pa.string())
    return columns


def _build_list(values: list[Any]) -> pa.Array:
    """Build a column of lists of text; a lone value counts as a list of one."""
    for kind in (pa.int64(), pa.string()):  # compiled, where all items are of one kind
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array(values, pa.list_(kind)).cast(TEXTS)
    lists = [value if isinstance(value, list) else [] if value is None else [value] for value in values]
    texts = [[_to_text(item) if item or item == 0 else None for item in items] for items in lists]
    return pa.array(texts, TEXTS)


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
        columns |= _build(value_name, values.to_pylist(), kind)
    columns["is_empty"] = pa.concat_arrays(
        [pa.nulls(len(positions), pa.bool_()), pa.repeat(pa.scalar(True), len(empty))]
    )
    return _nullable(columns, required)


def _count(rows: Any) -> pa.Array:
    return pa.array(range(len(rows)), pa.int64())


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode() if isinstance(value, (bool, dict, list)) else str(value)


def _to_integer(value: Any) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        if not re.fullmatch(r"[+-]?\d{1,19}", text):
            return None
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        return None
    return int(value) if -(2**63) <= value < 2**63 else None


def _to_float(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _to_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _to_instant(value: Any) -> datetime | None:
    """Read what compiled code does not: long fractions, and a missing zone, which is UTC here."""
    found = _INSTANT_TEXT.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return None
    day, clock, fraction, zone = found.groups()
    offset = "+0000" if zone in (None, "Z", "UTC") else zone.replace(":", "")
    try:
        moment = datetime.strptime(f"{day}T{clock}{offset}", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return moment + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))


_NATIVE: Mapping[pa.DataType, type] = {pa.string(): str, pa.int64(): int, pa.float64(): float}
_CONVERT: Mapping[pa.DataType, Callable[[Any], Any]] = {
    pa.string(): _to_text,
    pa.int64(): _to_integer,
    pa.float64(): _to_float,
    pa.bool_(): _to_bool,
    INSTANT: _to_instant,
}
