"""Every figure, with every filter, is what plain Python counts, in DuckDB and in Postgres."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from model_facts import BUCKETS, MODELS, work_out
from model_tables import Credentials, write_models_duckdb, write_models_postgres
from raw_tables import POSTGRES, invent, own_dataset

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import PageFilters
from vbc_source.dashboard.queries import COLUMNS, TOP

ZONE = ZoneInfo("America/New_York")
NAMES = MODELS["recordings"].split(", ")
FIRST, LAST = date(2025, 3, 5), date(2025, 11, 5)

Row = dict[str, Any]


@contextmanager
def open_figures(kind: str, folder: Path, facts: dict[str, list[tuple[Any, ...]]]) -> Iterator[Figures]:
    with own_dataset() as dataset:
        if kind == "postgres":
            write_models_postgres(dataset, facts)
            warehouse = AnalyticsDatabase(kind, dataset, Credentials(POSTGRES))
        else:
            write_models_duckdb(folder / "vbc.duckdb", facts)
            warehouse = AnalyticsDatabase(kind, "vbc", Credentials(str(folder / "vbc.duckdb")))
        connection = warehouse.connect()
        try:
            yield Figures(connection, warehouse, ZONE)
        finally:
            connection.close()


def bucket(row: Row) -> int:
    known = row["duration_seconds"] is not None
    return sum(row["duration_seconds"] >= low for low in BUCKETS) if known else len(BUCKETS) + 1


def choose(rows: list[Row], selection: PageFilters) -> list[Row]:
    """The rows that a selection means, newest first."""

    def fits(row: Row) -> bool:
        if row["started_at"] is None:
            return False
        local = row["started_at"].astimezone(ZONE)
        wanted = {
            "account": row["account_id"],
            "direction": row["direction"],
            "type": row["recording_type"],
            "weekday": local.isoweekday(),
            "hour": local.hour,
            "length": bucket(row),
            "archived": "yes" if row["archived"] else "no",
        }
        inside = selection.first <= local.date() <= selection.last
        named = selection.extension is None or selection.extension in row["extensions"]
        return (
            inside
            and named
            and all(getattr(selection, name) in (None, value) for name, value in wanted.items())
        )

    chosen = [row for row in rows if fits(row)]
    return sorted(chosen, key=lambda row: (-row["started_at"].timestamp(), row["recording_key"]))


def selections() -> list[PageFilters]:
    """All, each filter alone, and many of them together."""
    chance = random.Random(4)
    options: dict[str, list[Any]] = {
        "account": ["549825", "549826", "no such"],
        "direction": ["INBOUND", "OUTBOUND", "UNKNOWN"],
        "extension": ["1016", "1019", "1017", "' OR 1=1 --"],
        "type": ["company", "user"],
        "weekday": [1, 7],
        "hour": [0, 1, 2, 23],
        "length": [1, 2, 9, 10],
        "archived": ["yes", "no"],
    }
    whole = PageFilters(FIRST, LAST)
    found = [
        whole,
        *(replace(whole, **{name: value}) for name, values in options.items() for value in values),
    ]
    for _ in range(12):
        first = FIRST + timedelta(days=chance.randrange(8))
        last = chance.choice([first, LAST, first + timedelta(days=3)])
        names = chance.sample(list(options), chance.randrange(4))
        found.append(PageFilters(first, last, **{name: chance.choice(options[name]) for name in names}))
    found += [PageFilters(day, day) for day in (date(2025, 3, 9), date(2025, 11, 2))]  # of 23 and of 25 hours
    return found


def percentile(rows: list[Row], share: float) -> float | None:
    values = sorted(row["duration_seconds"] for row in rows if row["duration_seconds"] is not None)
    if not values:
        return None
    place = share * (len(values) - 1)
    low = values[int(place)]
    return float(low + (place - int(place)) * (values[min(int(place) + 1, len(values) - 1)] - low))


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_figures_are_what_python_counts(own_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With overlapping extensions, tombstones, unknown lengths, no starts and both changes of the clocks."""
    monkeypatch.setattr("vbc_source.dashboard.figures.SLICE", 40)  # exports take several slices
    facts = work_out(invent(1), ZONE.key)
    used: dict[str, list[str]] = {}
    for key, number in facts["recording_extensions"]:
        used.setdefault(key, []).append(number)
    rows: list[Row] = [dict(zip(NAMES, row, strict=True)) for row in facts["recordings"]]
    rows = [{**row, "extensions": sorted(used.get(row["recording_key"], []))} for row in rows]
    names = {(account, number): name for account, number, _, name in facts["extensions"]}
    compared = 0
    with open_figures(kind, own_folder, facts) as figures:
        choices = figures.choices()
        assert choices.earliest == min(row[0] for row in facts["coverage"] if row[3])
        assert choices.directions == tuple(sorted({row["direction"] for row in rows if row["started_at"]}))
        assert figures.without_start() == sum(row["started_at"] is None for row in rows) > 0
        for selection in selections():
            chosen = choose(rows, selection)
            compared += bool(chosen)
            compare(figures, selection, chosen, names)
    assert compared > 20


