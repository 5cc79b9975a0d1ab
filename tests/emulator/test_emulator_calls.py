"""Properties of the generated calls."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

import pytest
from emulator_client import NOON, Clock

from vbc_source.emulator import Gateway

COUNT = 8000
UNTIL = datetime.fromtimestamp(NOON, timezone.utc)


@pytest.fixture(scope="module")
def year() -> list[dict[str, Any]]:
    return Gateway(recordings=COUNT, until=UNTIL, clock=Clock(NOON + 86_400)).company.all()


def _read(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("+0000", "+00:00"))


def _share(rows: list[dict[str, Any]], test: Any) -> float:
    return sum(bool(test(row)) for row in rows) / len(rows)


def test_number_of_recordings_is_exact_and_ids_are_unique(year: list[dict[str, Any]]) -> None:
    assert len(year) == COUNT
    assert len({row["id"] for row in year}) == COUNT
    assert len({row["call_id"] for row in year}) == COUNT


def test_recordings_are_spread_over_about_the_requested_days(year: list[dict[str, Any]]) -> None:
    days = (_read(year[0]["start"]) - _read(year[-1]["start"])).days
    assert 350 < days < 380


def test_most_calls_start_in_office_hours_on_weekdays(year: list[dict[str, Any]]) -> None:
    starts = [_read(row["start"]) for row in year]
    assert sum(8 <= start.hour < 18 for start in starts) / COUNT > 0.85
    assert 0.03 < sum(start.weekday() >= 5 for start in starts) / COUNT < 0.15


def test_directions_have_the_shares_of_a_call_centre(year: list[dict[str, Any]]) -> None:
    count = Counter(row["call_direction"] for row in year)
    assert count["INBOUND"] / COUNT == pytest.approx(0.6, abs=0.03)
    assert count["OUTBOUND"] / COUNT == pytest.approx(0.3, abs=0.03)
    assert count["INTRA_PBX"] / COUNT == pytest.approx(0.1, abs=0.03)


def test_durations_are_minutes_and_rarely_hours(year: list[dict[str, Any]]) -> None:
    durations = [row["duration"] for row in year]
    assert 150_000 < median(durations) < 210_000
    assert 2 * 3_600_000 < max(durations) <= 3 * 3_600_000


def test_file_size_is_proportional_to_duration(year: list[dict[str, Any]]) -> None:
    assert all(0 <= row["file_size_in_bytes"] - 4 * row["duration"] < 2000 for row in year)


def test_end_is_start_plus_duration(year: list[dict[str, Any]]) -> None:
    for row in year[:500]:
        if row["end"]:
            assert _read(row["end"]) - _read(row["start"]) == timedelta(seconds=row["duration"] // 1000)


def test_unusual_values_occur_but_are_rare(year: list[dict[str, Any]]) -> None:
    rare = {
        "anonymous": lambda row: row["caller_id"] == "Anonymous",
        "number as text": lambda row: isinstance(row["caller_id"], str) and row["caller_id"].isdigit(),
        "no end": lambda row: row["end"] is None,
        "no extensions": lambda row: row["extensions"] is None,
        "empty extensions": lambda row: row["extensions"] == [],
        "extension beside extensions": lambda row: "extension" in row and row["extension"] is None,
        "no rules": lambda row: row["rule_ids"] is None,
    }
    for name, test in rare.items():
        assert 0 < _share(year, test) < 0.1, name
    assert 0.02 < _share(year, rare["anonymous"]) < 0.04
    assert 0.1 < _share(year, lambda row: row["cnam"] is None) < 0.3


def test_extensions_and_rules_come_from_small_sets(year: list[dict[str, Any]]) -> None:
    extensions = {number for row in year for number in row["extensions"] or []}
    assert extensions == set(range(1001, 1025))
    assert len({rule for row in year for rule in row["rule_ids"] or []}) == 5
    assert {len(row["rule_ids"] or [0]) for row in year} == {1, 2, 3}


def test_external_numbers_are_fictional(year: list[dict[str, Any]]) -> None:
    numbers = {str(row[name]) for row in year for name in ("caller_id", "dnis")} - {"Anonymous"}
    assert all(re.fullmatch(r"1\d{3}55501\d\d|10[012]\d", number) for number in numbers)


def test_some_calls_have_equal_starts(year: list[dict[str, Any]]) -> None:
    starts = Counter(row["start"] for row in year)
    assert sum(count > 1 for count in starts.values()) > 100


def test_equal_seeds_generate_equal_calls() -> None:
    first, second, other = (
        Gateway(seed=seed, recordings=300, until=UNTIL, clock=Clock()).company.all() for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_a_day_later_the_same_calls_exist_plus_new_ones() -> None:
    clock = Clock(NOON + 10 * 86_400)
    today = {row["id"]: row for row in Gateway(recordings=2000, until=UNTIL, clock=clock).company.all()}
    later = Gateway(recordings=2000, until=UNTIL + timedelta(days=1), clock=clock).company.all()
    oldest = min(row["start"] for row in later)
    again = {row["id"]: row for row in later if _read(row["start"]) <= UNTIL}
    # Both lists start in the middle of their oldest day: compare only what is newer than both starts.
    assert again.items() <= today.items()
    assert {key for key, row in today.items() if row["start"] > oldest} <= set(again)
    assert any(_read(row["start"]) > UNTIL for row in later)


def test_ids_increase_in_order_of_visibility_not_of_start() -> None:
    clock = Clock(NOON)
    gateway = Gateway(recordings=1000, days=1, until=UNTIL, clock=clock)
    seen = {row["id"] for row in gateway.company.all()}
    newest = max(seen)
    late = []
    for minute in range(0, 240, 5):
        clock.now = NOON + 60 * minute
        if len(gateway.company) == len(seen):
            continue
        new = sorted(row["id"] for row in gateway.company.all() if row["id"] not in seen)
        assert all(key > newest for key in new)
        newest = max([newest, *new])
        seen.update(new)
        late += new
    by_start = [row["id"] for row in gateway.company.all() if row["id"] in set(late)]
    assert len(late) > 5
    assert by_start != sorted(by_start, reverse=True)


def test_number_of_recordings_is_exact_with_fewer_recordings_than_days() -> None:
    assert len(Gateway(recordings=7, clock=Clock(NOON), until=UNTIL - timedelta(days=1)).company) == 7


def test_gateway_has_no_recordings_by_default() -> None:
    assert Gateway().company.all() == []
