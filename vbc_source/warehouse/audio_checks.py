"""Rows of `audio_checks`: what was found when files of the archive were read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from vbc_source.recordings import RECORDING_KEY, RecordingType
from vbc_source.schema.columns import INSTANT
from vbc_source.warehouse.queries import LoadedTables

CHECKS = "audio_checks"
Method = Literal["read", "remote checksum", "against_vbc"]
CheckOutcome = Literal["ok", "damaged", "missing", "unreadable", "repaired"]
OPEN: tuple[CheckOutcome, ...] = ("damaged", "missing", "unreadable")  # what is wrong until a later check
CHECK_KEY = (*RECORDING_KEY, "version")  # of the file that was checked
SCHEMA = pa.schema(
    [
        pa.field("check_id", pa.string(), nullable=False),
        pa.field("checked_at", INSTANT, nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in CHECK_KEY[:3]),
        *(pa.field(name, pa.int64(), nullable=False) for name in CHECK_KEY[3:]),
        pa.field("uri", pa.string()),
        *(pa.field(name, pa.string(), nullable=False) for name in ("method", "outcome")),
        pa.field("size_bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("error", pa.string()),
    ]
)
_SAME = " AND ".join(f"k.{name} = m.{name}" for name in CHECK_KEY)
_LISTED = ", ".join(f"k.{name}" for name in (*CHECK_KEY, "checked_at"))
# the newest check of each file; aggregates take much less memory than a window over all checks of years
NEWEST = f"""
    SELECT {_LISTED}, max(k.outcome) AS outcome, max(k.error) AS error, max(k.uri) AS uri
    FROM {CHECKS} AS k JOIN (
        SELECT {", ".join(CHECK_KEY)}, max(checked_at) AS newest FROM {CHECKS} GROUP BY {", ".join(CHECK_KEY)}
    ) AS m ON {_SAME} AND k.checked_at = m.newest
    GROUP BY {_LISTED}"""


@dataclass(frozen=True, slots=True)
class AudioCheck:
    """A check of one version of a recording's file: how it was read, and what was found.

    `unreadable` says nothing about the file: the bucket did not answer. `size_bytes` and `sha256` are those
    found; after a repair, those stored.
    """

    check_id: str
    checked_at: datetime
    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    version: int
    uri: str | None
    method: Method
    outcome: CheckOutcome
    size_bytes: int | None = None
    sha256: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """The checks of an archive.

    Attributes:
        damaged: Files whose newest check found them damaged, missing or unreadable.
        last_check: When a file was checked last.
    """

    damaged: int
    last_check: datetime


def make_checks_table(rows: Sequence[AudioCheck]) -> pa.Table:
    """Make an Arrow table of the rows."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, SCHEMA)


def read_check_status(loaded: LoadedTables, ledger: str) -> CheckStatus | None:
    """Summarize the checks of files that the ledger has; None where none was ever checked."""
    if len(loaded.find(CHECKS, ledger)) < 2:
        return None
    same = " AND ".join(f"a.{name} = c.{name}" for name in RECORDING_KEY)
    outcomes = ", ".join(f"'{outcome}'" for outcome in OPEN)
    ((damaged, last),) = loaded.query(f"""
        SELECT sum(CASE WHEN outcome IN ({outcomes}) THEN 1 ELSE 0 END), max(checked_at)
        FROM ({NEWEST}) AS c
        WHERE EXISTS (SELECT 1 FROM {ledger} AS a WHERE {same} AND a.status = 'stored')""")
    return CheckStatus(int(damaged), last) if last else None
