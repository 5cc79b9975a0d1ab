"""Where clocks change at midnight, models, figures, chart, lists and export agree with plain Python."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from expected_models import expect_models
from model_tables import Credentials
from raw_tables import COLUMNS, COMPLETE_LOAD, MAIN, POSTGRES, USERS, Tables, add_people, add_recording, at
from test_figures import KINDS, choose, compare, read_rows
from test_models import open_models

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.filters import PageFilters
from vbc_source.dashboard.pages import build_figures

CLOCK_CHANGES = {  # UTC; forwards, then back
    "America/Havana": ("2025-03-09T05:00:00", "2025-11-02T05:00:00"),  # 01:00 becomes 00:00: two midnights
    "Atlantic/Azores": ("2025-03-30T01:00:00", "2025-10-26T01:00:00"),
    "America/Asuncion": ("2023-10-01T04:00:00", "2024-03-24T03:00:00"),  # 24:00 becomes 23:00
    "Asia/Beirut": ("2025-03-29T22:00:00", "2025-10-25T21:00:00"),
    "Africa/Cairo": ("2025-04-24T22:00:00", "2025-10-30T21:00:00"),
    "America/Sao_Paulo": ("2018-11-04T03:00:00", "2018-02-18T02:00:00"),
    "America/Nuuk": ("2024-03-31T01:00:00", "2024-10-27T01:00:00"),  # 23:00 becomes 24:00
}
AROUND = 100  # minutes


def invent_minutes(zone: str) -> Tables:
    """Return a recording in each minute around the clock changes of a zone, on proven days."""
    chance = random.Random(zone)
    tables: Tables = {name: [] for name in COLUMNS}
    tables["_dlt_loads"] = [{"load_id": COMPLETE_LOAD, "status": 0}]
    add_people(tables)
    for turn in map(at, CLOCK_CHANGES[zone]):
        for minute in range(-AROUND, AROUND):
            start = turn + timedelta(minutes=minute)
            id_, user = int(start.timestamp()), chance.choice([None, *USERS])
            add_recording(tables, chance, MAIN, user, id_, start=start)
            key = {"account_id": MAIN, "recording_type": "user" if user else "company", "user_id": user or ""}
            if minute % 5 == 0:
                tables["recording_audio"].append({**key, "recording_id": id_, "status": "stored"})
        for user in (None, *USERS):
            place = {"account_id": MAIN, "resource": f"{'user' if user else 'company'}_recordings"}
            place |= {"user_id": user, "filters": None, "_dlt_load_id": COMPLETE_LOAD}
            for hour in range(-60, 60, 5):
                start = turn + timedelta(hours=hour)
                times = {"window_start": start, "window_end": start + timedelta(hours=5)}
                tables["scan_windows"].append({**place, **times, "scanned_at": turn + timedelta(days=30)})
    return tables


def choose_periods(zone: str) -> list[PageFilters]:
    """Return each day around the clock changes, with and without filters, and all days."""
    turns = [at(text).astimezone(ZoneInfo(zone)).date() for text in CLOCK_CHANGES[zone]]
    days = [turn + timedelta(days=shift) for turn in turns for shift in (-1, 0, 1)]
    filters: list[dict[str, Any]] = [{"direction": "INBOUND"}, {"extension": "1016"}, {"archived": "yes"}]
    filters += [{"hour": 23}, {"hour": 0}]
    chosen = [replace(PageFilters(day, day), **filters[n % len(filters)]) for n, day in enumerate(days * 2)]
    return [PageFilters(min(days), max(days)), *(PageFilters(day, day) for day in days), *chosen]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", CLOCK_CHANGES)
def test_days_agree_in_each_minute_around_a_clock_change(own_folder: Path, zone: str, kind: str) -> None:
    tables = invent_minutes(zone)
    facts = expect_models(tables, zone)
    rows = read_rows(facts)
    names = {(account, number): name for account, number, _, name, *_ in facts["extensions"]}
    users = {(account, number): user for account, number, user, *_ in facts["extensions"]}
    with open_models(kind, own_folder) as models:
        models.write(tables)
        models.run("run", zone=zone)
        models.compare(tables, zone)
        credentials = Credentials(POSTGRES if kind == "postgres" else str(own_folder / "vbc.duckdb"))
        database = AnalyticsDatabase(kind, models.dataset, credentials)
        with closing(database.connect()) as connection:
            figures = Figures(connection, database, ZoneInfo(zone))
            options = figures.read_options(date(2026, 1, 1))
            assert options is not None
            for filters in choose_periods(zone):
                chosen = choose(rows, filters, figures.zone)
                compare(figures, filters, chosen, names, users)
                page = build_figures(figures, options, filters)
                assert page["recordings"] == len(chosen)
                assert not page["inconsistent"]
