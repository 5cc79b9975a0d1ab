"""An address says what is looked at, and is written from it again."""

from __future__ import annotations

from datetime import date
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.dashboard.filters import PERIODS, InvalidFilter, PageFilters, day_start, period, read_filters

FIRST, LAST = date(2025, 1, 1), date(2025, 6, 30)

selections = st.builds(
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


@given(selections)
def test_an_address_comes_back_as_what_it_was_written_from(selection: PageFilters) -> None:
    assert read_filters(dict(parse_qsl(selection.link())), FIRST, LAST) == selection


@given(selections)
def test_the_period_before_is_as_long_and_ends_where_this_one_begins(selection: PageFilters) -> None:
    before = selection.before()
    assert before.days == selection.days
    assert (selection.first - before.last).days == 1
    assert before.asked() == selection.asked()


def test_without_a_period_the_last_thirty_days_that_were_read_are_shown() -> None:
    chosen = read_filters({"from": " ", "direction": ""}, FIRST, LAST)
    assert chosen == PageFilters(date(2025, 6, 1), LAST)
    assert {name: period(name, FIRST, LAST)[0] for name in PERIODS}["all"] == FIRST
    assert read_filters({"to": "2025-02-01"}, FIRST, LAST).first == FIRST


def test_no_phone_number_gets_into_an_address() -> None:
    with pytest.raises(InvalidFilter, match="more than six digits"):
        read_filters({"extension": "+12125550142"}, FIRST, LAST)


def test_days_begin_where_clocks_say_so() -> None:
    york, havana = ZoneInfo("America/New_York"), ZoneInfo("America/Havana")
    assert day_start(date(2025, 3, 9), york) == "2025-03-09 05:00:00+00:00"
    assert day_start(date(2025, 3, 10), york) == "2025-03-10 04:00:00+00:00"
    assert day_start(date(2025, 11, 2), havana) == "2025-11-02 04:00:00+00:00"  # its first midnight of two
