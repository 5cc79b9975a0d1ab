"""Tombstones: a row says that VBC has a recording no more, and how that is known. Pure.

A row whose `returned_at` is empty is a tombstone; the others are history: the recording came back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa

from vbc_source.recordings import RecordingType
from vbc_source.schema.columns import INSTANT
from vbc_source.windows import format_instant

TOMBSTONES = "recording_tombstones"
KEY = ("account_id", "recording_type", "user_id", "recording_id")


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was found out about a recording that is gone, or was.

    Attributes:
        account_id: with the next three the key, as in the ledger of the archive.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        recording_id: the API's id.
        detected_at: when it was found to be gone.
        evidence: what the API answered, to which request.
        returned_at: when it was found to be there again; None while it is gone.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    detected_at: datetime
    evidence: str
    returned_at: datetime | None = None


def make_table(rows: Sequence[Tombstone]) -> pa.Table:
    """Make the rows a table."""
    return pa.Table.from_pylist([asdict(row) for row in rows], _SCHEMA)


def tell_history(row: Tombstone | None) -> str:
    """Say when a recording was gone before; a new tombstone takes the place of the row that told it."""
    if row is None or row.returned_at is None:
        return ""
    return f"; before, gone at {format_instant(row.detected_at)}, back at {format_instant(row.returned_at)}"


_SCHEMA = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("recording_type", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("recording_id", pa.int64(), nullable=False),
        pa.field("detected_at", INSTANT),
        pa.field("evidence", pa.string()),
        pa.field("returned_at", INSTANT),
    ]
)
