"""The ledger of the archive: what happened to the audio of each recording, and how it is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import dlt
import pyarrow as pa

from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import BatchedLedger, load_rows, make_schema
from vbc_source.recordings import RECORDING_KEY, Recording, RecordingType
from vbc_source.schema.columns import INSTANT

if TYPE_CHECKING:
    from vbc_source.audio.journal import Journal

LEDGER = "recording_audio"

AudioStatus = Literal["stored", "missing", "forbidden", "failed", "erased"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What happened to the audio of one version of a recording.

    The status `missing` means that VBC no longer has the recording, `erased` that the file was deleted from
    the bucket on purpose; `error` then tells why, and the row still which file it was. `attempts` counts its
    requests; it is 0 for a file that was already in the bucket. `call_id` and `call_start` are those that
    were loaded when it was archived: where they differ from what is loaded now, the recording has changed.
    `audio_duration` is how long the file really is, milliseconds like the recording's `duration`, 0 without
    sound; None where it was not measured.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    uri: str | None
    status: AudioStatus
    size_bytes: int | None
    sha256: str | None
    content_type: str | None
    attempts: int
    error: str | None
    fetched_at: datetime
    version: int = 1
    call_id: str | None = None
    call_start: datetime | None = None
    audio_duration: int | None = None

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """The primary key."""
        return self.account_id, self.recording_type, self.user_id, self.recording_id, self.version


VERSION_KEY = (*RECORDING_KEY, "version")  # of a row
COLUMNS = {
    "account_id": pa.string(),
    "recording_type": pa.string(),
    "user_id": pa.string(),
    "recording_id": pa.int64(),
    "uri": pa.string(),
    "status": pa.string(),
    "size_bytes": pa.int64(),
    "sha256": pa.string(),
    "content_type": pa.string(),
    "attempts": pa.int64(),
    "error": pa.string(),
    "fetched_at": INSTANT,
    "version": pa.int64(),
    "call_id": pa.string(),
    "call_start": INSTANT,
    "audio_duration": pa.int64(),
}


def make_ledger_row(recording: Recording, status: AudioStatus, now: datetime, **fields: Any) -> LedgerRow:
    """Make a row for one more attempt; fields that are not given are None."""
    empty = dict.fromkeys(("uri", "size_bytes", "sha256", "content_type", "error"))
    listed = {name: getattr(recording, name) for name in (*VERSION_KEY, "call_id")}
    return LedgerRow(
        **{
            **listed,
            **empty,
            "call_start": recording.start,
            "attempts": recording.attempts + 1,
            "status": status,
            "fetched_at": now,
            **fields,
        }
    )


class AudioLedger(BatchedLedger):
    """Loads the rows of the journal into the table, in batches.

    `lock` excludes other users of the destination during a load, where it admits one process. `sync` writes
    the names of files, given by their addresses, to the disk: a row must not outlast its file.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        journal: Journal,
        lock: Callable[[], AbstractContextManager[Any]],
        sync: Callable[[Iterable[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(LEDGER, clock)
        self.journal = journal
        self._pipeline, self._lock, self._sync = pipeline, lock, sync

    @property
    def waiting(self) -> int:
        """Number of rows that are not loaded yet."""
        return len(self.journal)

    def load(self) -> None:
        """Load all waiting rows."""
        rows = self.journal.rows
        if rows:
            # before the rows: after a crash of the machine, none may name a file that is not there
            self._sync(row.uri for row in rows if row.uri)
            columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
            table = pa.table(columns, make_schema(COLUMNS, VERSION_KEY))
            with self._lock(), explaining():
                load_rows(self._pipeline, LEDGER, table, "merge", VERSION_KEY, added={"version": 1})
            # a kill before this loads the same rows again, never too few
            self.journal.forget(rows)
        self._loaded_at = self._clock()
