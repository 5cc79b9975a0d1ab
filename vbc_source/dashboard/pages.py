"""The pages and the CSV export: figures as values for the templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vbc_source.analytics.freshness import Freshness
from vbc_source.dashboard import charts
from vbc_source.dashboard.call_coverage import read_call_coverage, read_totals
from vbc_source.dashboard.details import LABELS, Details
from vbc_source.dashboard.figures import Figures, ListCoverage, Totals
from vbc_source.dashboard.filters import (
    LAST_YEAR,
    NEWEST_FIRST,
    PERIODS,
    PHONE_NUMBER,
    FilterOptions,
    InvalidFilter,
    PageFilters,
    read_day,
    read_filters,
    read_page_number,
    resolve_period,
)
from vbc_source.dashboard.plays import Play
from vbc_source.dashboard.search import MOST_FOUND, Search, search_recordings

TEMPLATES = Path(__file__).parent / "templates"
PAGE_ROWS = 50
NEWEST_ROWS = 10
MOST_GAPS = 6  # runs of unproven days that are written out; the others are counted
ARCHIVED_LABELS = {"yes": "Archived", "no": "Not archived", "failed": "Could not be archived"}
SORT_LABELS = {
    "-start": "Newest first",
    "start": "Oldest first",
    "-length": "Longest first",
    "length": "Shortest first",
    "-size": "Largest first",
    "size": "Smallest first",
}
NAMES = {
    "account": "Account",
    "direction": "Direction",
    "extension": "Extension",
    "type": "Type",
    "archived": "Archive",
    "weekday": "Weekday",
    "hour": "Hour",
    "length": "Length",
}
NAMES_OF_CALLS = {"account": NAMES["account"]}  # call logs have no recording's values


@cache  # it keeps the templates, which take 150 ms to compile
def open_templates() -> Environment:
    """Return the environment that renders the pages; it escapes every value."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        # Jinja's default is not to escape
        autoescape=True,
        # a misspelt name is an error, not an empty place on the page
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
        average=charts.format_average,
        count=charts.format_count,
        bytes=charts.format_bytes,
        instant=charts.format_local,
        fact=_format_fact,
        label=lambda name: LABELS.get(name, name.replace("_", " ").capitalize()),
        type=lambda value: charts.TYPE_LABELS.get(value, value),
        recording_address=lambda key: f"/recording/{quote(key)}",
        audio_address=lambda key: f"/audio/{quote(key)}",
    )
    templates.tests["phone_number"] = lambda extension: PHONE_NUMBER.fullmatch(extension) is not None
    return templates


