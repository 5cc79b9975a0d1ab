"""Recordings that `vbc forget` has erased; restoring a backup may bring one back."""

from __future__ import annotations

import logging

from vbc_source.recordings import RecordingKey, RecordingType
from vbc_source.schema.erased import ERASED
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES

log = logging.getLogger(__name__)

AGAIN = "run vbc forget again"  # with the same number, which no table names
KINDS: dict[str, RecordingType] = {table: kind for kind, table in TABLES.items()}
OF_RECORDINGS = f"resource IN ({', '.join(map(repr, KINDS))})"
_SAME = f"""
    SELECT 1 FROM {ERASED} AS x WHERE x.account_id = r.account_id AND coalesce(x.user_id, '') = r.user_id
        AND x.row_id = CAST(r.recording_id AS VARCHAR) AND x.resource = CASE r.recording_type
            {" ".join(f"WHEN '{kind}' THEN '{table}'" for table, kind in KINDS.items())} END"""


def read_erased(loaded: LoadedTables) -> frozenset[RecordingKey]:
    """Read the keys of all recordings that were erased."""
    if not loaded.find(ERASED):
        return frozenset()
    rows = loaded.query(f"SELECT account_id, resource, user_id, row_id FROM {ERASED} WHERE {OF_RECORDINGS}")
    return frozenset(
        (str(account), KINDS[table], str(user or ""), int(id_)) for account, table, user, id_ in rows
    )


def write_without_erased(loaded: LoadedTables, recordings: str) -> str:
    """Write the query of those of some recordings, with the columns of their key, that were not erased."""
    if not loaded.has(ERASED):
        return recordings
    return f"SELECT * FROM ({recordings}) AS r WHERE NOT EXISTS ({_SAME})"


def warn_of_erased(loaded: LoadedTables, *tables: str) -> None:
    """Warn of recordings in some tables, of recordings or with the columns of their key, that were erased."""
    for table in loaded.find(*tables) if loaded.find(ERASED) else ():
        ((count,),) = loaded.query(f"SELECT count(*) FROM ({_write_keys(table)}) AS r WHERE EXISTS ({_SAME})")
        if count:
            log.warning("%d recording(s) in %s were erased, and are left out: %s", count, table, AGAIN)


def _write_keys(table: str) -> str:
    kind = KINDS.get(table)
    if kind is None:
        return f"SELECT DISTINCT account_id, recording_type, user_id, recording_id FROM {table}"
    user = "user_id" if kind == "user" else "''"
    return (
        f"SELECT DISTINCT account_id, '{kind}' AS recording_type, {user} AS user_id, id AS recording_id "
        f"FROM {table}"
    )
