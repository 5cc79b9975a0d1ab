"""Reading the body of a list response into Arrow columns. Pure; the schemas are data (`specs`).

Every row of every sync passes here: 1,000 rows take 3 to 6 ms, most of it in compiled code. msgspec
decodes the body into slotted structs, whose fields then become columns. Only a body with other fields
than those, or with something else in place of a list, is decoded a second time, into dicts. Nothing is
dropped except `_links`, which repeats the address of the request, and rows without a usable id: their
window does not add up then, and becomes a known gap, while all other rows are loaded.
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

from vbc_source.schema.columns import LARGEST, build_column, build_list, to_integer, to_text
from vbc_source.schema.names import Columns, Field
from vbc_source.schema.specs import RECORDING, RowSpec

Decoder = msgspec.json.Decoder[Any]
Rows = TypeVar("Rows")

MOST_ITEMS = 10**9  # rows of a list; a larger count is an error, and would be cut into millions of windows

# Postgres stores no NUL in a text, and no encoding has half of a surrogate pair. `␀` and `�` replace
# them in every destination, so that the same response gives the same rows everywhere.
NUL = b"\\u0000"  # as JSON escapes it
# escaped backslashes and whole surrogate pairs are matched first, so that they stay unchanged
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|(?P<nul>\\u0000)"
)
_REPLACEMENTS = {"lone": b"\\ufffd", "nul": b"\\u2400", None: b""}
# numbers that JSON does not have, outside of texts
_NO_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(?P<nan>-?\b(?:NaN|Infinity)\b)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page(Generic[Rows]):
    """One response of a list endpoint.

    Attributes:
        total_items: Number of rows of the whole list.
        page_size: Page size that the server reports, or None.
        ids: Ids of the rows.
        seconds: Computes `start` of each id, seconds since 1970; a function, because few pages need it.
        count: Number of rows on this page; more than ids where rows have no usable id.
        rows: The rows, in the form that the reader of the body gives them.
        links: Self links of the list and of its first row.
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
        table: The known columns; lists as lists of text.
        unknown: Values of unknown fields. They get a type only with all pages of a window, since one
            page may have integers where the next one has text.
    """

    table: pa.Table
    unknown: dict[Field, list[Any]]


def read_page(body: bytes, shape: RowSpec = RECORDING) -> Page[PageRows]:
    """Read one list response; raises ValueError, without values of the body, if it is not one."""
    response = _decode(body, shape)
    if isinstance(response.embedded, list) and response.embedded:
        raise ValueError("not a list response: _embedded is a list")
    listed: Sequence[Any] = (
        getattr(response.embedded, shape.collection) if response.embedded else None
    ) or ()
    # `count` below keeps the rows that are left out here, so that the window's count shows what is lacking
    rows, columns, unknown = _take_usable(listed, shape)
    ids = columns.pop(shape.id)
    if shape.legs:
        # the id is the call's, and legs of one call share it: until all pages of a window are there, a digest
        # of the content tells rows apart
        columns[shape.id] = ids
        ids = _digest_rows([*columns.values(), *unknown.values()])
    table = {shape.id_column: pa.array(ids, shape.id_kind)}
    for name, kind in shape.fields.items():
        # where no row has the nested object, its columns are in the table all the same, without values
        table |= build_column(name, columns.pop(name, []) or [None] * len(rows), kind)
    for name in shape.lists:
        table[name] = build_list(columns.pop(name))
    # a field that is null in all rows would become a text column, and later values of another type a variant
    unknown = {field: values for field, values in unknown.items() if has_values(values)}
    size = response.page_size
    return Page(
        total_items=check_total(response.total_items),
        page_size=size if type(size) is int and size > 0 else None,
        ids=ids,
        seconds=partial(_to_seconds, ids, table.get("start")),
        count=len(listed),
        rows=PageRows(pa.table(table), unknown),
        links=tuple(filter(None, map(_read_self_link, (response.links, _read_row_links(rows))))),
    )


def check_total(total: int) -> int:
    """Return a number of rows; raises ValueError if no list has so many."""
    if not 0 <= total <= MOST_ITEMS:
        raise ValueError("total_items is not a possible number of rows")
    return total


@cache
def _make_decoders(spec: RowSpec) -> tuple[Decoder, Decoder]:
    """Make a fast decoder of rows as documented, and one of any rows."""
    # Links of rows are left undecoded: the first row's is enough. Lists become tuples, which Python's garbage
    # collector stops tracking when they hold only numbers and texts: thousands of tracked lists make it go
    # through all objects of the process every few pages. A value that is neither list nor text is left to the
    # decoder of any fields.
    kinds = {"_links": msgspec.Raw, **dict.fromkeys(spec.lists, tuple[Any, ...] | str | None)}
    fields = [(name, kinds.get(name, Any), None) for name in _field_names(spec)]
    # without `forbid_unknown_fields` msgspec would drop a new field without a word; the error leads to the
    # slow decoder, which keeps it
    known = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
    return _make_decoder(spec, known), _make_decoder(spec, Any)


def _make_decoder(spec: RowSpec, row: Any) -> Decoder:
    embedded = msgspec.defstruct("Embedded", [(spec.collection, list[row] | None, None)])
    # an empty list where a server makes no difference between an empty list and an empty object
    fields = [("embedded", embedded | list[Any] | None, None), ("page_size", Any, None), ("links", Any, None)]
    names = {"embedded": "_embedded", "links": "_links"}
    body = msgspec.defstruct("Body", [("total_items", int), *fields], rename=names)
    # `strict=False` also reads a `total_items` that is a text
    return msgspec.json.Decoder(body, strict=False, float_hook=_read_number)


def _read_number(text: str) -> float | str:
    """Parse a number with a fraction or an exponent; one too large for a double stays text."""
    return text if math.isinf(number := float(text)) else number


def _field_names(spec: RowSpec) -> list[str]:
    prefixes = tuple(f"{name}_" for name in spec.nested)
    own = [name for name in spec.fields if name != spec.id and not name.startswith(prefixes)]
    return [spec.id, *own, *spec.lists, *spec.nested, *spec.ignored, "_links"]


def _decode(body: bytes, spec: RowSpec) -> Any:
    known, anything = _make_decoders(spec)
    # checked before it is decoded: msgspec accepts NUL, and does not look into links that are left undecoded
    body = _repair(body) if (b"\\" in body and NUL in body) or not _is_utf8(body) else body
    try:
        try:
            return known.decode(body)
        except msgspec.ValidationError:  # other fields; or not a list response, and this fails too
            return anything.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        # RecursionError: lists within lists, thousands deep
        # msgspec refuses a lone surrogate; only then is the body searched for one
        if body != (repaired := _repair(body)):
            return _decode(repaired, spec)
        raise ValueError(f"not a list response: {error}") from None


def _is_utf8(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _repair(body: bytes) -> bytes:
    """Replace invalid UTF-8, lone surrogates and NUL by characters that every destination stores."""
    text = body.decode("utf-8", "replace").encode()
    text = _ESCAPES.sub(lambda match: _REPLACEMENTS[match.lastgroup] or match[0], text)
    return _NO_NUMBER.sub(lambda match: b"null" if match["nan"] else match[0], text)


def _to_seconds(ids: Sequence[int], instants: pa.Array | None) -> dict[int, int | None]:
    if instants is None:
        return dict.fromkeys(ids)
    seconds = pc.divide(pc.cast(instants, pa.int64()), 1_000_000).to_pylist()
    return dict(zip(ids, seconds, strict=True))


def has_values(values: list[Any]) -> bool:
    """Return whether any value is not None."""
    return values.count(None) < len(values)


def _take_usable(rows: Sequence[Any], spec: RowSpec) -> tuple[Sequence[Any], Columns, dict[Field, list[Any]]]:
    """Take the columns of the rows that have a usable id; returns those rows as well."""
    if rows and not isinstance(rows[0], msgspec.Struct):
        rows = [row for row in rows if isinstance(row, dict)]
    columns, unknown = _take_columns(rows, spec)
    columns[spec.id] = ids = _read_ids(columns[spec.id], spec)
    # the usual page ends here; only one with an unusable row is taken apart again, without that row
    if None not in ids:
        return rows, columns, unknown
    return _take_usable([row for row, id_ in zip(rows, ids, strict=True) if id_ is not None], spec)


def _take_columns(rows: Sequence[Any], spec: RowSpec) -> tuple[Columns, dict[Field, list[Any]]]:
    """Take the columns of the known fields, and those of all others."""
    names = _field_names(spec)
    unknown: dict[Field, list[Any]] = {}
    if rows and isinstance(rows[0], dict):
        others = dict.fromkeys(chain.from_iterable(rows))
        others = {name: None for name in others if name not in names}
        columns = {name: list(map(methodcaller("get", name), rows)) for name in (*names, *others)}
        unknown = {(name,): columns.pop(name) for name in others}
    else:
        # all cells in one flat list, then every n-th one: faster than an attribute at a time
        cells = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        columns = {name: cells[position :: len(names)] for position, name in enumerate(names)}
    columns.pop("_links")
    unknown |= {(name,): columns.pop(name) for name in spec.ignored}
    for name in spec.nested:
        for field, values in _flatten(name, columns.pop(name)).items():
            if (known := "_".join(field)) in spec.fields and len(field) > 1:
                columns[known] = values
            else:
                unknown[field] = values
    return columns, unknown


def _flatten(name: str, values: list[Any]) -> dict[Field, list[Any]]:
    """Make columns of the fields of an object; other values stay in a column of the object's name."""
    objects = [value if isinstance(value, dict) else {} for value in values]
    fields = dict.fromkeys(key for value in objects for key in value)
    others = [None if isinstance(value, dict) else value for value in values]
    return {(name, key): [value.get(key) for value in objects] for key in fields} | {(name,): others}


