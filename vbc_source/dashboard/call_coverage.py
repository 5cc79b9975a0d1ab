"""The figures of calls: how many were recorded, by day and by user, and which do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import PageFilters, format_day_start
from vbc_source.warehouse.call_gaps import GAP_KEY

MOST_DAYS, MOST_USERS, MOST_GAPS = 62, 30, 200
_COUNTS = "sum(calls), sum(answered), sum(recorded), sum(missing)"
_PERIOD = """FROM {call_coverage} WHERE day BETWEEN %(first)s AND %(last)s
    AND (%(account)s = '' OR account_id = %(account)s)"""
_DAYS = f"SELECT day, {_COUNTS} {_PERIOD} GROUP BY day ORDER BY day DESC LIMIT {MOST_DAYS}"
_USERS = f"""
    SELECT user_name, direction, {_COUNTS} {_PERIOD} GROUP BY user_name, direction
    ORDER BY sum(missing) DESC, sum(answered) - sum(recorded) DESC, user_name, direction LIMIT {MOST_USERS}"""
# the newest row of a gap counts, as in the table's description
_GAPS = f"""
    SELECT class, ("start" AT TIME ZONE %(zone)s), direction, extension, call_id, account_id FROM (
        SELECT *, row_number() OVER (PARTITION BY {", ".join(GAP_KEY)} ORDER BY noted_at DESC) AS place
        FROM {{loaded}}.call_gaps
    ) AS g
    WHERE place = 1 AND closed_at IS NULL AND class <> 'not_flagged'
        AND "start" >= CAST(%(since)s AS TIMESTAMP WITH TIME ZONE)
        AND "start" < CAST(%(until)s AS TIMESTAMP WITH TIME ZONE)
        AND (%(account)s = '' OR account_id = %(account)s)
    ORDER BY CASE class WHEN 'missing' THEN 0 ELSE 1 END, "start" DESC LIMIT {MOST_GAPS}"""
CLASSES = {
    "missing": "Flagged as recorded, no recording",
    "unexpected": "Recorded, not flagged",
    "length_differs": "Length differs",
    "without_call": "Recording without a call",
}


@dataclass(frozen=True, slots=True)
class CallTotals:
    """Calls of a period; `missing` are flagged as recorded and have no recording."""

    calls: int
    answered: int
    recorded: int
    missing: int


def read_totals(figures: Figures, filters: PageFilters) -> CallTotals | None:
    """Return the calls of the chosen period and account; None where no call logs are loaded for them."""
    if not figures.has_model("call_coverage"):
        return None
    ((calls, *rest),) = figures.query(f"SELECT {_COUNTS} {_PERIOD}", **_read_values(filters, figures))
    return CallTotals(int(calls), *map(int, rest)) if calls else None


def read_call_coverage(figures: Figures, filters: PageFilters) -> dict[str, Any]:
    """Return the values of the page; of the filters, the period and the account count."""
    values = _read_values(filters, figures)
    totals = read_totals(figures, filters)
    # `vbc reconcile` may never have run
    has_gaps = "call_gaps" in figures.list_columns()
    return {
        "calls": totals,
        "days": figures.query(_DAYS, **values) if totals else [],
        "most_days": MOST_DAYS,
        "users": figures.query(_USERS, **values) if totals else [],
        "most_users": MOST_USERS,
        "gaps": figures.query(_GAPS, **values) if has_gaps else [],
        "reconciled": has_gaps,
        "classes": CLASSES,
        "most_gaps": MOST_GAPS,
    }


def _read_values(filters: PageFilters, figures: Figures) -> dict[str, Any]:
    return {
        "first": filters.first,
        "last": filters.last,
        "account": filters.account or "",
        "zone": figures.zone.key,
        "since": format_day_start(filters.first, figures.zone),
        "until": format_day_start(filters.last + timedelta(days=1), figures.zone),
    }
