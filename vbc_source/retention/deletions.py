"""The ledger of deletions: one row before each deletion, one after it, with the same `deletion_id`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from vbc_source.load.ledgers import make_schema
from vbc_source.recordings import RecordingType
from vbc_source.schema.columns import INSTANT

DELETIONS = "recording_deletions"
# the request and its outcome are two rows, and both stay
DELETION_KEY = ("deletion_id", "status")


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion at VBC: its proof, as read right before it, and its outcome.

    The status `gone` means that the recording was already deleted.
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


def make_deletions_table(rows: list[Deletion]) -> pa.Table:
    """Convert rows to an Arrow table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)


SCHEMA = make_schema(
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
    },
    DELETION_KEY,
)
