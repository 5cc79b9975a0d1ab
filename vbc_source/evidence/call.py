"""Read everything that is known about the recordings of a call: loaded rows, ledgers, proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vbc_source.api.endpoints import ON_DEMAND, RECORDING_ENDPOINTS
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.load.ledgers.custody import LEDGER_ACTIONS
from vbc_source.recordings import RECORDING_KEY, RecordingKey, write_recording_key
from vbc_source.schema.names import LOAD_ID
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES

MOST_WINDOWS = 1000  # the newest: in a lake, every run of a lookback adds one

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CallRecording:
    """A recording of a call.

    Attributes:
        key: Account, type, user (empty for company recordings) and id.
        loaded: The row that is loaded, with its child tables by name; empty where it is no more.
        ledgers: Rows of the ledgers, by table.
        windows: Rows of `scan_windows` that cover its start, of complete loads, newest first.
    """

    key: RecordingKey
    loaded: Row
    ledgers: Mapping[str, list[Row]]
    windows: list[Row]

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.key[1]} recording {self.key[3]}"

    @property
    def recording_key(self) -> str:
        """Its key, as the models and the dashboard write it."""
        return write_recording_key(self.key)

    @property
    def files(self) -> list[Row]:
        """Rows of its stored files, by version; of a version, the newest row."""
        rows = [row for row in self.ledgers.get(LEDGER, ()) if row["status"] == "stored" and row["uri"]]
        rows.sort(key=lambda row: (row.get("version") or 1, row["fetched_at"]))
        # sorted, so that the newest row of a version is put in last; rows of the first version may have null
        return list({row.get("version") or 1: row for row in rows}.values())


def read_call(loaded: LoadedTables, call_id: str) -> list[CallRecording]:
    """Read the recordings of a call: loaded now, or archived with its id."""
    return [_read_recording(loaded, key) for key in _find_keys(loaded, call_id)]


def _find_keys(loaded: LoadedTables, call_id: str) -> list[RecordingKey]:
    loaded.refresh()
    parts = []
    for kind, table in TABLES.items():
        if "call_id" in loaded.columns(table):
            user = "user_id" if kind == "user" else "''"
            parts.append(f"SELECT account_id, '{kind}', {user}, id FROM {table} WHERE call_id = :call")
    if loaded.has(LEDGER):
        key = ", ".join(RECORDING_KEY)
        parts.append(f"SELECT {key} FROM ({write_ledger(loaded)}) AS ledger WHERE call_id = :call")
    # UNION leaves one of a recording that is both loaded and archived
    rows = loaded.query(" UNION ".join(parts), call=call_id) if parts else []
    return sorted((str(account), str(kind), str(user or ""), int(id_)) for account, kind, user, id_ in rows)


def _read_recording(loaded: LoadedTables, key: RecordingKey) -> CallRecording:
    account, kind, user, id_ = key
    # a ledger that was edited may hold any kind; with the user, no other recording is found for it
    endpoint = RECORDING_ENDPOINTS.get(kind, ON_DEMAND)
    owner: dict[str, Any] = {"account_id": account, **({"user_id": user} if endpoint.per_user else {})}
    rows = _select_newest(loaded, endpoint.name, {**owner, endpoint.shape.id_column: id_})
    row = rows[0] if rows else {}
    for name in endpoint.shape.lists if row else ():
        items = _select_newest(loaded, f"{endpoint.name}__{name}", {**owner, endpoint.shape.child_key: id_})
        # a list that became empty has one row, which says so and is no item
        row[name] = [item for item in items if not item.pop("is_empty", False)]
    values = dict(zip(RECORDING_KEY, key, strict=True))
    ledgers = {name: _select(loaded, name, values) for name in LEDGER_ACTIONS if _has_recording(loaded, name)}
    # the row may be gone by now; the ledger knows when the call began
    start = row.get("start") or next((one.get("call_start") for one in ledgers.get(LEDGER, ())), None)
    windows = _select_windows(loaded, endpoint.name, account, user, start) if start else []
    return CallRecording(key, row, {name: found for name, found in ledgers.items() if found}, windows)


def _has_recording(loaded: LoadedTables, table: str) -> bool:
    return set(RECORDING_KEY) <= loaded.columns(table).keys()


def _select_newest(loaded: LoadedTables, table: str, values: Mapping[str, Any]) -> list[Row]:
    """Read rows of the source as `_select` does: in files, those of the newest load count."""
    rows = _select(loaded, table, values, [LOAD_ID] if LOAD_ID in loaded.columns(table) else [])
    newest = max((str(row.get(LOAD_ID)) for row in rows), default="")
    rows = [row for row in rows if str(row.get(LOAD_ID)) == newest]
    return [{name: value for name, value in row.items() if name != LOAD_ID} for row in rows]


def _select(
    loaded: LoadedTables, table: str, values: Mapping[str, Any], more: Sequence[str] = ()
) -> list[Row]:
    """Read the rows of a table that have some values, with all columns but dlt's own, and `more`."""
    names = [*(name for name in loaded.columns(table) if not name.startswith("_dlt_")), *more]
    if not names:
        return []
    columns = ", ".join(f'"{name}"' for name in names)
    where = " AND ".join(f'"{name}" = :{name}' for name in values)
    found = loaded.query(f"SELECT {columns} FROM {table} WHERE {where}", **values)
    return [dict(zip(names, row, strict=True)) for row in found]


def _select_windows(
    loaded: LoadedTables, resource: str, account: str, user: str, start: datetime
) -> list[Row]:
    table = "scan_windows"
    names = list(loaded.columns(table))
    if LOAD_ID not in names:
        return []
    # of complete loads alone: a killed one may have left the row of a window without the recordings in it
    columns = ", ".join(f'w."{name}"' for name in names)
    began = "CAST(:start AS TIMESTAMPTZ)"
    found = loaded.query(
        f"""
        SELECT {columns} FROM {table} AS w
        WHERE w.account_id = :account AND w.resource = :resource AND coalesce(w.user_id, '') = :user
            AND w.window_start <= {began} AND w.window_end >= {began}
            AND w._dlt_load_id IN (SELECT load_id FROM _dlt_loads WHERE status = 0)
        ORDER BY w.scanned_at DESC LIMIT {MOST_WINDOWS}""",
        account=account,
        resource=resource,
        user=user,
        start=start,
    )
    return [dict(zip(names, row, strict=True)) for row in found]
