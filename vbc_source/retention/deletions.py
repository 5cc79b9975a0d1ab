"""The ledger of deletions: one row before each deletion, one after it, with the same `deletion_id`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from vbc_source.recordings import RecordingType
from vbc_source.schema.columns import INSTANT

DELETIONS = "recording_deletions"


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion at VBC: its proof and its outcome.

    Attributes:
        deletion_id: The same in both rows.
        status: `requested` before the call; after it `deleted`, `gone` (it was already deleted) or `failed`.
        account_id: Identifies the recording, with the next three.
        recording_type: `company` or `user`.
        user_id: Owner of a user recording; empty for company recordings.
        recording_id: Id in the API.
        uri: Address of the file.
        size_bytes: Size of the file, as read right before the deletion.
        sha256: SHA-256 of the file, as read right before the deletion.
        verified_at: When the file was read.
        error: Why the deletion failed.
        noted_at: When this row was made.
    """

    deletion_id: str
    status: Literal["requested", "deleted", "gone", "failed"]
    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    uri: str
    size_bytes: int
    sha256: str
    verified_at: datetime
    error: str | None
    noted_at: datetime


def make_table(rows: list[Deletion]) -> pa.Table:
    """Convert rows to an Arrow table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], _SCHEMA)


_SCHEMA = pa.schema(
    {
        "deletion_id": pa.string(),
        "status": pa.string(),
        "account_id": pa.string(),
        "recording_type": pa.string(),
        "user_id": pa.string(),
        "recording_id": pa.int64(),
        "uri": pa.string(),
        "size_bytes": pa.int64(),
        "sha256": pa.string(),
        "verified_at": INSTANT,
        "error": pa.string(),
        "noted_at": INSTANT,
    }
)