def compare(
    figures: Figures, selection: PageFilters, chosen: list[Row], names: dict[tuple[str, str], str | None]
) -> None:
    lengths = [row["duration_seconds"] for row in chosen if row["duration_seconds"] is not None]
    totals = figures.totals(selection)
    assert totals.recordings == figures.count(selection) == len(chosen), selection
    assert totals.known_lengths == len(lengths)
    assert totals.seconds == pytest.approx(sum(lengths))
    assert totals.median == pytest.approx(percentile(chosen, 0.5))
    assert totals.p90 == pytest.approx(percentile(chosen, 0.9))
    assert totals.archived == sum(row["archived"] for row in chosen)
    assert figures.lengths(selection) == Counter(bucket(row) for row in chosen)
    local = [(row["started_at"].astimezone(ZONE), row["direction"]) for row in chosen]
    for step in ("day", "week", "month"):
        starts = Counter((step_of(moment.date(), step), direction) for moment, direction in local)
        times = figures.times(selection, step)
        assert {(day, direction): count for day, direction, count in times.steps} == starts
        assert times.hours == Counter((moment.isoweekday(), moment.hour) for moment, _ in local)
    numbers = Counter((row["account_id"], number) for row in chosen for number in row["extensions"])
    top = sorted(numbers, key=lambda key: (-numbers[key], key[1], key[0]))[:TOP]
    assert [(*key, names[key], numbers[key]) for key in top] == [
        tuple(row[:4]) for row in figures.top_extensions(selection)
    ]
    listed = figures.recordings(selection, 7, 3)
    assert [row["recording_id"] for row in listed] == [row["recording_id"] for row in chosen[3:10]]
    exported = [dict(zip(COLUMNS, row, strict=True)) for row in figures.every_recording(selection)]
    assert [(row["recording_id"], row["extensions"] or "") for row in exported] == [
        (row["recording_id"], " ".join(row["extensions"])) for row in chosen
    ]


def step_of(day: date, step: str) -> date:
    if step == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == "month" else day


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_coverage_is_that_of_the_model(own_folder: Path, kind: str) -> None:
    facts = work_out(invent(1), ZONE.key)
    with open_figures(kind, own_folder, facts) as figures:
        for selection in (
            PageFilters(FIRST, LAST),
            PageFilters(FIRST, LAST, type="user"),
            PageFilters(FIRST, FIRST),
        ):
            days = [
                row
                for row in facts["coverage"]
                if selection.first <= row[0] <= selection.last and selection.type in (None, row[2])
            ]
            for proof in figures.proofs(selection):
                own = [row for row in days if row[1:3] == (proof.account, proof.type)]
                assert (proof.recordings, proof.archived) == (
                    sum(row[3] for row in own),
                    sum(row[4] for row in own),
                )
                assert proof.proven_days == sum(row[5] is not None for row in own)
            proven = {(row[1], row[2], row[0]) for row in days if row[5] is not None}
            assert set(figures.proven_days(selection)) == proven
