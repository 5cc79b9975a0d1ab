"""Rows shown differently from how they are stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.emulator.rows import Row
from vbc_source.emulator.times import parse_moment

Fields = dict[str, Any]

_INDIA = timezone(timedelta(hours=5, minutes=30))
_SENTIMENTS: tuple[object, ...] = (0.75, "positive", {"score": -1, "words": ["late"]}, 3, None)


def _draw(fields: Mapping[str, Any], choices: int) -> int:
    return zlib.crc32(str(fields.get("id", fields.get("extension_number"))).encode()) % choices


def _write_id_as_text(fields: Fields) -> Fields:
    changed = {**fields, "id": str(fields["id"])} if "id" in fields else fields
    # An extension has no id of its own, but its user has.
    user = fields.get("user")
    return {**changed, "user": _write_id_as_text(user)} if isinstance(user, dict) else changed


def _add_field(fields: Fields) -> Fields:
    return {**fields, "sentiment": _SENTIMENTS[_draw(fields, len(_SENTIMENTS))]}


def _respell(value: object, way: int) -> object:
    """Write a time in another way; it stays the same moment."""
    milliseconds = parse_moment(value)
    if milliseconds is None:
        return value
    moment = datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=milliseconds)
    spellings = (
        value,
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        moment.astimezone(_INDIA).strftime("%Y-%m-%dT%H:%M:%S+05:30"),
        moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        moment.astimezone(_INDIA).strftime("%Y-%m-%dT%H:%M:%S.000000+05:30"),
    )
    return value if milliseconds % 1000 else spellings[way]


def _respell_times(fields: Fields) -> Fields:
    way = _draw(fields, 5)
    times = [name for name in ("start", "end", "valid_until") if name in fields]
    return {
        **fields,
        **{name: _respell(fields[name], (way + place) % 5) for place, name in enumerate(times)},
    }


DISGUISES: dict[str, Callable[[Fields], Fields]] = {
    "ids-as-text": _write_id_as_text,
    "new-field": _add_field,
    "odd-times": _respell_times,
}


def encode_rows(rows: Iterable[Row], names: Iterable[str]) -> list[bytes]:
    """Encode recordings for an answer, changed by the disguises of these names."""
    changes = list(names)
    if not changes:
        return [row.body for row in rows]
    return [encode_fields(row.decode(), changes) for row in rows]


def encode_fields(fields: Fields, names: Iterable[str]) -> bytes:
    """Encode a row for an answer, changed by the disguises of these names."""
    for name in names:
        fields = DISGUISES[name](fields)
    return json.dumps(fields).encode()
