"""How late recordings arrive, and which `lookback_hours` that asks for; from `recording_arrivals`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from vbc_source.extract.arrivals import ARRIVALS
from vbc_source.warehouse.queries import LoadedTables

SPAN = timedelta(days=90)  # how far back to look
MOST = 200_000  # arrivals, the newest ones


@dataclass(frozen=True, slots=True)
class Lateness:
    """What the runs of the last months have seen.

    Attributes:
        recordings: how many arrived while runs looked.
        p50_seconds: from the end of a call until the run that loaded it, half of them at most.
        p99_seconds: the same, 99 of 100 at most.
        max_seconds: the same, all of them.
        behind: how many began before the newest recording that was loaded already.
        max_behind_seconds: how long before it, at most: so long the lookback has to be.
        lookback_hours: what that asks for, in whole hours.
    """

    recordings: int
    p50_seconds: float
    p99_seconds: float
    max_seconds: float
    behind: int
    max_behind_seconds: float
    lookback_hours: int


def measure_lateness(loaded: LoadedTables, now: datetime) -> Lateness | None:
    """Say how late recordings arrive; None while nothing is known.

    Raises:
        VbcError: the destination could not be asked.
    """
    if not loaded.find(ARRIVALS):
        return None
    rows = loaded.query(
        lambda _: (
            f"""
            SELECT began, ended, cursor_at, seen_at FROM (
                SELECT "start" AS began, "end" AS ended, cursor_at, seen_at FROM {ARRIVALS}
            ) AS a WHERE seen_at >= CAST(:oldest AS TIMESTAMPTZ) ORDER BY seen_at DESC LIMIT {MOST}"""
        ),
        oldest=now - SPAN,
    )
    late = sorted((seen - ended).total_seconds() for _, ended, _, seen in rows if ended)
    gaps = [(cursor - began).total_seconds() for began, _, cursor, _ in rows if began and began < cursor]
    if not late:
        return None
    behind = max(gaps, default=0.0)
    return Lateness(
        len(rows), _rank(late, 0.5), _rank(late, 0.99), late[-1], len(gaps), behind, ceil(behind / 3600)
    )


def _rank(ordered: Sequence[float], part: float) -> float:
    """The smallest value that is not below that part of all."""
    return ordered[max(0, ceil(part * len(ordered)) - 1)]
