"""The ledger of deletions: a row before each, and a row after it, both of the same `deletion_id`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from vbc_source.schema.columns import INSTANT

DELETIONS = "recording_deletions"


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was asked of VBC, on what proof, and what came of it.

    Attributes:
        deletion_id: the same before and after.
        status: `requested` before the call; after it `deleted`, `gone` (it was already) or `failed`.
        account_id: with the next three, which recording.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        recording_id: the API's id.
        uri: where its file is.
        size_bytes: of the file, as read just before.
        sha256: of the file, as read just before.
        verified_at: when it was read.
        error: why it failed.
        noted_at: when this row was made.
    """

    deletion_id: str
    status: Literal["requested", "deleted", "gone", "failed"]
    account_id: str
    recording_type: str
    user_id: str
    recording_id: int
    uri: str
    size_bytes: int
    sha256: str
    verified_at: datetime
    error: str | None
    noted_at: datetime


def make_table(rows: list[Deletion]) -> pa.Table:
    """Make the rows a table."""
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
