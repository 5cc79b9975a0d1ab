"""The dashboard's two pages: figures and words for the templates in `pages/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vbc_source.dashboard.charts import (
    TYPES,
    WEEKDAYS,
    Column,
    busiest,
    choose_step,
    direction_name,
    each_step,
    heat,
    name_spans,
    order_directions,
    say_change,
    say_day,
    say_duration,
    say_share,
    stack,
)
from vbc_source.dashboard.figures import Choices, CoverageFigures, Figures, Row, Totals
from vbc_source.dashboard.filters import (
    PERIODS,
    PHONE_NUMBER,
    InvalidFilter,
    PageFilters,
    period,
    read_filters,
)

PAGES = Path(__file__).parent / "templates"
PAGE_ROWS = 50
NEWEST_ROWS = 10
MOST_GAPS = 6  # spans that are named; more are counted


def open_templates() -> Environment:
    """Make what renders the pages; everything is escaped."""
    templates = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=lambda value: f"{value:,.0f}" if value == int(value) else f"{value:,}",
        hours=lambda value: f"{value:,.1f}",
        day=say_day,
        duration=say_duration,
        direction=direction_name,
        type=lambda value: TYPES.get(value, value),
    )
    return templates


def show_figures(figures: Figures, asked: Mapping[str, str], zone: str) -> dict[str, Any] | None:
    """Say what the page of figures shows; None where there are no recordings at all.

    Raises:
        BadChoice: the address asks for what cannot be chosen.
    """
    choices = figures.choices()
    if choices is None:
        return None
    chosen = read_filters(asked, choices.earliest, choices.latest)
    totals, before = figures.totals(chosen), _before(figures, chosen)
    step = choose_step(chosen.first, chosen.last)
    times, counted = figures.times(chosen, step), figures.lengths(chosen)
    columns, height = stack(each_step(chosen.first, chosen.last, step), times.steps)
    top = figures.top_extensions(chosen)
    proven = figures.proven_days(chosen)
    proofs = figures.proofs(chosen)
    return {
        **_tell_choices(choices, chosen, zone),
        "recordings": totals.recordings,
        "totals": [*_tell_totals(totals, before), _tell_proven(proofs, proven, chosen)],
        "compared": _tell_compared(chosen, before),
        "disagree": chosen.asked() <= {"account", "type"}
        and sum(proof.recordings for proof in proofs) != totals.recordings,
        "unknown_lengths": totals.recordings - totals.known_lengths,
        "unknown_length": next((item.order for item in choices.lengths if item.shortest is None), None),
        "without_start": figures.without_start(),
        "columns": columns,
        "height": height,
        "step": step,
        "name_step": lambda column: _name_step(column, step),
        "length_words": f"Half of them last {say_duration(totals.median)} or less, nine in ten "
        f"{say_duration(totals.p90)} or less.",
        "buckets": _tell_buckets(choices, counted),
        "top": [_tell_extension(row, top[0][3], chosen) for row in top],
        "busiest": _tell_busiest(times.hours),
        "heat": heat(times.hours),
        "proofs": [_tell_proof(proof, proven, chosen) for proof in proofs],
        "not_archived": totals.recordings - totals.archived,
        "newest": figures.recordings(chosen, NEWEST_ROWS),
    }


def show_recordings(figures: Figures, asked: Mapping[str, str], zone: str) -> dict[str, Any] | None:
    """Say what a page of the list of recordings shows; None where there are no recordings at all.

    Raises:
        BadChoice: the address asks for what cannot be chosen.
    """
    choices = figures.choices()
    if choices is None:
        return None
    chosen = read_filters(asked, choices.earliest, choices.latest)
    page = asked.get("page") or "1"
    if not (page.isascii() and page.isdecimal()) or not 1 <= int(page[:9]) <= 10**7:
        raise InvalidFilter("page must be a number, from 1.")
    skipped = (int(page) - 1) * PAGE_ROWS
    rows = figures.recordings(chosen, PAGE_ROWS, skipped)
    return {
        **_tell_choices(choices, chosen, zone),
        "recordings": figures.count(chosen),
        "rows": rows,
        "page": int(page),
        "first_row": skipped + 1 if rows else 0,
        "last_row": skipped + len(rows),
    }


def _tell_choices(choices: Choices, chosen: PageFilters, zone: str) -> dict[str, Any]:
    spans = {name: period(name, choices.earliest, choices.latest) for name in PERIODS}
    named = ((number, f"{number} {name}" if name else number) for number, name in choices.extensions)
    return {
        "zone": zone,
        "latest": choices.latest,
        "selection": chosen,
        "periods": [(n, PERIODS[n], span == (chosen.first, chosen.last)) for n, span in spans.items()],
        "narrow": bool(chosen.asked() & {"weekday", "hour", "length", "archived"}),
        "accounts": [(account, account) for account in choices.accounts],
        "many_accounts": len(choices.accounts) > 1,
        "directions": [(name, direction_name(name)) for name in order_directions(choices.directions)],
        "extensions": list(named),
        "types": list(TYPES.items()),
        "weekdays": list(enumerate(WEEKDAYS, 1)),
        "hours_of_day": [(hour, f"{hour:02}:00 to {hour:02}:59") for hour in range(24)],
        "lengths": [(length.order, length.name) for length in choices.lengths],
    }


def _before(figures: Figures, chosen: PageFilters) -> Totals | None:
    """Figures of the period before, if it was read from its beginning."""
    before = chosen.before()
    first = figures.first_read(chosen)
    return figures.totals(before) if first is not None and first <= before.first else None


def _tell_totals(totals: Totals, before: Totals | None) -> list[dict[str, str]]:
    def note(name: str) -> str:
        change = say_change(getattr(totals, name), getattr(before, name)) if before else ""
        return change or "no comparison"

    share = say_share(totals.archived, totals.recordings)
    shown = [
        ("recordings", "Recordings", f"{totals.recordings:,}", note("recordings")),
        ("hours", "Hours recorded", f"{totals.seconds / 3600:,.1f}", note("seconds")),
        ("median", "Median length", say_duration(totals.median), note("median")),
        ("p90", "90th percentile", say_duration(totals.p90), note("p90")),
        ("archived", "Archived", f"{totals.archived:,}", f"{share} of them"),
    ]
    return [dict(zip(("key", "name", "value", "note"), item, strict=True)) for item in shown]


def _tell_proven(
    proofs: Iterable[CoverageFigures], proven_days: Iterable[Row], chosen: PageFilters
) -> dict[str, str]:
    """Count the days that are proven in every list that there is."""
    lists: dict[tuple[Any, ...], set[date]] = {(proof.account, proof.type): set() for proof in proofs}
    for *place, day in proven_days:
        lists[tuple(place)].add(day)
    every = set.intersection(*lists.values()) if lists else set()
    note = f"days of {chosen.days:,}, in every account and type"
    return {"key": "proven", "name": "Proven complete", "value": f"{len(every):,}", "note": note}


def _tell_compared(chosen: PageFilters, before: Totals | None) -> str:
    span = chosen.before()
    days = f"{say_day(span.first)} to {say_day(span.last)}"
    if before is None:
        return f"Nothing to compare with: the period before, {days}, was not read in whole."
    return f"Compared with the period before, {days}: {before.recordings:,} recordings."


def _tell_buckets(choices: Choices, counted: Mapping[int, int]) -> list[tuple[Any, int, float]]:
    most = max(counted.values(), default=1)
    numbers = ((length, counted.get(length.order, 0)) for length in choices.lengths)
    return [(length, number, round(100 * number / most, 2)) for length, number in numbers]


def _tell_extension(row: Sequence[Any], most: int, chosen: PageFilters) -> dict[str, Any]:
    account, extension, name, recordings, seconds = row
    private = PHONE_NUMBER.fullmatch(extension) is not None
    return {
        "account": account,
        "extension": extension,
        "name": name,
        "recordings": recordings,
        "seconds": float(seconds or 0),
        "share": round(100 * recordings / most, 2),
        "query": None if private else chosen.link(extension=extension, account=account),
    }


def _tell_busiest(hours: Mapping[tuple[int, int], int]) -> str:
    place = busiest(hours)
    if place is None:
        return ""
    weekday, hour = place
    return f"Most on {WEEKDAYS[weekday - 1]}s at {hour:02}:00: {hours[place]:,}."


def _tell_proof(proof: CoverageFigures, proven_days: Iterable[Row], chosen: PageFilters) -> dict[str, Any]:
    proven = {day for *place, day in proven_days if place == [proof.account, proof.type]}
    days = [date.fromordinal(n) for n in range(chosen.first.toordinal(), chosen.last.toordinal() + 1)]
    gaps = name_spans(day for day in days if day not in proven)
    return {
        "title": f"{TYPES.get(proof.type, proof.type)} recordings of account {proof.account}",
        "archived": _tell_part(proof.archived, proof.recordings),
        "archived_share": round(100 * proof.archived / max(proof.recordings, 1), 2),
        "proven": _tell_part(len(proven), len(days), "days "),
        "proven_share": round(100 * len(proven) / len(days), 2),
        "gaps": _tell_gaps(gaps),
    }


def _tell_part(part: int, whole: int, unit: str = "") -> str:
    return f"{part:,} of {whole:,} {unit}({say_share(part, whole)})"


def _tell_gaps(gaps: Sequence[tuple[date, date]]) -> str:
    named = [say_day(a) if a == b else f"{say_day(a)} to {say_day(b)}" for a, b in gaps[-MOST_GAPS:]]
    more = [f"{len(gaps) - MOST_GAPS:,} earlier span(s)"] if len(gaps) > MOST_GAPS else []
    return "; ".join([*more, *named])


def _name_step(column: Column, step: str) -> str:
    if step == "day":
        return f"{column.first:%a} {say_day(column.first)}"
    if step == "month":
        return f"{column.first:%B %Y}"
    return f"{say_day(column.first)} to {say_day(column.last)}"


def spell_row(row: Iterable[Any]) -> list[str]:
    """Write a row for CSV; what a spreadsheet would take for a formula is marked as text."""
    return [_spell(value) for value in row]


def _spell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    harmless = value.removeprefix("+").isdigit()
    return f"'{value}" if value[:1] in tuple("=+-@\t\r") and value and not harmless else value
