"""Shapes and words of the dashboard."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.dashboard.charts import (
    HEAT_LEVELS,
    busiest,
    choose_step,
    each_step,
    heat,
    name_spans,
    round_up,
    say_change,
    say_duration,
    say_share,
    stack,
)

days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(days, st.integers(0, 3000))
def test_steps_cover_each_day_once_and_are_few_enough_to_see(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    step = choose_step(first, last)
    steps = list(each_step(first, last, step))
    assert len(steps) <= 107
    covered = [begin + timedelta(days=n) for _, begin, end in steps for n in range((end - begin).days + 1)]
    assert covered == [first + timedelta(days=n) for n in range(length + 1)]
    for counted, begin, end in steps:
        assert counted <= begin <= end
        assert {"day": counted == begin, "week": counted.weekday() == 0, "month": counted.day == 1}[step]


def test_columns_stand_on_the_ground_and_are_as_high_as_their_numbers() -> None:
    first, last = date(2025, 3, 1), date(2025, 3, 3)
    rows = [(first, "OUTBOUND", 30), (first, "INBOUND", 50), (last, "CONFERENCE", 5)]
    columns, height = stack(each_step(first, last, "day"), rows)
    assert height == 80
    assert [column.recordings for column in columns] == [80, 0, 5]
    assert [part.name for part in columns[0].parts] == ["Inbound", "Outbound", "Conference"]
    inbound, outbound, other = columns[0].parts
    assert (inbound.top, inbound.height, outbound.top, other.height) == (37.5, 62.5, 0, 0)
    assert stack(each_step(first, last, "day"), [])[1] == 1


@given(st.integers(1, 10**7))
def test_the_scale_reaches_over_the_highest_column_and_not_far(number: int) -> None:
    assert number <= round_up(number) <= 2 * number
    assert number <= 1 or round_up(number) % 2 == 0


def test_the_busiest_hour_is_the_warmest_and_one_call_is_not_cold() -> None:
    hours = {(1, 9): 1000, (5, 23): 1}
    rows = heat(hours)
    assert (rows[9][0], rows[23][4], rows[0][0]) == ((1000, HEAT_LEVELS), (1, 1), (0, 0))
    assert busiest(hours) == (1, 9)
    assert busiest({}) is None


def test_spans_of_days_are_named_by_their_ends() -> None:
    day = date(2025, 2, 27)
    spans = name_spans([day, day + timedelta(1), day + timedelta(2), day + timedelta(5)])
    assert spans == [(day, date(2025, 3, 1)), (date(2025, 3, 4), date(2025, 3, 4))]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7325, "2 h 02 min"),
    ],
)
def test_lengths_are_told_in_words(seconds: float | None, words: str) -> None:
    assert say_duration(seconds) == words


def test_changes_and_shares_do_not_pretend() -> None:
    assert [say_change(110, 100), say_change(90, 100), say_change(100, 100)] == [
        "+10.0 %",
        "−10.0 %",
        "unchanged",
    ]
    assert [say_change(5, 0), say_change(None, 5), say_change(5, None)] == ["", "", ""]
    assert [say_share(9999, 10000), say_share(1, 10000), say_share(1, 2)] == [
        "over 99.9 %",
        "under 0.1 %",
        "50 %",
    ]
    assert [say_share(0, 0), say_share(10, 10), say_share(0, 9)] == ["–", "100 %", "0 %"]
