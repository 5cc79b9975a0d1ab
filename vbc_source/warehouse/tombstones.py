"""Rows of `recording_tombstones`: recordings that VBC no longer has, with the evidence. Pure.

A row without `returned_at` is a tombstone; the others are history of recordings that came back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa

from vbc_source.recordings import RECORDING_KEY, RecordingType
from vbc_source.schema.columns import INSTANT
from vbc_source.windows import format_instant

TOMBSTONES = "recording_tombstones"
# selects the keys that are gone: the newest row of a recording counts, returned ones are history
GROUP_GONE = (
    f"GROUP BY {', '.join(RECORDING_KEY)} "
    "HAVING max(detected_at) > max(coalesce(returned_at, CAST('1970-01-01' AS TIMESTAMPTZ)))"
)

SCHEMA = pa.schema(
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


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A recording that is gone, or was; its key is that of the archive's ledger."""

    account_id: str
    recording_type: RecordingType
    user_id: str  # empty for company recordings
    recording_id: int
    detected_at: datetime  # when it was confirmed to be gone
    evidence: str  # which requests the API answered, how and when; no personal data
    returned_at: datetime | None = None  # when a verification noticed that VBC lists it again


def make_tombstones_table(rows: Sequence[Tombstone]) -> pa.Table:
    """Make an Arrow table of the rows."""
    return pa.Table.from_pylist([asdict(row) for row in rows], SCHEMA)


def describe_history(row: Tombstone | None) -> str:
    """Describe when a recording was gone before, for the evidence of the tombstone that replaces its row."""
    if row is None or row.returned_at is None:
        return ""
    return f"; before, gone at {format_instant(row.detected_at)}, back at {format_instant(row.returned_at)}"