def build_dashboard(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the page of figures."""
    filters = read_filters(query, options)
    return {
        **build_figures(figures, options, filters),
        "calls": read_totals(figures, filters),
        "newest": figures.list_recordings(replace(filters, sort=NEWEST_FIRST), NEWEST_ROWS),
        "links": True,
    }


def build_figures(figures: Figures, options: FilterOptions, filters: PageFilters) -> dict[str, Any]:
    """Return the figures of a period, for the page and for the report."""
    totals, previous = figures.total(filters), filters.previous_period()
    first_day = figures.find_first_day(filters)
    # a period that was not read from its start would look like growth
    before = figures.total(previous) if first_day is not None and first_day <= previous.first else None
    step = charts.choose_step(filters.first, filters.last)
    days, hours = figures.count_by_time(filters)
    earlier = figures.count_by_time(previous)[0] if before else None
    coverage = figures.read_coverage(filters)
    proven = _find_proven(coverage)
    covered = sum(each.recordings for each in coverage)
    unknown = sum(not each.has_days for each in coverage)
    at_risk = figures.count(replace(filters, archived="failed"))
    fresh = figures.read_freshness()
    return {
        **_describe_filters(figures, options, filters, "/"),
        "recordings": totals.recordings,
        "totals": totals,
        "previous": previous,
        "before": before,
        "previous_incomplete": previous.days - len(_find_proven(figures.read_coverage(previous)))
        if before
        else 0,
        "cards": _describe_totals(totals, before),
        "health": [
            *_describe_health(options, filters, totals, at_risk, filters.days - len(proven), unknown),
            _describe_freshness(fresh, figures.zone),
        ],
        # `coverage` counts the same recordings by the models' own days, so another time zone shows here
        "inconsistent": filters.active <= {"account", "type"} and covered != totals.recordings,
        "unknown_bucket": options.buckets[-1][0],
        "without_start": figures.count_without_start(),
        "outside": figures.count_outside(options),
        "stale": _describe_stale(fresh),
        "tomorrow": options.latest + timedelta(days=1),
        "far_future": date(LAST_YEAR, 12, 31),
        "chart": charts.draw_chart(filters.first, filters.last, step, days, earlier, proven),
        "by_length": figures.count_by_length(filters),
        "top": figures.list_top_extensions(filters),
        "busiest": charts.describe_busiest(hours, filters.weekdays),
        "heatmap": charts.build_heatmap(hours, filters.weekdays),
        "coverage": [(each, _describe_gaps(each, filters)) for each in coverage],
    }


def build_recordings(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a page of the list of recordings."""
    filters = read_filters(query, options)
    if query.get("at") and not filters.sort.endswith("start"):
        filters = replace(filters, sort=NEWEST_FIRST)  # a day has no place in a list by length or size
    recordings = figures.count(filters)
    page = _find_page(figures, filters, query)
    offset = (page - 1) * PAGE_ROWS
    rows = figures.list_recordings(filters, PAGE_ROWS, offset)
    return {
        **_describe_filters(figures, options, filters, "/recordings"),
        "recordings": recordings,
        "rows": rows,
        "page": page,
        "pages": max(1, -(-recordings // PAGE_ROWS)),
        "first_row": offset + 1 if rows else 0,
        "last_row": offset + len(rows),
        "sorts": SORT_LABELS,
    }


def _find_page(figures: Figures, filters: PageFilters, query: Mapping[str, str]) -> int:
    """Return the number of the page that is asked for, by number or by a day."""
    if day_text := query.get("at", "").strip():
        # a day outside of the period stands for its nearer end
        day = min(max(read_day("at", day_text), filters.first), filters.last)
        rest = replace(filters, first=day) if filters.sort == "start" else replace(filters, last=day)
        return (figures.count(filters) - figures.count(rest)) // PAGE_ROWS + 1
    return read_page_number(query.get("page") or "1")


def build_people(kind: str) -> Callable[[Figures, FilterOptions, Mapping[str, str]], dict[str, Any]]:
    """Return the function that builds the page of all `extensions` or all `users`."""

    def build(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
        filters = read_filters(query, options)
        rows = figures.list_extensions(filters) if kind == "extensions" else figures.list_users(filters)
        return {
            **_describe_filters(figures, options, filters, f"/{kind}"),
            "kind": kind,
            "other": "users" if kind == "extensions" else "extensions",
            "rows": rows,
        }

    return build


def build_call_coverage(figures: Figures, options: FilterOptions, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the page of calls."""
    filters = read_filters(query, options)
    return {
        **_describe_filters(figures, options, filters, "/coverage", NAMES_OF_CALLS),
        **read_call_coverage(figures, filters),
        "unused": [label for name, label in NAMES.items() if name in filters.active - NAMES_OF_CALLS.keys()],
    }


def build_search(
    figures: Figures, options: FilterOptions, search: Search, sort: str, page: int
) -> dict[str, Any]:
    """Return the values of a page of what was found.

    Raises:
        InvalidFilter: There is no such order.
    """
    if sort not in SORT_LABELS:
        raise InvalidFilter("The list cannot be sorted like this.")
    offset = (page - 1) * PAGE_ROWS
    rows, found = search_recordings(figures, search, sort, PAGE_ROWS, offset)
    return {
        "zone": figures.zone.key,
        "text": search.text,
        "many_accounts": len(options.accounts) > 1,
        "rows": rows,
        "found": found,
        "has_more": found == MOST_FOUND,
        "page": page,
        "first_row": offset + 1 if rows else 0,
        "last_row": offset + len(rows),
        "sort": sort,
        "sorts": SORT_LABELS,
    }


def build_recording(figures: Figures, details: Details, plays: list[Play]) -> dict[str, Any]:
    """Return the values of the page of one recording."""
    local = [replace(play, played_at=play.played_at.astimezone(figures.zone)) for play in plays]
    return {"zone": figures.zone.key, "recording": details, "plays": local}


def _describe_filters(
    figures: Figures,
    options: FilterOptions,
    filters: PageFilters,
    path: str,
    names: Mapping[str, str] = NAMES,
) -> dict[str, Any]:
    """Return the values of the bar of filters; `names` are those that the page has."""
    choices: dict[str, list[tuple[Any, str]]] = {
        "account": [(account, account) for account in options.accounts],
        "direction": [
            (name, charts.format_direction(name)) for name in charts.sort_directions(options.directions)
        ],
        "extension": [
            (number, f"{number} {name}" if name else number) for number, name in options.extensions
        ],
        "type": list(charts.TYPE_LABELS.items()),
        "archived": list(ARCHIVED_LABELS.items()),
        "weekday": list(enumerate(charts.WEEKDAYS, 1)),
        "hour": [(hour, f"{hour:02}:00 to {hour:02}:59") for hour in range(24)],
        "length": list(options.buckets),
    }
    return {
        "zone": figures.zone.key,
        "latest": options.latest,
        "end": options.end,
        "filters": filters,
        "path": path,
        "carried": parse_qsl(filters.write_query()),
        "links": True,
        "periods": [
            (name, text, resolve_period(name, options) == (filters.first, filters.last))
            for name, text in PERIODS.items()
        ],
        "chips": [
            (
                f"{label}: {dict(choices[name])[getattr(filters, name)]}",
                filters.write_address(path, **{name: None}),
            )
            for name, label in names.items()
            if name in filters.active
        ],
        "cleared": filters.write_address(path, **dict.fromkeys(filters.active)),
        "choices": choices,
        "names": names,
        "many_accounts": len(options.accounts) > 1,
    }


def _describe_totals(totals: Totals, before: Totals | None) -> list[tuple[str, str, str, str]]:
    """Return key, name, value and note of each card."""

    def compare(name: str) -> str:
        if before is None:
            return ""
        behind = before.known_lengths if name in ("median", "p90") else before.recordings
        return charts.format_change(getattr(totals, name), getattr(before, name), behind)

    hours = f"{totals.seconds / 3600:,.1f}"
    return [
        ("recordings", "Recordings", f"{totals.recordings:,}", compare("recordings")),
        ("hours", "Hours recorded", hours, compare("seconds")),
        ("median", "Median length", charts.format_duration(totals.median), compare("median")),
        ("p90", "90th percentile", charts.format_duration(totals.p90), compare("p90")),
    ]


def _describe_health(
    options: FilterOptions,
    filters: PageFilters,
    totals: Totals,
    at_risk: int,
    unproven: int,
    unknown: int,
) -> list[tuple[str, str, str, bool]]:
    """Return key, text, address (if any) and whether it needs attention, of each part of the strip."""
    complete = (
        f"Complete to {charts.format_day(options.proven)}" if options.proven else "Nothing proven complete"
    )
    if options.behind:
        complete += f", but for {charts.format_count(options.behind, 'list')}"
    not_archived = filters.write_address("/recordings", archived="no")
    share = f"{charts.format_share(totals.archived, totals.recordings)} archived"
    risk = filters.write_address("/recordings", archived="failed")
    unproven_text = f"{charts.format_count(unproven, 'day')} not proven" if unproven else "every day proven"
    if unknown:
        unproven_text += f", {charts.format_count(unknown, 'list')} without a proof"
    return [
        ("complete", complete, "", options.proven is None or options.behind > 0),
        ("proven", unproven_text, "#proof", unproven + unknown > 0),
        ("archived", share, not_archived if totals.archived < totals.recordings else "", False),
        ("risk", f"{at_risk:,} at risk", risk if at_risk else "", bool(at_risk)),
    ]


def _describe_stale(fresh: Freshness | None) -> str:
    """Return what the figures lack, in a sentence; empty where they are up to date."""
    if fresh is None:
        return "These figures were built by an older version, which did not record when."
    return "These figures lack what was loaded since they were built." if fresh.is_stale else ""


def _describe_freshness(fresh: Freshness | None, zone: ZoneInfo) -> tuple[str, str, str, bool]:
    """Return the part of the health strip that says how new the figures are."""
    if fresh is None:
        return "fresh", "Figures of an unknown time", "#stale", True
    moment = (fresh.loaded_at or fresh.built_at).astimezone(zone)
    text = f"Figures as of {moment:%H:%M}, {charts.format_day(moment)}"
    if fresh.newer_recordings:
        newer = charts.format_count(fresh.newer_recordings, "newer recording")
        text += f"; {newer} {'is' if fresh.newer_recordings == 1 else 'are'} loaded"
    elif fresh.is_stale:
        text += "; something newer is loaded"
    return "fresh", text, "#stale" if fresh.is_stale else "", fresh.is_stale


def _find_proven(coverage: list[ListCoverage]) -> frozenset[date]:
    """Return the days that are proven for each list that has days in the period; others are counted apart."""
    proven = [each.proven_days for each in coverage if each.has_days]
    return frozenset.intersection(*proven) if proven else frozenset()


def _describe_gaps(coverage: ListCoverage, filters: PageFilters) -> str:
    """Return the runs of days that are not proven complete, the last `MOST_GAPS` of them written out."""
    days = charts.list_days(filters.first, filters.last)
    gaps = charts.group_days(day for day in days if day not in coverage.proven_days)
    earlier = (
        [f"{charts.format_count(len(gaps) - MOST_GAPS, 'earlier gap')}"] if len(gaps) > MOST_GAPS else []
    )
    return "; ".join([*earlier, *(charts.format_days(*gap) for gap in gaps[-MOST_GAPS:])])


def _format_fact(value: Any) -> str:
    """Return a value of a loaded row for people."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return charts.format_local(value) if isinstance(value, datetime) else str(value)
