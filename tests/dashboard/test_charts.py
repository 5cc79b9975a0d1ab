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
    draw_chart,
    format_average,
    format_bytes,
    format_change,
    format_duration,
    format_share,
    group_days,
    round_up,
    split_period,
)

WEEK = dict.fromkeys(range(1, 8), 4)

days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(days, st.integers(0, 20_000))
def test_steps_cover_each_day_once_and_are_few_enough_for_a_chart(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    step = choose_step(first, last)
    steps = list(split_period(first, last, step))
    assert len(steps) <= 121
    covered = [begin + timedelta(days=n) for begin, end, _ in steps for n in range((end - begin).days + 1)]
    assert covered == [first + timedelta(days=n) for n in range(length + 1)]
    assert all(whole for _, _, whole in steps[1:-1])
    for begin, end, whole in steps:
        after = end + timedelta(days=1)
        assert (
            whole
            == {
                "day": begin == end,
                "week": (end - begin).days == 6,
                "month": (begin.day, after.day) == (1, 1) and (after - begin).days < 32,
                "year": (begin.month, begin.day, after.month, after.day) == (1, 1, 1, 1),
            }[step]
        )
        assert step != "week" or end.weekday() == last.weekday()


def test_a_part_of_a_month_is_marked_and_in_no_line() -> None:
    first, last = date(2023, 1, 31), date(2025, 3, 2)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    chart = draw_chart(first, last, "month", [(day, "INBOUND", 1) for day in days])
    assert [column.recordings for column in chart.columns][:3] == [1, 28, 31]
    assert [place for place, column in enumerate(chart.columns) if column.partial] == [0, 26]
    assert chart.columns[0].name == "31 Jan 2023"
    (line,) = chart.lines
    assert (line.recordings, line.most) == (len(days), 31)
    points = line.points.split()
    assert (len(points), points[0].split(",")[0], points[-1].split(",")[0]) == (25, "15", "255")


def test_columns_are_in_proportion_and_directions_are_lines_of_their_own() -> None:
    first, last = date(2025, 3, 1), date(2025, 3, 3)
    rows = [(first, "OUTBOUND", 30), (first, "INBOUND", 50), (last, "CONFERENCE", 5)]
    chart = draw_chart(first, last, "day", rows, proven={first, last})
    assert (chart.height, chart.before) == (80, "")
    assert [(column.recordings, column.height) for column in chart.columns] == [(80, 100), (0, 0), (5, 6.25)]
    assert [column.weekend for column in chart.columns] == [True, True, False]
    assert [column.incomplete for column in chart.columns] == [False, True, False]
    lines = [(line.direction, line.recordings, line.most) for line in chart.lines]
    assert lines == [("INBOUND", 50, 50), ("OUTBOUND", 30, 30), ("CONFERENCE", 5, 5)]
    assert chart.lines[1].points == "5,25 15,100 25,100"
    assert draw_chart(first, last, "day", []).height == 1
    assert draw_chart(first, first, "day", [(first, "INBOUND", 1)]).lines[0].points == "0,0 10,0"


def test_the_period_before_is_a_line_over_the_same_weekdays() -> None:
    first, last = date(2025, 3, 3), date(2025, 3, 5)
    before = [(date(2025, 2, 24), "INBOUND", 40), (date(2025, 2, 26), "INBOUND", 20)]
    chart = draw_chart(first, last, "day", [(first, "INBOUND", 10)], before)
    assert [column.before for column in chart.columns] == [40, 0, 20]
    assert (chart.height, chart.before) == (40, "5,0 15,100 25,50")
    assert draw_chart(first, last, "month", [], before).before == ""  # months do not fit over each other


@given(days, st.integers(0, 20_000))
def test_ticks_are_few_and_inside_the_chart(first: date, length: int) -> None:
    last = first + timedelta(days=length)
    ticks = draw_chart(first, last, choose_step(first, last), []).ticks
    assert 1 <= len(ticks) <= 13
    assert all(0 < tick.place < 100 for tick in ticks)


def test_averages_and_sizes_are_formatted() -> None:
    assert [format_average(number) for number in (0.04, 0.25, 3, 12.6, 1234)] == [
        "<0.1",
        "0.2",
        "3",
        "13",
        "1,234",
    ]
    assert [format_bytes(size) for size in (None, 0, 999, 1400, 123_456_789)] == [
        *("unknown", "0 B", "999 B", "1.4 kB", "123 MB")
    ]


@given(st.integers(1, 10**7))
def test_scale_is_at_least_the_highest_column_and_at_most_twice_as_high(number: int) -> None:
    assert number <= round_up(number) <= 2 * number
    assert number <= 1 or round_up(number) % 2 == 0


def test_busiest_hour_has_the_highest_heat_level_and_one_call_has_the_lowest() -> None:
    hours = {(1, 9): 1000, (5, 23): 1}
    rows = build_heatmap(hours, WEEK)
    assert [
        (cell.recordings, cell.average, cell.level) for cell in (rows[9][0], rows[23][4], rows[0][0])
    ] == [
        (1000, 250, HEAT_LEVELS),
        (1, 0.25, 1),
        (0, 0, 0),
    ]
    assert describe_busiest(hours, WEEK) == "Most on Mondays at 09:00: 250 on average."
    assert describe_busiest({}, WEEK) == ""


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
    assert [format_change(now, 100, 100) for now in (110, 90, 100)] == [
        "+10.0 %",
        "−10.0 %",
        "unchanged",
    ]
    assert [format_change(5, 0, 99), format_change(None, 5, 99), format_change(5, None, 99)] == ["", "", ""]
    assert [format_change(60, 30, 30), format_change(58, 29, 29)] == ["+100.0 %", ""]
    assert [format_share(9999, 10000), format_share(1, 10000), format_share(1, 2)] == [
        "over 99.9 %",
        "under 0.1 %",
        "50 %",
    ]
    assert [format_share(0, 0), format_share(10, 10), format_share(0, 9)] == ["–", "100 %", "0 %"]
