"""Every figure with every filter equals a count in plain Python, in DuckDB and in Postgres."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from expected_models import BUCKETS, MODELS, expect_invented
from model_tables import Credentials, Facts, write_models_duckdb, write_models_postgres
from raw_tables import POSTGRES, own_dataset

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import PageFilters
from vbc_source.dashboard.pages import build_figures
from vbc_source.dashboard.statements import LIST_COLUMNS, TOP

ZONE = ZoneInfo("America/New_York")
NAMES = MODELS["recordings"].split(", ")
KINDS = ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)]
FIRST, LAST = date(2025, 3, 5), date(2025, 11, 5)

Row = dict[str, Any]


@contextmanager
def open_figures(kind: str, folder: Path, facts: Facts) -> Iterator[Figures]:
    with own_dataset() if kind == "postgres" else nullcontext("vbc_data") as dataset:
        if kind == "postgres":
            write_models_postgres(dataset, facts)
            database = AnalyticsDatabase(kind, dataset, Credentials(POSTGRES))
        else:
            write_models_duckdb(folder / "vbc.duckdb", facts)
            database = AnalyticsDatabase(kind, dataset, Credentials(str(folder / "vbc.duckdb")))
        connection = database.connect()
        try:
            yield Figures(connection, database, ZONE)
        finally:
            connection.close()


def bucket(row: Row) -> int:
    known = row["duration_seconds"] is not None
    return sum(row["duration_seconds"] >= low for low in BUCKETS) if known else len(BUCKETS) + 1


def read_rows(facts: Facts) -> list[Row]:
    """Return the recordings, each with its extensions."""
    used: dict[str, list[str]] = {}
    for key, number, *_ in facts["recording_extensions"]:
        used.setdefault(key, []).append(number)
    rows: list[Row] = [dict(zip(NAMES, row, strict=True)) for row in facts["recordings"]]
    return [{**row, "extensions": sorted(used.get(row["recording_key"], []))} for row in rows]


def choose(rows: list[Row], filters: PageFilters, zone: ZoneInfo) -> list[Row]:
    """Return the rows that match the filters, newest first."""

    def fits(row: Row) -> bool:
        if row["started_at"] is None:
            return False
        local = row["started_at"].astimezone(zone)
        values = {
            "account": row["account_id"],
            "direction": row["direction"],
            "type": row["recording_type"],
            "weekday": local.isoweekday(),
            "hour": local.hour,
            "length": bucket(row),
            "archived": "yes" if row["archived"] else "no",
        }
        inside = filters.first <= local.date() <= filters.last
        named = filters.extension is None or filters.extension in row["extensions"]
        return (
            inside
            and named
            and all(getattr(filters, name) in (None, value) for name, value in values.items())
        )

    chosen = [row for row in rows if fits(row)]
    return sorted(chosen, key=lambda row: (-row["started_at"].timestamp(), row["recording_key"]))


def combine_filters() -> list[PageFilters]:
    """Return no filter, each filter alone, and combinations."""
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


@pytest.mark.parametrize(
    ("kind", "step"),
    [  # every third combination of filters every day, all of them in the slow tests
        ("duckdb", 3),
        pytest.param("duckdb", 1, marks=pytest.mark.slow),
        pytest.param("postgres", 1, marks=pytest.mark.destinations),
    ],
)
def test_figures_equal_counts_in_plain_python(
    own_folder: Path, kind: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With overlapping extensions, tombstones, unknown lengths, missing starts and both clock changes."""
    monkeypatch.setattr("vbc_source.dashboard.figures.EXPORT_ROWS", 150)  # an export takes several queries
    facts = expect_invented(1, ZONE.key)
    rows = read_rows(facts)
    names = {(account, number): name for account, number, _, name, *_ in facts["extensions"]}
    users = {(account, number): user for account, number, user, *_ in facts["extensions"]}
    compared = 0
    with open_figures(kind, own_folder, facts) as figures:
        options = figures.read_options(date(2026, 1, 1))
        assert options.earliest == min(row[0] for row in facts["coverage"] if row[3])
        assert options.directions == tuple(sorted({row["direction"] for row in rows if row["started_at"]}))
        assert figures.count_without_start() == sum(row["started_at"] is None for row in rows) > 0
        for filters in combine_filters()[::step]:
            chosen = choose(rows, filters, ZONE)
            compared += bool(chosen)
            compare(figures, filters, chosen, names, users)
    assert compared > 20 // step


