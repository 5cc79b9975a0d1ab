"""Cases of what counts as a proof: rows of `scan_windows`, and the spans that are proven by them.

The completeness module and the dbt models are both tested with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.windows import SECOND, Window

COMPLETE_LOAD, FAILED_LOAD, LOST_LOAD = "1", "3", "4"
LOADS = {COMPLETE_LOAD: 0, "2": 0, FAILED_LOAD: 1}  # with dlt's status; of a lost one there is no row
NOON = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


def hours(first: float, last: float) -> Window:
    return Window(NOON + timedelta(hours=first), NOON + timedelta(hours=last))


@dataclass(frozen=True)
class Case:
    """Rows of `scan_windows` of one company's list; `load` names the load that brought each."""

    name: str
    rows: Sequence[dict[str, Any]]
    proven: Sequence[Window]
    lookback_hours: float = 48


def proof(window: Window, read_after: float, load: str = COMPLETE_LOAD, **changed: Any) -> dict[str, Any]:
    """Make a row that was read so many hours after noon."""
    return {
        "account_id": "549825",
        "resource": "company_recordings",
        "user_id": None,
        "window_start": window.start,
        "window_end": window.end,
        "total_items": 1,
        "rows_read": 1,
        "requests": 1,
        "attempts": 1,
        "scanned_at": NOON + timedelta(hours=read_after),
        "filters": None,
        "load": load,
        **changed,
    }


CASES = (
    Case("without filters", [proof(hours(0, 10), 100)], [hours(0, 10)]),
    Case("an incomplete load", [proof(hours(0, 10), 100, LOST_LOAD)], []),
    Case("a load with a status other than 0", [proof(hours(0, 10), 100, FAILED_LOAD)], []),
    Case(
        "a load that was rolled back",
        [proof(hours(0, 10), 100, "2"), proof(hours(10, 20), 100, LOST_LOAD)],
        [hours(0, 10)],
    ),
    Case("another filter", [proof(hours(0, 10), 100, filters="call_direction#0123456789ab")], []),
    Case("inside the lookback", [proof(hours(0, 10), 20)], []),
    Case("partly inside the lookback", [proof(hours(0, 10), 53)], [hours(0, 5)]),
    Case("a shorter lookback", [proof(hours(0, 10), 20)], [hours(0, 10)], lookback_hours=2),
    Case("two that touch", [proof(hours(0, 10), 100), proof(hours(10, 20), 100, "2")], [hours(0, 20)]),
    Case("two that overlap", [proof(hours(0, 12), 100), proof(hours(10, 20), 100, "2")], [hours(0, 20)]),
    Case(
        "two a second apart: fractions of it may be missing",
        [proof(hours(0, 10), 100), proof(Window(hours(10, 20).start + SECOND, hours(10, 20).end), 100)],
        [hours(0, 10), Window(hours(10, 20).start + SECOND, hours(10, 20).end)],
    ),
    Case(
        "one inside another",
        [proof(hours(0, 20), 100), proof(hours(5, 8), 100), proof(hours(20, 30), 100)],
        [hours(0, 30)],
    ),
    Case(
        "two with a gap", [proof(hours(0, 10), 100), proof(hours(11, 20), 100)], [hours(0, 10), hours(11, 20)]
    ),
)
