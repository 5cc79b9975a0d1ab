"""The two pages and the CSV export: figures as values for the templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vbc_source.dashboard import charts
from vbc_source.dashboard.figures import Figures, FilterOptions, ListCoverage, Totals
from vbc_source.dashboard.filters import (
    PERIODS,
    PHONE_NUMBER,
    InvalidFilter,
    PageFilters,
    read_filters,
    resolve_period,
)

TEMPLATES = Path(__file__).parent / "templates"
PAGE_ROWS = 50
NEWEST_ROWS = 10
MOST_GAPS = 6  # runs of unproven days that are written out; the others are counted


def open_templates() -> Environment:
    """Return the environment that renders the pages; it escapes every value."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=lambda value: f"{value:,.0f}" if value == int(value) else f"{value:,}",
        hours=lambda value: f"{value:,.1f}",
        day=charts.format_day,
        days=lambda filters: charts.format_days(filters.first, filters.last),
        duration=charts.format_duration,
        direction=charts.format_direction,
        share=charts.format_share,
        type=lambda value: charts.TYPES.get(value, value),
    )
    templates.tests["phone_number"] = lambda extension: PHONE_NUMBER.fullmatch(extension) is not None
    return templates


def build_dashboard(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the page of figures."""
    filters = read_filters(query, options.earliest, options.latest)
    totals, previous = figures.total(filters), filters.previous_period()
    first_day = figures.find_first_day(filters)
    # a period that was not read from its start would look like growth
    before = figures.total(previous) if first_day is not None and first_day <= previous.first else None
    step = charts.choose_step(filters.first, filters.last)
    steps, hours = figures.count_by_time(filters, step)
    columns, height = charts.stack_columns(filters.first, filters.last, step, steps)
    coverage = figures.read_coverage(filters)
    covered = sum(each.recordings for each in coverage)
    return {
        **_describe_filters(figures, options, filters),
        "recordings": totals.recordings,
        "totals": totals,
        "previous": previous,
        "before": before,
        "cards": _describe_totals(totals, before, coverage, filters),
        # `coverage` counts the same recordings by the models' own days, so another time zone shows here
        "inconsistent": filters.active <= {"account", "type"} and covered != totals.recordings,
        "unknown_bucket": options.buckets[-1][0],
        "without_start": figures.count_without_start(),
        "columns": columns,
        "height": height,
        "step": step,
        "by_length": figures.count_by_length(filters),
        "top": figures.list_top_extensions(filters),
        "busiest": charts.describe_busiest(hours),
        "heatmap": charts.build_heatmap(hours),
        "coverage": [(each, _describe_gaps(each, filters)) for each in coverage],
        "newest": figures.list_recordings(filters, NEWEST_ROWS),
    }


def build_list(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a page of the list of recordings."""
    filters = read_filters(query, options.earliest, options.latest)
    page = query.get("page") or "1"
    # isdecimal() accepts other digits than ASCII; the limit keeps the offset within SQL's bigint
    if not (page.isascii() and page.isdecimal()) or not 1 <= int(page[:9]) <= 10**7:
        raise InvalidFilter("page must be a number, from 1.")
    offset = (int(page) - 1) * PAGE_ROWS
    rows = figures.list_recordings(filters, PAGE_ROWS, offset)
    return {
        **_describe_filters(figures, options, filters),
        "recordings": figures.count(filters),
        "rows": rows,
        "page": int(page),
        "first_row": offset + 1 if rows else 0,
        "last_row": offset + len(rows),
    }


def _describe_filters(figures: Figures, options: FilterOptions, filters: PageFilters) -> dict[str, Any]:
    periods = {name: resolve_period(name, options.earliest, options.latest) for name in PERIODS}
    days = (filters.first, filters.last)
    return {
        "zone": figures.zone.key,
        "latest": options.latest,
        "filters": filters,
        "periods": [(name, PERIODS[name], period == days) for name, period in periods.items()],
        "more_filters": bool(filters.active & {"weekday", "hour", "length", "archived"}),
        "accounts": [(account, account) for account in options.accounts],
        "many_accounts": len(options.accounts) > 1,
        "directions": [
            (name, charts.format_direction(name)) for name in charts.sort_directions(options.directions)
        ],
        "extensions": [
            (number, f"{number} {name}" if name else number) for number, name in options.extensions
        ],
        "types": list(charts.TYPES.items()),
        "weekdays": list(enumerate(charts.WEEKDAYS, 1)),
        "hours_of_day": [(hour, f"{hour:02}:00 to {hour:02}:59") for hour in range(24)],
        "lengths": options.buckets,
    }


def _describe_totals(
    totals: Totals, before: Totals | None, coverage: list[ListCoverage], filters: PageFilters
) -> list[tuple[str, str, str, str]]:
    """Return key, name, value and note of each card."""

    def compare(name: str) -> str:
        change = charts.format_change(getattr(totals, name), getattr(before, name)) if before else ""
        return change or "no comparison"

    archived_share = charts.format_share(totals.archived, totals.recordings)
    proven = frozenset.intersection(*(each.proven_days for each in coverage)) if coverage else ()
    of_days = f"of {filters.days:,} days, for every account and type"
    return [
        ("recordings", "Recordings", f"{totals.recordings:,}", compare("recordings")),
        ("hours", "Hours recorded", f"{totals.seconds / 3600:,.1f}", compare("seconds")),
        ("median", "Median length", charts.format_duration(totals.median), compare("median")),
        ("p90", "90th percentile", charts.format_duration(totals.p90), compare("p90")),
        ("archived", "Archived", f"{totals.archived:,}", f"{archived_share} of them"),
        ("proven", "Days proven complete", f"{len(proven):,}", of_days),
    ]


def _describe_gaps(coverage: ListCoverage, filters: PageFilters) -> str:
    """Return the runs of days that are not proven complete, the last `MOST_GAPS` of them written out."""
    days = (filters.first + timedelta(days=n) for n in range(filters.days))
    gaps = charts.group_days(day for day in days if day not in coverage.proven_days)
    earlier = [f"{len(gaps) - MOST_GAPS:,} earlier gap(s)"] if len(gaps) > MOST_GAPS else []
    return "; ".join([*earlier, *(charts.format_days(*gap) for gap in gaps[-MOST_GAPS:])])
