"""Building Arrow columns from Python values. Pure.

A value that does not fit the type of its column is never dropped: it goes, as text, to a variant
column beside it, named as dlt names variants (`duration__v_text`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

INSTANT = pa.timestamp("us", "UTC")
ARROW_TYPES: Mapping[str, pa.DataType] = {  # by the name that dlt gives a type
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": INSTANT,
}
TEXTS = pa.list_(pa.string())
VARIANT = "__v_text"
LARGEST = 2**63  # one more than the largest bigint
_EPOCH, _MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
_FIRST, _LAST = (datetime.min - _EPOCH) // _MICROSECOND, (datetime.max - _EPOCH) // _MICROSECOND
_INSTANT_TEXT = re.compile(
    r"\s*(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)


def guess_type(values: Iterable[Any]) -> pa.DataType:
    """Return the type of a column by its values: a scalar type if all have it, else text."""
    # by exact type: `isinstance` would count true as the number 1
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def build_column(name: str, values: list[Any], kind: pa.DataType) -> dict[str, pa.Array]:
    """Build a column from decoded JSON values, and a variant column if some of them do not fit."""
    # Arrow raises OverflowError, not one of its own errors, for an integer beyond 64 bits
    for build in _COMPILED.get(kind, ()):
        with suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return {name: build(values)}
    convert: Callable[[Any], Any] = _CONVERT.get(kind, to_text)
    fitting = [None if value is None else convert(value) for value in values]
    others = [
        None if value is None or fit is not None else to_text(value)
        for value, fit in zip(values, fitting, strict=True)
    ]
    columns = {name: pa.array(fitting, kind)}
    if any(value is not None for value in others):
        columns[name + VARIANT] = pa.array(others, pa.string())
    return columns


def _read_instants(values: list[Any]) -> pa.Array:
    """Parse `…Z`, `+0000` and `+05:30`; refuses years that Python and Postgres cannot represent."""
    return _check_years(pc.cast(pa.array(values, pa.string()), INSTANT))


def _check_years(instants: pa.Array) -> pa.Array:
    if len(instants) > instants.null_count:
        bounds = pc.min_max(instants)
        if bounds["min"].value < _FIRST or bounds["max"].value > _LAST:
            raise pa.ArrowInvalid("out of the years 1 to 9999")
    return instants


def _read_zoneless_instants(values: list[Any]) -> pa.Array:
    """Parse instants without a zone, which are in UTC; refuses those with one."""
    texts = pa.array(values, pa.string())
    # Arrow would read a date as its midnight in UTC, which nobody has said
    if pc.any(pc.less(pc.utf8_length(texts), len("2019-01-01 00:00:00"))).as_py():
        raise pa.ArrowInvalid("a date alone is no instant")
    instants = pc.cast(texts, pa.timestamp("us"))
    return pc.assume_timezone(_check_years(instants), "UTC")


def _read_numbers(native: type, kind: pa.DataType, values: list[Any]) -> pa.Array:
    if set(map(type, values)) <= {native, type(None)}:
        return pa.array(values, kind)
    raise pa.ArrowTypeError(f"not all values are {native.__name__}")  # Arrow would truncate fractions


def build_list(values: list[Any]) -> pa.Array:
    """Build a column of lists of text; a value that is not a list counts as a list of one."""
    lists = values
    if not set(map(type, values)) <= {tuple, list, type(None)}:
        lists = [value if isinstance(value, (tuple, list)) or value is None else [value] for value in values]
    kinds = set(map(type, chain.from_iterable(filter(None, lists)))) - {type(None)}
    for native, kind in ((int, pa.int64()), (str, pa.string())):  # the fast way, if all have one type
        if kinds <= {native}:
            with suppress(OverflowError):
                return pa.array(lists, pa.list_(kind)).cast(TEXTS)
    # the vendor's own example of a list is `[{}]`: an empty object is no item, an empty text is one
    texts = [[None if item in (None, {}, []) else to_text(item) for item in items or ()] for items in lists]
    return pa.array(texts, TEXTS)


def to_text(value: Any) -> str:
    """Convert a value to text; objects and lists to JSON."""
    if isinstance(value, str):
        return value
    # a number with an exponent is decoded as a float: 1.732555e10 must become the text that 17325550000 has
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode() if isinstance(value, (bool, dict, list)) else str(value)


def to_integer(value: Any) -> int | None:
    """Parse a whole number, also from text; None if it is not one, or too large for a bigint."""
    if isinstance(value, str):
        text = value.strip()
        # 19 digits hold any bigint; of a text with thousands, `int` takes long, or raises an error of its own
        if not re.fullmatch(r"[+-]?\d{1,19}", text):
            return None
        value = int(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        return None
    return int(value) if -LARGEST <= value < LARGEST else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > sys.float_info.max:
        return None
    # an integer above 2**53 that a double would round goes to the variant column, with all its digits
    return float(value) if float(value) == value else None


def _to_instant(value: Any) -> datetime | None:
    """Parse what Arrow refuses: fractions beyond microseconds, and a missing zone, which means UTC."""
    match = _INSTANT_TEXT.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    day, clock, fraction, zone = match.groups()
    offset = "+0000" if zone in (None, "Z", "UTC") else zone.replace(":", "")
    try:
        moment = datetime.strptime(f"{day}T{clock}{offset}", "%Y-%m-%dT%H:%M:%S%z").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    # added apart: `%f` of strptime refuses more than six digits
    return moment + timedelta(microseconds=int((fraction or "0")[:6].ljust(6, "0")))


# Conversions of whole columns in compiled code, in the order in which they are tried. Each converts
# all values correctly or raises an error; only then are values converted one by one, which takes far longer.
_COMPILED: Mapping[pa.DataType, Sequence[Callable[[list[Any]], pa.Array]]] = {
    INSTANT: (_read_instants, _read_zoneless_instants),
    pa.string(): (
        lambda values: pa.array(values, pa.string()),
        lambda values: _read_numbers(int, pa.int64(), values).cast(pa.string()),
        lambda values: pa.array(
            [str(value) if type(value) is int else value for value in values], pa.string()
        ),
    ),
    pa.int64(): (partial(_read_numbers, int, pa.int64()),),
    pa.float64(): (partial(_read_numbers, float, pa.float64()),),
    pa.bool_(): (lambda values: pa.array(values, pa.bool_()),),
}
_CONVERT: Mapping[pa.DataType, Callable[[Any], Any]] = {
    pa.string(): to_text,
    pa.int64(): to_integer,
    pa.float64(): _to_float,
    pa.bool_(): lambda value: value if isinstance(value, bool) else None,
    INSTANT: _to_instant,
}
