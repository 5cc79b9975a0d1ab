"""The loaded recordings that the members of an export may belong to, asked batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.exports.matching import LoadedRecording, hide_name
from vbc_source.audio.exports.zip_file import Member
from vbc_source.audio.ledger import LEDGER
from vbc_source.pii import PiiPolicy
from vbc_source.recordings import Recording
from vbc_source.warehouse.queries import LoadedTables, Row
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

_KEY = "account_id, recording_type, user_id, recording_id"
_COLUMNS = f"{_KEY}, began, ended, download_url, size_bytes, shared_id, file_name"


class Catalog:
    """What is loaded, and what the ledger says of it.

    Args:
        loaded: what the destination holds.
        privacy: how the loaded names were hidden.
        bucket: where files are.
        account: whose recordings are meant; None for everybody's.
    """

    def __init__(self, loaded: LoadedTables, privacy: PiiPolicy, bucket: Bucket, account: str | None) -> None:
        self.privacy = privacy
        self._loaded, self._bucket, self._account = loaded, bucket, account

    def find(self, members: Sequence[Member]) -> list[LoadedRecording]:
        """Give the recordings that have the name of a member; of those without a name, its size.

        Raises:
            VbcError: it could not be asked, or no recordings are loaded.
        """
        names = {hidden for member in members for hidden in hide_name(member.name, self.privacy)}
        values: dict[str, Any] = {f"name_{number}": name for number, name in enumerate(sorted(names))}
        sizes = ", ".join(str(size) for size in sorted({member.size for member in members}))
        which = f"(file_name IN ({', '.join(f':{name}' for name in values)})"
        which += f" OR (coalesce(file_name, '') = '' AND size_bytes IN ({sizes})))"
        if self._account:
            values["account"] = self._account
            which += " AND account_id = :account"

        def write(loaded: LoadedTables) -> str:
            recordings = write_recordings(loaded, RecordingSelection())
            wanted = f"SELECT {_COLUMNS} FROM ({recordings}) AS r WHERE {which}"
            if not loaded.has(LEDGER):
                return f"SELECT w.*, 0 AS attempts, NULL AS uri, NULL AS stored_bytes FROM ({wanted}) AS w"
            return _join_ledger(wanted)

        rows = self._loaded.query(write, **RecordingSelection().bounds, **values)
        found = {row[:4]: row for row in rows}  # where a destination only appends, rows repeat
        return [self._read(row) for row in found.values()]

    def _read(self, row: Row) -> LoadedRecording:
        account, kind, user, id_, began, ended, link, size, shared, name, attempts, uri, stored_bytes = row
        recording = Recording(
            account_id=str(account),
            recording_type=kind,
            user_id=str(user),
            recording_id=int(id_),
            start=began,
            download_url=link,
            size_bytes=None if size is None else int(size),
            shared_id=bool(shared),
            attempts=int(attempts),
        )
        key = self._bucket.key_of(uri) if uri else None
        return LoadedRecording(recording, name, ended, (key, int(stored_bytes or 0)) if key else None)


def _join_ledger(wanted: str) -> str:
    same = " AND ".join(f"a.{name} = w.{name}" for name in _KEY.split(", "))
    return f"""
        SELECT w.*, coalesce(a.attempts, 0) AS attempts, a.uri, a.stored_bytes FROM ({wanted}) AS w
        LEFT JOIN (
            SELECT {_KEY}, max(attempts) AS attempts, max(CASE WHEN status = 'stored' THEN uri END) AS uri,
                max(CASE WHEN status = 'stored' THEN size_bytes END) AS stored_bytes
            FROM {LEDGER} GROUP BY {_KEY}
        ) AS a ON {same}"""
