"""Everything that is known about one recording: its row, its proofs, and what the ledgers record of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from vbc_source.dashboard.figures import Figures, Row
from vbc_source.dashboard.player import PlayableFile
from vbc_source.recordings import RECORDING_KEY

LEDGERS = {  # in the order in which they are shown
    "recording_audio": "Audio archive",
    "audio_checks": "Checks of the archived file",
    "recording_tombstones": "Gone at VBC",
    "recording_deletions": "Deleted at VBC",
    "erasures": "Erasures",
}
LABELS = {  # of columns of the loaded tables, for people; others are written as they are
    "caller_id": "From",
    "cnam": "Caller's name",
    "dnis": "To",
    "call_direction": "Direction",
    "file_size_in_bytes": "Size (bytes)",
    "size_bytes": "Size (bytes)",
    "duration": "Length (ms)",
    "audio_duration": "Length of the file (ms)",
    "sha256": "SHA-256",
    "uri": "Address",
    "id": "Recording id",
    "actor_user": "Recorded by",
    "actor_host": "Recorded on",
    "actor_version": "Version of vbc-source",
}
MOST_READINGS = 5  # windows that are listed; the others are counted
_KEY = " AND ".join(f"{name} = %({name})s" for name in RECORDING_KEY)
# status 0: a load that was killed may have left windows without their recordings
_WINDOWS = """
    SELECT count(*) OVER (), (window_start AT TIME ZONE %(zone)s), (window_end AT TIME ZONE %(zone)s),
        (scanned_at AT TIME ZONE %(zone)s), filters IS NOT NULL
    FROM {loaded}.scan_windows w
    WHERE w.account_id = %(account_id)s AND w.resource = %(resource)s
        AND coalesce(w.user_id, '') = %(user_id)s
        AND w.window_start <= (CAST(%(started)s AS timestamp) AT TIME ZONE 'UTC')
        AND w.window_end >= (CAST(%(started)s AS timestamp) AT TIME ZONE 'UTC')
        AND w._dlt_load_id IN (SELECT load_id FROM {loaded}._dlt_loads WHERE status = 0)
    ORDER BY w.scanned_at DESC LIMIT """
_PROVEN = """
    SELECT (proven_at AT TIME ZONE %(zone)s) FROM {coverage}
    WHERE account_id = %(account_id)s AND recording_type = %(recording_type)s AND day = %(day)s"""
_MODEL = """
    SELECT (started_at AT TIME ZONE 'UTC'), (started_at AT TIME ZONE %(zone)s),
        (ended_at AT TIME ZONE %(zone)s), direction, caller_number, caller_name, dialed_number,
        duration_seconds, size_bytes, archived, (first_loaded_at AT TIME ZONE %(zone)s), call_id
    FROM {recordings} WHERE recording_key = %(key)s"""
_PEOPLE = """
    SELECT x.extension, n.user_name FROM {recording_extensions} x
    LEFT JOIN {extensions} n ON n.extension = x.extension AND n.account_id = %(account_id)s
    WHERE x.recording_key = %(key)s ORDER BY 1"""
_CALL = """
    SELECT recording_key, recording_type, (started_at AT TIME ZONE %(zone)s) FROM {recordings}
    WHERE call_id = %(call_id)s AND account_id = %(account_id)s AND recording_key <> %(key)s
    ORDER BY 3, 1 LIMIT 20"""
_CELLS = {  # Python has no local time for the first and the last hours of all years
    "timestamp with time zone": """CASE WHEN extract(year FROM "{0}") BETWEEN 2 AND 9998
        THEN "{0}" AT TIME ZONE %(zone)s ELSE "{0}" AT TIME ZONE 'UTC' END AS "{0}" """
}


@dataclass(frozen=True, slots=True)
class ModelKey:
    """The key of a recording, as `recording_key` of the models writes it."""

    account_id: str
    recording_type: str
    user_id: str
    recording_id: int

    @property
    def values(self) -> dict[str, Any]:
        """The values of the columns of a ledger's key."""
        return {name: getattr(self, name) for name in RECORDING_KEY}


@dataclass(frozen=True, slots=True)
class Details:
    """A recording with everything that is known about it.

    Attributes:
        key: `recording_key` of the models.
        facts: Names and values of the model's row; empty if it is in no model.
        people: Extensions with the names of their users.
        loaded: All columns of the loaded row.
        children: Rows of its child tables, by table.
        proven_at: Since when its day is proven complete; None if it is not.
        windows: Number of windows of complete loads that contain its start.
        readings: The newest of them: start, end, when it was read, whether with filters.
        ledgers: Rows of the ledgers: title, then names and values.
        call: Other recordings of the same call.
        file: Its archived file.
    """

    key: str
    started_local: datetime | None
    facts: dict[str, Any]
    people: list[Row]
    loaded: dict[str, Any]
    children: dict[str, list[dict[str, Any]]]
    proven_at: datetime | None
    windows: int
    readings: list[Row]
    ledgers: list[tuple[str, dict[str, Any]]]
    call: list[Row]
    file: PlayableFile | None


