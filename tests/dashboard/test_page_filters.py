"""Filters are read from a URL's query and written back to it."""

from __future__ import annotations

from datetime import date
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.dashboard.filters import (
    PERIODS,
    FilterOptions,
    InvalidFilter,
    PageFilters,
    choose_last_day,
    format_day_start,
    is_canonical,
    read_filters,
    resolve_period,
)

FIRST, PROVEN, LAST = date(2025, 1, 1), date(2025, 6, 28), date(2025, 6, 30)
OPTIONS = FilterOptions(
    FIRST,
    LAST,
    PROVEN,
    accounts=("549825",),
    directions=("INTRA_PBX", "a & b=c"),
    extensions=(("1016", None), ("é%2F", "Emil")),
    buckets=((10, "unknown"),),
)

page_filters = st.builds(
    PageFilters,
    first=st.dates(date(2000, 1, 1), date(2020, 1, 1)),
    last=st.dates(date(2020, 1, 1), date(2100, 1, 1)),
    account=st.sampled_from([None, "549825"]),
    direction=st.sampled_from([None, "INTRA_PBX", "a & b=c"]),
    extension=st.sampled_from([None, "1016", "é%2F"]),
    type=st.sampled_from([None, "company"]),
    weekday=st.sampled_from([None, 1, 7]),
    hour=st.sampled_from([None, 0, 23]),
    length=st.sampled_from([None, 10]),
    archived=st.sampled_from([None, "yes", "no", "failed"]),
    sort=st.sampled_from(["-start", "length", "-size"]),
)


@given(page_filters)
def test_filters_survive_a_round_trip_through_a_query(filters: PageFilters) -> None:
    assert read_filters(dict(parse_qsl(filters.write_query())), OPTIONS) == filters


@given(page_filters)
def test_previous_period_has_as_many_days_on_the_same_weekdays_and_ends_before(filters: PageFilters) -> None:
    before = filters.previous_period()
    assert before.days == filters.days
    assert before.weekdays == filters.weekdays
    assert 1 <= (filters.first - before.last).days <= 7
    assert before.active == filters.active


def test_a_single_day_is_compared_with_the_same_weekday() -> None:
    assert PageFilters(LAST, LAST).previous_period().first == date(2025, 6, 23)


@given(page_filters)
def test_weekdays_of_a_period_are_counted(filters: PageFilters) -> None:
    days = [
        date.fromordinal(filters.first.toordinal() + n).isoweekday() for n in range(min(filters.days, 60))
    ]
    short = PageFilters(filters.first, date.fromordinal(filters.first.toordinal() + len(days) - 1))
    assert short.weekdays == {number: days.count(number) for number in range(1, 8)}


def test_periods_are_whole_weeks_and_end_with_the_last_proven_day() -> None:
    filters = read_filters({"from": " ", "direction": ""}, OPTIONS)
    assert filters == PageFilters(date(2025, 6, 1), PROVEN, period="28")
    assert all(int(name) % 7 == 0 for name in PERIODS if name != "all")
    assert resolve_period("all", OPTIONS) == (FIRST, LAST)
    assert read_filters({"to": "2025-02-01"}, OPTIONS).first == FIRST
    assert resolve_period("7", FilterOptions(FIRST, LAST))[1] == LAST  # nothing is proven


def test_last_proven_day_is_that_of_all_lists_that_are_still_read() -> None:
    assert choose_last_day([date(2025, 6, 28), date(2025, 6, 27), date(2024, 1, 1)]) == date(2025, 6, 27)
    assert choose_last_day([]) is None


def test_a_named_period_and_defaults_stay_out_of_addresses() -> None:
    filters = read_filters({}, OPTIONS)
    assert filters.write_address("/recordings") == "/recordings"
    assert filters.write_address("/", days="91", direction="INBOUND") == "/?direction=INBOUND&days=91"
    assert read_filters({"days": "91"}, OPTIONS).write_query(page=1) == "days=91"
    assert [is_canonical(query) for query in ([("days", "7")], [("days", "")], [("x", "1")])] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "query",
    [
        *({"account": "1"}, {"direction": "INBOUND"}, {"extension": "1017"}, {"type": "other"}),
        *({"archived": "maybe"}, {"length": "3"}, {"sort": "name"}, {"days": "30"}),
    ],
)
def test_unknown_values_are_all_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidFilter):
        read_filters(query, OPTIONS)


def test_phone_number_is_refused_as_an_extension() -> None:
    with pytest.raises(InvalidFilter, match="more than six digits"):
        read_filters({"extension": "+12125550142"}, OPTIONS)


def test_day_starts_at_local_midnight_the_first_one_if_there_are_two() -> None:
    york, havana = ZoneInfo("America/New_York"), ZoneInfo("America/Havana")
    assert format_day_start(date(2025, 3, 9), york) == "2025-03-09 05:00:00+00:00"
    assert format_day_start(date(2025, 3, 10), york) == "2025-03-10 04:00:00+00:00"
    assert (
        format_day_start(date(2025, 11, 2), havana) == "2025-11-02 04:00:00+00:00"
    )  # its first midnight of two
