"""Measure how late recordings arrive, and which `lookback_hours` that requires."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from vbc_source.extract.arrivals import ARRIVALS
from vbc_source.warehouse.queries import LoadedTables

PERIOD = timedelta(days=90)  # how far back to look
MOST_ARRIVALS = 200_000  # the newest ones; the percentiles are computed in memory


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late recordings arrived in the last 90 days, as incremental runs recorded it.

    Attributes:
        recordings: Recordings that arrived.
        p50_seconds: Median of the time from the end of a call until the run that loaded it.
        p99_seconds: The 99th percentile.
        max_seconds: The maximum.
        behind: Recordings that started before the newest one that was loaded already.
        max_behind_seconds: How long before it, at most: the lookback must be at least as long.
        lookback_hours: The lookback that this requires, in whole hours.
    """

    recordings: int
    p50_seconds: float
    p99_seconds: float
    max_seconds: float
    behind: int
    max_behind_seconds: float
    lookback_hours: int


def measure_lateness(loaded: LoadedTables, now: datetime) -> Lateness | None:
    """Measure how late recordings arrive; None while no arrivals are recorded."""
    if not loaded.find(ARRIVALS):
        return None
    rows = loaded.query(
        f"""
        SELECT began, ended, cursor_at, seen_at FROM (
            SELECT "start" AS began, "end" AS ended, cursor_at, seen_at FROM {ARRIVALS}
        ) AS a WHERE seen_at >= CAST(:oldest AS TIMESTAMPTZ) ORDER BY seen_at DESC
        LIMIT {MOST_ARRIVALS}""",
        oldest=now - PERIOD,
    )
    # `end` may be null: such a recording has no delay
    delays = sorted((seen - ended).total_seconds() for _, ended, _, seen in rows if ended)
    behind = [(cursor - began).total_seconds() for began, _, cursor, _ in rows if began and began < cursor]
    if not delays:
        return None
    furthest = max(behind, default=0.0)
    return Lateness(
        recordings=len(rows),
        p50_seconds=_percentile(delays, 0.5),
        p99_seconds=_percentile(delays, 0.99),
        max_seconds=delays[-1],
        behind=len(behind),
        max_behind_seconds=furthest,
        lookback_hours=ceil(furthest / 3600),
    )


def _percentile(ordered: Sequence[float], part: float) -> float:
    """Return the smallest value that is not below that part of all values."""
    return ordered[max(0, ceil(part * len(ordered)) - 1)]
