"""Write queries of the loaded recordings, of both company and users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from vbc_source.errors import VbcError
from vbc_source.recordings import EPOCH, RECORDING_KEY, RECORDING_TYPES, Recording, RecordingType
from vbc_source.warehouse.queries import LoadedTables, write_instant
from vbc_source.windows import check_order

TABLES: dict[RecordingType, str] = {"company": "company_recordings", "user": "user_recordings"}
FOREVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
# columns of `write_recordings` that `read_recording` needs
RECORDING_COLUMNS = (*RECORDING_KEY, "began", "download_url", "size_bytes", "shared_id", "call_id")
_CAST = "CAST(:{} AS TIMESTAMPTZ)"


@dataclass(frozen=True, slots=True)
class RecordingSelection:
    """A selection of loaded recordings, by type and `start`; both bounds are included, and None is open.

    Raises:
        UsageError: `since` is after `until`.
    """

    types: tuple[RecordingType, ...] = RECORDING_TYPES
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        check_order(self.since, self.until)

    @property
    def bounds(self) -> dict[str, datetime]:
        """The values of the placeholders `:since` and `:until`."""
        return {"since": self.since or EPOCH, "until": self.until or FOREVER}


def write_recordings(loaded: LoadedTables, selection: RecordingSelection) -> str:
    """Write the query of the recordings of a selection; its placeholders are those of `bounds`.

    Raises:
        VbcError: The destination has no table of recordings of these types.
    """
    parts = [
        _write_table(loaded, kind, table)
        for kind, table in TABLES.items()
        if kind in selection.types and loaded.has(table)
    ]
    if not parts:
        tables = " or ".join(TABLES[kind] for kind in selection.types)
        raise VbcError(f"there is no table {tables} in the destination: run vbc sync first")
    since, until = _CAST.format("since"), _CAST.format("until")
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS r WHERE began BETWEEN {since} AND {until}"


def _write_table(loaded: LoadedTables, kind: RecordingType, table: str) -> str:
    present = loaded.columns(table)

    def column(name: str, sql_type: str) -> str:
        # a field that an earlier version did not know has no column before the next sync
        return f'"{name}"' if name in present else f"CAST(NULL AS {sql_type})"

    # a recording without a readable start counts as one of 1970: a selection without a start has it
    began = f"coalesce({column('start', 'TIMESTAMPTZ')}, {write_instant(EPOCH)})"
    user, shared = "''", "0"  # shared_id: whether several users have a recording of that id
    if has_users(kind):
        users = "OVER (PARTITION BY account_id, id)"
        user, shared = "user_id", f"CASE WHEN min(user_id) {users} <> max(user_id) {users} THEN 1 ELSE 0 END"
    return f"""
        SELECT account_id, '{kind}' AS recording_type, {user} AS user_id, id AS recording_id,
            {began} AS began, {column("download_url", "VARCHAR")} AS download_url, {shared} AS shared_id,
            {column("file_size_in_bytes", "BIGINT")} AS size_bytes,
            {column("duration", "BIGINT")} AS duration, {column("call_id", "VARCHAR")} AS call_id,
            {column("call_direction", "VARCHAR")} AS direction,
            {column("file_name", "VARCHAR")} AS file_name, {column("end", "TIMESTAMPTZ")} AS ended
        FROM {table}"""


def write_those(recordings: str, ids: Iterable[int]) -> str:
    """Write the query of those of some recordings that have one of a few thousand ids."""
    # as numbers in the text: `int` lets nothing else into the query
    numbers = ", ".join(map(str, sorted({int(id_) for id_ in ids}))) or "NULL"
    return f"SELECT * FROM ({recordings}) AS those WHERE recording_id IN ({numbers})"


def has_users(kind: RecordingType) -> bool:
    """Return whether the recordings of a type belong to users: `user_id` is a key of their tables then."""
    return kind == "user"


def read_recording(row: Mapping[str, Any]) -> Recording:
    """Read a row with the columns `RECORDING_COLUMNS`, `attempts` and `version`."""
    return Recording(
        account_id=str(row["account_id"]),
        recording_type=row["recording_type"],
        user_id=str(row["user_id"]),
        recording_id=int(row["recording_id"]),
        start=row["began"],
        download_url=row["download_url"],
        size_bytes=None if row["size_bytes"] is None else int(row["size_bytes"]),
        shared_id=bool(row["shared_id"]),
        attempts=int(row["attempts"]),
        call_id=row["call_id"],
        version=int(row["version"]),
    )
