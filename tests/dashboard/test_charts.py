"""Shapes and text of the dashboard's charts."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.dashboard.charts import (
    HEAT_LEVELS,
    build_heatmap,
    choose_step,
    describe_busiest,
    format_change,
    format_duration,
    format_share,
    group_days,
    round_up,
    split_period,
    stack_columns,
)

days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(days, st.integers(0, 3000))
def test_steps_cover_each_day_once_and_are_few_enough_for_a_chart(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    step = choose_step(first, last)
    steps = list(split_period(first, last, step))
    assert len(steps) <= 107
    covered = [begin + timedelta(days=n) for _, begin, end in steps for n in range((end - begin).days + 1)]
    assert covered == [first + timedelta(days=n) for n in range(length + 1)]
    for start, begin, end in steps:
        assert start <= begin <= end
        assert {"day": start == begin, "week": start.weekday() == 0, "month": start.day == 1}[step]


def test_segments_are_stacked_from_the_bottom_in_proportion_to_their_counts() -> None:
    first, last = date(2025, 3, 1), date(2025, 3, 3)
    rows = [(first, "OUTBOUND", 30), (first, "INBOUND", 50), (last, "CONFERENCE", 5)]
    columns, height = stack_columns(first, last, "day", rows)
    assert height == 80
    assert [column.recordings for column in columns] == [80, 0, 5]
    assert [part.name for part in columns[0].segments] == ["Inbound", "Outbound", "Conference"]
    inbound, outbound, other = columns[0].segments
    assert (inbound.top, inbound.height, outbound.top, other.height) == (37.5, 62.5, 0, 0)
    assert stack_columns(first, last, "day", [])[1] == 1


@given(st.integers(1, 10**7))
def test_scale_is_at_least_the_highest_column_and_at_most_twice_as_high(number: int) -> None:
    assert number <= round_up(number) <= 2 * number
    assert number <= 1 or round_up(number) % 2 == 0


def test_busiest_hour_has_the_highest_heat_level_and_one_call_has_the_lowest() -> None:
    hours = {(1, 9): 1000, (5, 23): 1}
    rows = build_heatmap(hours)
    assert (rows[9][0], rows[23][4], rows[0][0]) == ((1000, HEAT_LEVELS), (1, 1), (0, 0))
    assert describe_busiest(hours) == "Most on Mondays at 09:00: 1,000."
    assert describe_busiest({}) == ""


def test_consecutive_days_are_grouped_by_first_and_last() -> None:
    day = date(2025, 2, 27)
    spans = group_days([day, day + timedelta(1), day + timedelta(2), day + timedelta(5)])
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
def test_duration_is_formatted_in_the_largest_fitting_units(seconds: float | None, words: str) -> None:
    assert format_duration(seconds) == words


def test_changes_and_shares_are_not_rounded_to_all_or_nothing() -> None:
    assert [format_change(110, 100), format_change(90, 100), format_change(100, 100)] == [
        "+10.0 %",
        "−10.0 %",
        "unchanged",
    ]
    assert [format_change(5, 0), format_change(None, 5), format_change(5, None)] == ["", "", ""]
    assert [format_share(9999, 10000), format_share(1, 10000), format_share(1, 2)] == [
        "over 99.9 %",
        "under 0.1 %",
        "50 %",
    ]
    assert [format_share(0, 0), format_share(10, 10), format_share(0, 9)] == ["–", "100 %", "0 %"]