def parse_key(text: str) -> ModelKey | None:
    """Parse a `recording_key`; None if it cannot be one. An account may contain slashes."""
    parts = text.split("/")
    # Postgres has no text with a zero byte
    if re.fullmatch("[0-9]{1,19}", parts[-1]) and "\0" not in text and int(parts[-1]) < 2**63:
        number = int(parts[-1])
        if len(parts) >= 3 and parts[-2] == "company":
            return ModelKey("/".join(parts[:-2]), "company", "", number)
        if len(parts) >= 4 and parts[-3] == "user":
            return ModelKey("/".join(parts[:-3]), "user", parts[-2], number)
    return None


def find_file(figures: Figures, key: ModelKey) -> PlayableFile | None:
    """Return where the audio of a recording is archived."""
    columns = figures.list_columns().get("recording_audio", {})
    if "uri" not in columns:
        return None
    names = [
        name if name in columns else f"CAST(NULL AS text) AS {name}" for name in ("sha256", "content_type")
    ]
    sql = f"SELECT uri, {', '.join(names)} FROM {{loaded}}.recording_audio WHERE {_KEY} AND status = 'stored'"
    rows = figures.query(sql, **key.values)
    return PlayableFile(*rows[0]) if rows and rows[0][0] else None


def read_details(figures: Figures, text: str) -> Details | None:
    """Read everything about a recording; None if there is none with this `recording_key`."""
    key = parse_key(text)
    if key is None:
        return None
    columns, zone = figures.list_columns(), figures.zone.key
    table = f"{key.recording_type}_recordings"
    loaded = _read_rows(figures, columns, table, key, "id")
    facts = _read_facts(figures, text, zone)
    if not loaded and not facts:
        return None
    local: datetime | None = facts.get("start")
    ledgers = [
        (title, row) for name, title in LEDGERS.items() for row in _read_rows(figures, columns, name, key)
    ]
    children = {
        name: _read_rows(figures, columns, f"{table}__{name}", key) for name in _child_names(columns, table)
    }
    readings = _read_windows(figures, columns, key, facts.get("start_utc"))
    return Details(
        key=text,
        started_local=local,
        facts=facts,
        people=figures.query(_PEOPLE, key=text, account_id=key.account_id),
        loaded=loaded[0] if loaded else {},
        children={name: rows for name, rows in children.items() if rows},
        proven_at=_read_proof(figures, key, local.date() if local else None),
        windows=readings[0][0] if readings else 0,
        readings=[row[1:] for row in readings],
        ledgers=ledgers,
        call=_read_call(figures, text, key, facts.get("call_id")),
        file=find_file(figures, key),
    )


def _read_facts(figures: Figures, key: str, zone: str) -> dict[str, Any]:
    names = (
        *("start_utc", "start", "end", "direction", "caller_number", "caller_name", "dialed_number"),
        *("duration_seconds", "size_bytes", "archived", "first_loaded_at", "call_id"),
    )
    rows = figures.query(_MODEL, key=key, zone=zone)
    return dict(zip(names, rows[0], strict=True)) if rows else {}


def _read_rows(
    figures: Figures,
    columns: dict[str, dict[str, str]],
    table: str,
    key: ModelKey,
    id_column: str = "recording_id",
) -> list[dict[str, Any]]:
    """Read the rows of a recording from a table, with all columns but dlt's own; instants in local time."""
    present = columns.get(table, {})
    owner = {"account_id": key.account_id, "recording_type": key.recording_type, "user_id": key.user_id}
    owner = {name: value for name, value in owner.items() if name in present}
    if id_column not in present or "account_id" not in present:
        return []
    # `is_empty` marks a list that became empty: nothing that VBC has sent
    names = [name for name in present if not name.startswith("_dlt") and name != "is_empty"]
    cells = [_CELLS.get(present[name].lower(), '"{0}"').format(name) for name in names]
    where = " AND ".join([f'"{id_column}" = %(number)s', *(f'"{name}" = %({name})s' for name in owner)])
    sql = f'SELECT {", ".join(cells)} FROM {{loaded}}."{table}" WHERE {where}'
    rows = figures.query(sql, number=key.recording_id, zone=figures.zone.key, **owner)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _child_names(columns: dict[str, dict[str, str]], table: str) -> list[str]:
    return sorted(name.removeprefix(f"{table}__") for name in columns if name.startswith(f"{table}__"))


def _read_proof(figures: Figures, key: ModelKey, day: date | None) -> datetime | None:
    if day is None:
        return None
    rows = figures.query(_PROVEN, zone=figures.zone.key, day=day, **key.values)
    return rows[0][0] if rows else None


def _read_windows(
    figures: Figures, columns: dict[str, dict[str, str]], key: ModelKey, started: datetime | None
) -> list[Row]:
    if started is None or not {"scan_windows", "_dlt_loads"} <= set(columns):
        return []
    values = {
        "resource": f"{key.recording_type}_recordings",
        "started": str(started),
        "zone": figures.zone.key,
    }
    return figures.query(f"{_WINDOWS}{MOST_READINGS}", **values, **key.values)


def _read_call(figures: Figures, text: str, key: ModelKey, call_id: str | None) -> list[Row]:
    if not call_id:
        return []
    return figures.query(_CALL, call_id=call_id, account_id=key.account_id, key=text, zone=figures.zone.key)