def _read_ids(values: list[Any], spec: RowSpec) -> list[Any]:
    """Read ids; None where there is none that the column holds."""
    if spec.id_kind == pa.string():
        return [None if value in (None, "", [], {}) else to_text(value) for value in values]
    # by exact type: true is an `int` to `isinstance`, and would be the id 1
    if set(map(type, values)) == {int} and min(values) >= -LARGEST and max(values) < LARGEST:
        return values
    return list(map(to_integer, values))


def _digest_rows(columns: Sequence[Sequence[Any]]) -> list[str]:
    """Return an id of the content of each row: a row on two pages is one, equal rows on one page are not."""
    seen: dict[bytes, int] = {}
    ids = []
    for row in zip(*columns, strict=True):
        content = hashlib.blake2b(msgspec.json.encode(row), digest_size=12).digest()
        seen[content] = seen.get(content, 0) + 1
        ids.append(f"{content.hex()}-{seen[content]}")
    return ids


def _read_row_links(rows: Sequence[Any]) -> Any:
    first = rows[0] if rows else None
    links = first.get("_links") if isinstance(first, dict) else getattr(first, "_links", None)
    if not isinstance(links, msgspec.Raw):
        return links
    try:
        return msgspec.json.decode(links)
    except msgspec.DecodeError:  # malformed links are ignored: they name owners, and no row depends on them
        return None


def _read_self_link(links: Any) -> str | None:
    link = links.get("self") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    return href if isinstance(href, str) else None
