"""The catalog: loaded recordings that the members of a zip may belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.exports.matching import LoadedRecording, list_loaded_names
from vbc_source.audio.exports.zip_file import Member
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import FITS, SAME_RECORDING, write_ledger, write_states
from vbc_source.pii import PiiPolicy
from vbc_source.recordings import RECORDING_KEY
from vbc_source.warehouse.erasures import write_without_erased
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import (
    RECORDING_COLUMNS,
    RecordingSelection,
    read_recording,
    write_recordings,
)

_LOADED = (*RECORDING_COLUMNS, "ended", "file_name")
_COLUMNS = (*_LOADED, "attempts", "version", "uri", "stored_bytes", "file_status")


class Catalog:
    """Loaded recordings of an account, or of all accounts, with their state in the ledger."""

    def __init__(self, loaded: LoadedTables, pii: PiiPolicy, bucket: Bucket, account: str | None) -> None:
        self.pii = pii
        self._loaded, self._bucket, self._account = loaded, bucket, account

    def find(self, members: Sequence[Member]) -> list[LoadedRecording]:
        """Return recordings with the name of a member, and those without a name but with its size."""
        everything = RecordingSelection()
        names = {name for member in members for name in list_loaded_names(member.name, self.pii)}
        values: dict[str, Any] = {f"name_{number}": name for number, name in enumerate(sorted(names))}
        sizes = ", ".join(str(size) for size in sorted({member.size for member in members}))
        condition = f"(file_name IN ({', '.join(f':{name}' for name in values)})"
        condition += f" OR (coalesce(file_name, '') = '' AND size_bytes IN ({sizes})))"
        if self._account:
            values["account"] = self._account
            condition += " AND account_id = :account"

        def write(loaded: LoadedTables) -> str:
            # without what was erased: no member may become such a recording again
            recordings = write_without_erased(loaded, write_recordings(loaded, everything))
            columns = ", ".join(_LOADED)
            return _join_ledger(loaded, f"SELECT {columns} FROM ({recordings}) AS r WHERE {condition}")

        rows = self._loaded.query(write, **everything.bounds, **values)
        # where a destination is append-only, the same recording may be there more than once
        unique = {row[: len(RECORDING_KEY)]: dict(zip(_COLUMNS, row, strict=True)) for row in rows}
        return [self._read(row) for row in unique.values()]

    def _read(self, row: Mapping[str, Any]) -> LoadedRecording:
        # a file in another bucket is none here
        key = self._bucket.key_of(row["uri"]) if row["uri"] else None
        stored = (key, int(row["stored_bytes"] or 0)) if key else None
        return LoadedRecording(
            read_recording(row), row["file_name"], row["ended"], stored, row["file_status"] == "erased"
        )


def _join_ledger(loaded: LoadedTables, recordings: str) -> str:
    states = write_states(loaded, recordings)
    columns = ", ".join(f"r.{name}" for name in (*_LOADED, "attempts"))
    if not loaded.has(LEDGER):
        none = ", ".join(f"NULL AS {name}" for name in ("uri", "stored_bytes", "file_status"))
        return f"SELECT {columns}, r.version, {none} FROM ({states}) AS r"
    return f"""
        SELECT {columns}, coalesce(a.version, r.version) AS version, a.uri, a.size_bytes AS stored_bytes,
            a.status AS file_status
        FROM ({states}) AS r
        LEFT JOIN (SELECT * FROM ({write_ledger(loaded)}) AS d WHERE status IN ('stored', 'erased')) AS a
        ON {SAME_RECORDING} AND {FITS}"""
