"""The two pages and the CSV export: figures as values and text for the templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vbc_source.dashboard import charts
from vbc_source.dashboard.figures import Figures, FilterOptions, ListCoverage, Row, Totals
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
        days=lambda filters: f"{charts.format_day(filters.first)} to {charts.format_day(filters.last)}",
        duration=charts.format_duration,
        direction=charts.format_direction,
        type=lambda value: charts.TYPES.get(value, value),
    )
    return templates


def build_dashboard(
    figures: Figures, options: FilterOptions, query: Mapping[str, str], zone: str
) -> dict[str, Any]:
    """Return the values of the page of figures.

    Raises:
        InvalidFilter: The query has an invalid value.
    """
    filters = read_filters(query, options.earliest, options.latest)
    totals, before = figures.total(filters), _read_previous(figures, filters)
    step = charts.choose_step(filters.first, filters.last)
    times = figures.count_by_time(filters, step)
    columns, height = charts.stack_columns(
        charts.split_period(filters.first, filters.last, step), times.steps
    )
    top = figures.list_top_extensions(filters)
    coverage = figures.read_coverage(filters)
    covered = sum(each.recordings for each in coverage)
    return {
        **_describe_filters(options, filters, zone),
        "recordings": totals.recordings,
        "totals": [*_describe_totals(totals, before), _describe_proven(coverage, filters)],
        "comparison": _describe_comparison(filters, before),
        # `coverage` counts the same recordings by the models' own days, so another time zone shows here
        "inconsistent": filters.active <= {"account", "type"} and covered != totals.recordings,
        "unknown_lengths": totals.recordings - totals.known_lengths,
        "unknown_bucket": next((each.order for each in options.buckets if each.shortest is None), None),
        "without_start": figures.count_without_start(),
        "columns": columns,
        "height": height,
        "step": step,
        "name_column": lambda column: _name_column(column, step),
        "length_summary": f"Half of them last {charts.format_duration(totals.median)} or less, nine in ten "
        f"{charts.format_duration(totals.p90)} or less.",
        "buckets": _describe_buckets(options, figures.count_by_length(filters)),
        "top": [_describe_extension(row, top[0][3], filters) for row in top],
        "busiest": _describe_busiest(times.hours),
        "heatmap": charts.build_heatmap(times.hours),
        "coverage": [_describe_coverage(each, filters) for each in coverage],
        "not_archived": totals.recordings - totals.archived,
        "newest": figures.list_recordings(filters, NEWEST_ROWS),
    }


def build_list(
    figures: Figures, options: FilterOptions, query: Mapping[str, str], zone: str
) -> dict[str, Any]:
    """Return the values of a page of the list of recordings.

    Raises:
        InvalidFilter: The query has an invalid value.
    """
    filters = read_filters(query, options.earliest, options.latest)
    page = query.get("page") or "1"
    # isdecimal() accepts other digits than ASCII; the limit keeps the offset within SQL's bigint
    if not (page.isascii() and page.isdecimal()) or not 1 <= int(page[:9]) <= 10**7:
        raise InvalidFilter("page must be a number, from 1.")
    offset = (int(page) - 1) * PAGE_ROWS
    rows = figures.list_recordings(filters, PAGE_ROWS, offset)
    return {
        **_describe_filters(options, filters, zone),
        "recordings": figures.count(filters),
        "rows": rows,
        "page": int(page),
        "first_row": offset + 1 if rows else 0,
        "last_row": offset + len(rows),
    }


def _describe_filters(options: FilterOptions, filters: PageFilters, zone: str) -> dict[str, Any]:
    periods = {name: resolve_period(name, options.earliest, options.latest) for name in PERIODS}
    days = (filters.first, filters.last)
    return {
        "zone": zone,
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
        "lengths": [(bucket.order, bucket.name) for bucket in options.buckets],
    }


def _read_previous(figures: Figures, filters: PageFilters) -> Totals | None:
    """Return the totals of the period before, if it was read from its start."""
    previous = filters.previous_period()
    first = figures.find_first_day(filters)
    return figures.total(previous) if first is not None and first <= previous.first else None


def _describe_totals(totals: Totals, before: Totals | None) -> list[tuple[str, str, str, str]]:
    """Return key, name, value and note of each total."""

    def compare(name: str) -> str:
        change = charts.format_change(getattr(totals, name), getattr(before, name)) if before else ""
        return change or "no comparison"

    archived_share = charts.format_share(totals.archived, totals.recordings)
    return [
        ("recordings", "Recordings", f"{totals.recordings:,}", compare("recordings")),
        ("hours", "Hours recorded", f"{totals.seconds / 3600:,.1f}", compare("seconds")),
        ("median", "Median length", charts.format_duration(totals.median), compare("median")),
        ("p90", "90th percentile", charts.format_duration(totals.p90), compare("p90")),
        ("archived", "Archived", f"{totals.archived:,}", f"{archived_share} of them"),
    ]


def _describe_proven(coverage: Sequence[ListCoverage], filters: PageFilters) -> tuple[str, str, str, str]:
    """Count the days that are proven complete for every account and type."""
    proven = frozenset.intersection(*(each.proven_days for each in coverage)) if coverage else ()
    note = f"of {filters.days:,} days, for every account and type"
    return "proven", "Days proven complete", f"{len(proven):,}", note


def _describe_comparison(filters: PageFilters, before: Totals | None) -> str:
    previous = filters.previous_period()
    days = f"{charts.format_day(previous.first)} to {charts.format_day(previous.last)}"
    if before is None:
        return f"No comparison: the period before, {days}, was not read completely."
    return f"Compared with the period before, {days}: {before.recordings:,} recordings."


def _describe_buckets(options: FilterOptions, counts: Mapping[int, int]) -> list[tuple[Any, int, float]]:
    most = max(counts.values(), default=1)
    numbers = ((bucket, counts.get(bucket.order, 0)) for bucket in options.buckets)
    return [(bucket, number, round(100 * number / most, 2)) for bucket, number in numbers]


def _describe_extension(row: Row, most: int, filters: PageFilters) -> dict[str, Any]:
    account, extension, name, recordings, seconds = row
    is_phone_number = PHONE_NUMBER.fullmatch(extension) is not None
    return {
        "account": account,
        "extension": extension,
        "name": name,
        "recordings": recordings,
        "seconds": float(seconds or 0),
        "share": round(100 * recordings / most, 2),
        "query": None if is_phone_number else filters.write_query(extension=extension, account=account),
    }


def _describe_busiest(hours: Mapping[tuple[int, int], int]) -> str:
    place = charts.find_busiest(hours)
    if place is None:
        return ""
    weekday, hour = place
    return f"Most on {charts.WEEKDAYS[weekday - 1]}s at {hour:02}:00: {hours[place]:,}."


def _describe_coverage(coverage: ListCoverage, filters: PageFilters) -> dict[str, Any]:
    days = [filters.first + timedelta(days=n) for n in range(filters.days)]
    proven = len(coverage.proven_days)
    return {
        "title": f"{charts.TYPES.get(coverage.type, coverage.type)} recordings of account {coverage.account}",
        "archived": _describe_part(coverage.archived, coverage.recordings),
        "archived_share": round(100 * coverage.archived / max(coverage.recordings, 1), 2),
        "proven": _describe_part(proven, len(days), "days "),
        "proven_share": round(100 * proven / len(days), 2),
        "gaps": _describe_gaps(charts.group_days(day for day in days if day not in coverage.proven_days)),
    }


def _describe_part(part: int, whole: int, unit: str = "") -> str:
    return f"{part:,} of {whole:,} {unit}({charts.format_share(part, whole)})"


def _describe_gaps(gaps: Sequence[tuple[date, date]]) -> str:
    earlier = [f"{len(gaps) - MOST_GAPS:,} earlier gap(s)"] if len(gaps) > MOST_GAPS else []
    return "; ".join([*earlier, *(charts.format_days(*gap) for gap in gaps[-MOST_GAPS:])])


def _name_column(column: charts.ChartColumn, step: str) -> str:
    if step == "day":
        return f"{column.first:%a} {charts.format_day(column.first)}"
    if step == "month":
        return f"{column.first:%B %Y}"
    return f"{charts.format_day(column.first)} to {charts.format_day(column.last)}"


def format_csv_row(row: Iterable[Any]) -> list[str]:
    """Return the cells of a CSV row; a text that a spreadsheet would take for a formula gets a `'`."""
    return [_format_cell(value) for value in row]


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    # phone numbers such as +12125550142 stay as they are
    is_formula = value.startswith(tuple("=+-@\t\r")) and not value.removeprefix("+").isdigit()
    return f"'{value}" if is_formula else value
