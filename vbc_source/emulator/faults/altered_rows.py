"""Faults that alter rows in a response, not in the store."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.emulator.data.dates import parse_timestamp
from vbc_source.emulator.data.people import Fields
from vbc_source.emulator.data.stored_recording import StoredRecording

_INDIA = timezone(timedelta(hours=5, minutes=30))
# Types that no single column type can hold.
_SENTIMENTS: tuple[object, ...] = (0.75, "positive", {"score": -1, "words": ["late"]}, 3, None)


def _pick_index(fields: Mapping[str, Any], choices: int) -> int:
    """Pick an index by the row's key, so that a row is altered the same way in every response."""
    return zlib.crc32(str(fields.get("id", fields.get("extension_number"))).encode()) % choices


def _write_id_as_text(fields: Fields) -> Fields:
    changed = {**fields, "id": str(fields["id"])} if "id" in fields else fields
    # An extension has no id of its own, but its user has.
    user = fields.get("user")
    return {**changed, "user": _write_id_as_text(user)} if isinstance(user, dict) else changed


def _add_field(fields: Fields) -> Fields:
    return {**fields, "sentiment": _SENTIMENTS[_pick_index(fields, len(_SENTIMENTS))]}


def _lose_id(fields: Fields) -> Fields:
    return {**fields, "id": None} if "id" in fields and not _pick_index(fields, 12) else fields


def _lose_start(fields: Fields) -> Fields:
    return {**fields, "start": None} if "start" in fields and not _pick_index(fields, 12) else fields


def _reformat_time(value: object, index: int) -> object:
    """Write a time in another format; it stays the same moment."""
    milliseconds = parse_timestamp(value)
    # the formats below have no fraction of their own, and the moment must stay the same
    if milliseconds is None or milliseconds % 1000:
        return value
    moment = datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=milliseconds)
    return (
        value,
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        moment.astimezone(_INDIA).strftime("%Y-%m-%dT%H:%M:%S+05:30"),
        moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        moment.astimezone(_INDIA).strftime("%Y-%m-%dT%H:%M:%S.000000+05:30"),
    )[index]


def _reformat_times(fields: Fields) -> Fields:
    first = _pick_index(fields, 5)
    names = [name for name in ("start", "end", "valid_until") if name in fields]
    changed = {name: _reformat_time(fields[name], (first + place) % 5) for place, name in enumerate(names)}
    return {**fields, **changed}


ALTERATIONS: dict[str, Callable[[Fields], Fields]] = {
    "ids-as-text": _write_id_as_text,
    "lost-ids": _lose_id,
    "lost-starts": _lose_start,
    "new-field": _add_field,
    "odd-times": _reformat_times,
}


def encode_row(fields: Fields, faults: Iterable[str]) -> bytes:
    """Encode a row for a response, altered by faults."""
    for name in faults:
        fields = ALTERATIONS[name](fields)
    return json.dumps(fields).encode()


def encode_recordings(recordings: Iterable[StoredRecording], faults: list[str]) -> list[bytes]:
    """Encode recordings for a response, altered by faults."""
    if not faults:  # the usual case: rows are sent as they are stored
        return [recording.body for recording in recordings]
    return [encode_row(recording.decode(), faults) for recording in recordings]
