"""The ledger of the archive: a row says what became of a recording's audio."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa

from vbc_source.recordings import Recording, RecordingType
from vbc_source.schema.columns import INSTANT

LEDGER = "recording_audio"

Status = Literal["stored", "missing", "forbidden", "failed"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What became of a recording's audio.

    Attributes:
        account_id: with the next three the key, as in `Recording`.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        recording_id: the API's id.
        uri: where the file is; None unless stored.
        status: `stored`, `missing` (404), `forbidden` or `failed`.
        size_bytes: of the file.
        sha256: of the file, in hexadecimal digits.
        content_type: of the file.
        attempts: how often its audio was asked for; 0 where the file was found in the bucket.
        error: why it is not stored.
        fetched_at: when this was found out.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    uri: str | None
    status: Status
    size_bytes: int | None
    sha256: str | None
    content_type: str | None
    attempts: int
    error: str | None
    fetched_at: datetime

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Tells one recording from another."""
        return self.account_id, self.recording_type, self.user_id, self.recording_id


KEY = ("account_id", "recording_type", "user_id", "recording_id")
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
}


def describe(recording: Recording, status: Status, now: datetime, **known: Any) -> LedgerRow:
    """Make a row of the ledger; `known` are the fields that are not empty."""
    empty = dict.fromkeys(("uri", "size_bytes", "sha256", "content_type", "error"))
    return LedgerRow(
        recording.account_id,
        recording.recording_type,
        recording.user_id,
        recording.recording_id,
        status=status,
        fetched_at=now,
        **{**empty, "attempts": recording.attempts + 1, **known},
    )
