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
    InvalidFilter,
    PageFilters,
    format_day_start,
    read_filters,
    resolve_period,
)

FIRST, LAST = date(2025, 1, 1), date(2025, 6, 30)

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
    archived=st.sampled_from([None, "yes", "no"]),
)


@given(page_filters)
def test_filters_survive_a_round_trip_through_a_query(filters: PageFilters) -> None:
    assert read_filters(dict(parse_qsl(filters.write_query())), FIRST, LAST) == filters


@given(page_filters)
def test_previous_period_has_as_many_days_and_ends_where_this_one_starts(filters: PageFilters) -> None:
    before = filters.previous_period()
    assert before.days == filters.days
    assert (filters.first - before.last).days == 1
    assert before.active == filters.active


def test_default_period_is_the_last_thirty_days_that_were_read() -> None:
    filters = read_filters({"from": " ", "direction": ""}, FIRST, LAST)
    assert filters == PageFilters(date(2025, 6, 1), LAST)
    assert {name: resolve_period(name, FIRST, LAST)[0] for name in PERIODS}["all"] == FIRST
    assert read_filters({"to": "2025-02-01"}, FIRST, LAST).first == FIRST


def test_phone_number_is_refused_as_an_extension() -> None:
    with pytest.raises(InvalidFilter, match="more than six digits"):
        read_filters({"extension": "+12125550142"}, FIRST, LAST)


def test_day_starts_at_local_midnight_the_first_one_if_there_are_two() -> None:
    york, havana = ZoneInfo("America/New_York"), ZoneInfo("America/Havana")
    assert format_day_start(date(2025, 3, 9), york) == "2025-03-09 05:00:00+00:00"
    assert format_day_start(date(2025, 3, 10), york) == "2025-03-10 04:00:00+00:00"
    assert (
        format_day_start(date(2025, 11, 2), havana) == "2025-11-02 04:00:00+00:00"
    )  # its first midnight of two
