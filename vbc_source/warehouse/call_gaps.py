"""Rows of `call_gaps`: calls and recordings that do not fit together, open or closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from vbc_source.schema.columns import INSTANT
from vbc_source.warehouse.queries import LoadedTables

CALL_GAPS = "call_gaps"
GapClass = Literal["missing", "not_flagged", "unexpected", "length_differs", "without_call"]
GAP_CLASSES: tuple[GapClass, ...] = ("missing", "not_flagged", "unexpected", "length_differs", "without_call")
GAP_KEY = ("account_id", "class", "call_id")
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in GAP_KEY),
        pa.field("start", INSTANT),
        *(pa.field(name, pa.string()) for name in ("direction", "extension")),
        *(pa.field(name, INSTANT) for name in ("found_at", "closed_at", "noted_at")),
    ]
)
# where a destination only appends, the newest row of a gap counts
_NEWEST = f"""
    SELECT account_id, class, call_id, "start", direction, extension, found_at FROM (
        SELECT *, row_number() OVER (PARTITION BY {", ".join(GAP_KEY)} ORDER BY noted_at DESC) AS place
        FROM {CALL_GAPS}
    ) AS g WHERE place = 1 AND closed_at IS NULL"""


@dataclass(frozen=True, slots=True)
class CallGap:
    """A call, or a recording, that does not fit.

    Attributes:
        account_id: The account.
        call_id: The call; `recording 17` for a recording that names none.
        kind: In which way it does not fit; `class` in the table.
        start: When it started.
        direction: `Inbound` or `Outbound`; of a recording without a call, what the recording says.
        extension: The extension on our side, where it is known.
        found_at: When it was found first.
    """

    account_id: str
    call_id: str
    kind: GapClass
    start: datetime
    direction: str | None
    extension: str | None = None
    found_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """The primary key."""
        return self.account_id, self.kind, self.call_id


def read_open_gaps(loaded: LoadedTables) -> list[CallGap]:
    """Read the gaps that are open."""
    if not loaded.find(CALL_GAPS):
        return []
    return [CallGap(account, call, kind, *rest) for account, kind, call, *rest in loaded.query(_NEWEST)]


def count_open_gaps(loaded: LoadedTables) -> dict[str, int]:
    """Count the gaps that are open, by class; empty where calls were never reconciled."""
    if not loaded.find(CALL_GAPS):
        return {}
    rows = loaded.query(f"SELECT class, count(*) FROM ({_NEWEST}) AS o GROUP BY class")
    return {**dict.fromkeys(GAP_CLASSES, 0), **{str(kind): int(count) for kind, count in rows}}


def make_gaps_table(found: Sequence[CallGap], closed: Sequence[CallGap], now: datetime) -> pa.Table:
    """Make an Arrow table of gaps that are new, and of gaps that are closed now."""
    rows = [
        {**asdict(gap), "class": gap.kind, "found_at": gap.found_at or now, "closed_at": end, "noted_at": now}
        for gaps, end in ((found, None), (closed, now))
        for gap in gaps
    ]
    return pa.Table.from_pylist(rows, SCHEMA)
