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
    """Rows of `scan_windows` of one company's list; `load` names the load that brought each.

    A list is proven by its rows too: the table has the recordings of a case.
    """

    name: str
    rows: Sequence[dict[str, Any]]
    proven: Sequence[Window]
    lookback_hours: float = 48
    recordings: Sequence[datetime] = ()  # starts of those that are in the table


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
        "rows_loaded": 0,
        "is_proven": True,
        "requests": 1,
        "attempts": 1,
        "scanned_at": NOON + timedelta(hours=read_after),
        "filters": None,
        "load": load,
        **changed,
    }


HALF_PAST_TWO = NOON + timedelta(hours=2.5)

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
    Case("read by a clock that was ahead", [proof(hours(0, 10), 3 * 10**5)], []),
    Case("pages that do not add up", [proof(hours(0, 10), 100, is_proven=False)], []),
    Case(
        "without a word about its rows",
        [proof(hours(0, 10), 100, rows_loaded=None, is_proven=None)],
        [hours(0, 10)],
    ),
    Case("rows that are not there", [proof(hours(0, 10), 100, rows_loaded=1)], []),
    Case(
        "rows that are there",
        [proof(hours(0, 10), 100, rows_loaded=1)],
        [hours(0, 10)],
        recordings=[HALF_PAST_TWO],
    ),
    Case(
        "some rows that were deleted",
        [proof(hours(0, 5), 100, rows_loaded=2), proof(hours(5, 10), 100, rows_loaded=1)],
        [hours(5, 10)],
        recordings=[HALF_PAST_TWO, NOON + timedelta(hours=7)],
    ),
    Case(
        "more rows than it named, in overlapping windows",
        [proof(hours(0, 6), 100, rows_loaded=1), proof(hours(1, 10), 100, "2", rows_loaded=1)],
        [hours(0, 10)],
        recordings=[HALF_PAST_TWO, NOON + timedelta(hours=2.5), NOON + timedelta(hours=8)],
    ),
    Case(
        "a row in the first second counts, one in the last belongs to the next window",
        [proof(hours(0, 5), 100, rows_loaded=1), proof(hours(5, 10), 100, rows_loaded=2)],
        [hours(0, 5)],
        recordings=[NOON, NOON + timedelta(hours=5), NOON + timedelta(hours=10)],
    ),
    Case(
        "two readings from the same second on: the later one contains the other",
        [proof(hours(0, 10), 100, rows_loaded=1), proof(hours(0, 12), 102, "2", rows_loaded=1)],
        [hours(0, 12)],
        recordings=[HALF_PAST_TWO],
    ),
    Case(
        "two readings from the same second on, the later one of an incomplete load",
        [proof(hours(0, 10), 100), proof(hours(0, 12), 102, LOST_LOAD)],
        [hours(0, 10)],
    ),
    Case(
        "two readings from the same second on, and a row that was deleted after the first",
        [proof(hours(0, 10), 100, rows_loaded=2), proof(hours(0, 12), 102, "2", rows_loaded=1)],
        [hours(0, 12)],
        recordings=[HALF_PAST_TWO],
    ),
    Case(
        "two with a gap", [proof(hours(0, 10), 100), proof(hours(11, 20), 100)], [hours(0, 10), hours(11, 20)]
    ),
)