def compare(
    figures: Figures,
    filters: PageFilters,
    chosen: list[Row],
    names: dict[tuple[str, str], str | None],
    users: dict[tuple[str, str], str | None],
) -> None:
    lengths = [row["duration_seconds"] for row in chosen if row["duration_seconds"] is not None]
    totals = figures.total(filters)
    assert totals.recordings == figures.count(filters) == len(chosen), filters
    assert totals.known_lengths == len(lengths)
    assert totals.seconds == pytest.approx(sum(lengths))
    assert totals.median == pytest.approx(percentile(chosen, 0.5))
    assert totals.p90 == pytest.approx(percentile(chosen, 0.9))
    assert totals.archived == sum(row["archived"] for row in chosen)
    assert totals.on_demand == sum(row["recording_type"] == "user" for row in chosen)
    assert figures.count_by_length(filters) == Counter(bucket(row) for row in chosen)
    local = [(row["started_at"].astimezone(figures.zone), row["direction"]) for row in chosen]
    counted, hours = figures.count_by_time(filters)
    assert {(day, direction): count for day, direction, count in counted} == Counter(
        (moment.date(), direction) for moment, direction in local
    )
    assert hours == Counter((moment.isoweekday(), moment.hour) for moment, _ in local)
    numbers = Counter((row["account_id"], number) for row in chosen for number in row["extensions"])
    top = sorted(numbers, key=lambda key: (-numbers[key], key[1], key[0]))[:TOP]
    assert [(*key, names[key], numbers[key]) for key in top] == [
        tuple(row[:4]) for row in figures.list_top_extensions(filters)
    ]
    every = {(each.account_id, each.id): each for each in figures.list_extensions(filters)}
    assert {key: each.recordings for key, each in every.items()} == numbers
    for (account, number), each in every.items():
        own = [row for row in chosen if row["account_id"] == account and number in row["extensions"]]
        assert each.median == pytest.approx(percentile(own, 0.5))
        assert each.p90 == pytest.approx(percentile(own, 0.9))
    found_users = {(each.account_id, each.id): each.recordings for each in figures.list_users(filters)}
    assert found_users == count_users(chosen, users)
    by_length = [row["recording_id"] for row in figures.list_recordings(replace(filters, sort="-length"), 7)]
    assert by_length == [row["recording_id"] for row in sorted(chosen, key=longest_first)[:7]]
    listed = figures.list_recordings(filters, 7, 3)
    assert [row["recording_id"] for row in listed] == [row["recording_id"] for row in chosen[3:10]]
    exported = [dict(zip(LIST_COLUMNS, row, strict=True)) for row in figures.iterate_recordings(filters)]
    assert [(row["recording_id"], row["start_local"], row["extensions"] or "") for row in exported] == [
        (
            row["recording_id"],
            row["started_at"].astimezone(figures.zone).replace(tzinfo=None),
            " ".join(row["extensions"]),
        )
        for row in chosen
    ]


def longest_first(row: Row) -> tuple[float, str]:
    known = row["duration_seconds"] is not None
    return (-row["duration_seconds"] if known else 1, row["recording_key"])


def count_users(chosen: list[Row], users: dict[tuple[str, str], str | None]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for row in chosen:
        involved = {users.get((row["account_id"], number)) for number in row["extensions"]} | {row["user_id"]}
        counts.update((row["account_id"], user) for user in involved if user)
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_equals_the_model(own_folder: Path, kind: str) -> None:
    facts = expect_invented(1, ZONE.key)
    with open_figures(kind, own_folder, facts) as figures:
        for filters in (
            PageFilters(FIRST, LAST),
            PageFilters(FIRST, LAST, type="user"),
            PageFilters(FIRST, FIRST),
        ):
            days = [
                row
                for row in facts["coverage"]
                if filters.first <= row[0] <= filters.last and filters.type in (None, row[2])
            ]
            coverage = figures.read_coverage(filters)
            lists = {row[1:3] for row in facts["coverage"] if filters.type in (None, row[2])}
            assert {(each.account, each.type) for each in coverage} == lists
            for each in coverage:
                own = [row for row in days if row[1:3] == (each.account, each.type)]
                assert each.has_days == bool(own)
                assert each.recordings == sum(row[3] for row in own)
                assert each.archived == sum(row[4] for row in own)
                assert each.proven_days == {row[0] for row in own if row[5] is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_was_not_read_does_not_pass_as_proven(own_folder: Path, kind: str) -> None:
    facts = dict(expect_invented(1, ZONE.key))
    read_at = next(row[5] for row in facts["coverage"] if row[5] is not None)
    first, last = date(2025, 10, 20), date(2025, 11, 2)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    facts["coverage"] = [
        *((day, "1", "company", 0, 0, read_at) for day in days),
        *((day - timedelta(days=60), "2", "company", 1, 0, read_at) for day in days),
        *((day, "3", "user", 0, 0, None) for day in days[:1]),
    ]
    with open_figures(kind, own_folder, facts) as figures:
        options = figures.read_options(last)
        assert options is not None
        assert (options.proven, options.behind) == (last, 2)
        health = {
            tuple(filters.active): dict(
                item[:2] for item in build_figures(figures, options, filters)["health"]
            )
            for filters in (PageFilters(days[1], last), PageFilters(days[1], last, account="1"))
        }
    assert health[()]["complete"] == "Complete to 2 Nov 2025, but for 2 lists"
    assert health[()]["proven"] == "every day proven, 2 lists without a proof"
    assert health[("account",)]["proven"] == "every day proven"
