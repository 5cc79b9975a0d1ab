"""Which spans of `start` are read, and where the cursor goes."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbc_source import windows
from vbc_source.windows import (
    SECOND,
    Window,
    advance,
    floor_second,
    format_instant,
    parse_instant,
    plan_window,
)

FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
NOW = datetime(2025, 6, 1, 12, 30, 15, 999_999, tzinfo=timezone.utc)
NOW_WHOLE = NOW.replace(microsecond=0)
INDIA = timezone(timedelta(hours=5, minutes=30))
DAYS = timedelta(days=1)

always_alike = settings(derandomize=True, deadline=None, database=None)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=zones)
seconds = instants.map(floor_second)
spans = st.builds(
    lambda start, length: Window(start, start + length * SECOND), seconds, st.integers(0, 10**8)
)


# Splitting


@always_alike
@given(spans, st.integers(-1, 500))
def test_split_covers_the_window_and_shares_boundary_seconds(window: Window, parts: int) -> None:
    pieces = window.split(parts)
    assert (pieces[0].start, pieces[-1].end) == (window.start, window.end)
    assert all(before.end == after.start for before, after in pairwise(pieces))
    assert pieces == sorted(pieces)


@always_alike
@given(spans, st.integers(-1, 500))
def test_split_gives_equal_parts_in_the_requested_number(window: Window, parts: int) -> None:
    pieces = window.split(parts)
    lengths = [piece.end - piece.start for piece in pieces]
    assert len(pieces) == max(1, min(parts, (window.end - window.start) // SECOND))
    assert max(lengths) - min(lengths) <= SECOND
    assert len(pieces) == 1 or min(lengths) >= SECOND
    assert all(length % SECOND == timedelta() for length in lengths)


@pytest.mark.parametrize(("length", "divisible"), [(0, False), (1, False), (2, True), (86_400, True)])
def test_window_is_divisible_if_its_parts_are_smaller(length: int, divisible: bool) -> None:
    window = Window(FIRST, FIRST + length * SECOND)
    assert window.divisible is divisible
    assert (window.split(2) != [window]) is divisible


def test_window_as_text_is_in_utc() -> None:
    window = Window(FIRST.astimezone(INDIA), FIRST + 90 * SECOND)
    assert str(window) == "2024-01-01T00:00:00Z/2024-01-01T00:01:30Z"


def test_windows_are_values_ordered_by_start() -> None:
    early, late = Window(FIRST, FIRST + DAYS), Window(FIRST + DAYS, FIRST + 2 * DAYS)
    assert sorted([late, early]) == [early, late]
    assert {early, Window(FIRST, FIRST + DAYS)} == {early}
    with pytest.raises(AttributeError):
        early.start = late.start


# Planning


def test_first_run_reads_the_whole_history_in_whole_seconds() -> None:
    assert plan_window(FIRST, NOW) == Window(FIRST, NOW_WHOLE)
    assert plan_window(FIRST + timedelta(microseconds=5), NOW) == Window(FIRST, NOW_WHOLE)


def test_later_run_reads_from_the_cursor_minus_the_lookback() -> None:
    cursor = NOW_WHOLE - 3 * DAYS
    assert plan_window(FIRST, NOW, cursor) == Window(cursor, NOW_WHOLE)
    assert plan_window(FIRST, NOW, cursor, 2 * DAYS) == Window(cursor - 2 * DAYS, NOW_WHOLE)


def test_lookback_does_not_reach_before_the_first_start() -> None:
    assert plan_window(FIRST, NOW, FIRST + DAYS, 2 * DAYS) == Window(FIRST, NOW_WHOLE)


def test_lookback_beyond_the_calendar_reads_the_whole_history() -> None:
    assert plan_window(FIRST, NOW, FIRST + DAYS, timedelta(days=999_999)) == Window(FIRST, NOW_WHOLE)


def test_lookback_does_not_matter_without_a_cursor() -> None:
    assert plan_window(FIRST, NOW, None, 2 * DAYS) == Window(FIRST, NOW_WHOLE)


def test_start_in_the_future_gives_no_window() -> None:
    assert plan_window(NOW + SECOND, NOW) is None
    assert plan_window(FIRST, NOW, NOW + 3 * DAYS, 2 * DAYS) is None


def test_current_second_is_read() -> None:
    assert plan_window(NOW, NOW) == Window(NOW_WHOLE, NOW_WHOLE)
    assert plan_window(FIRST, NOW, NOW) == Window(NOW_WHOLE, NOW_WHOLE)


@always_alike
@given(instants, instants, st.none() | instants, st.integers(0, 10**6))
def test_planned_window_is_in_utc_and_omits_no_second(
    first: datetime, now: datetime, cursor: datetime | None, hours: int
) -> None:
    lookback = timedelta(hours=hours % 20_000)
    begin = first if cursor is None else max(first, cursor - lookback)
    window = plan_window(first, now, cursor, lookback)
    if window is None:
        assert begin > now
        return
    assert timedelta() <= begin - window.start < SECOND
    assert timedelta() <= now - window.end < SECOND
    assert {window.start.tzinfo, window.end.tzinfo} == {timezone.utc}


# The cursor


def test_cursor_moves_to_the_newest_start() -> None:
    starts = [FIRST + 2 * DAYS, FIRST + 5 * DAYS, FIRST + 3 * DAYS]
    assert advance(None, starts, NOW) == FIRST + 5 * DAYS
    assert advance(FIRST + 4 * DAYS, starts, NOW) == FIRST + 5 * DAYS


def test_cursor_does_not_move_back() -> None:
    assert advance(FIRST + 9 * DAYS, [FIRST], NOW) == FIRST + 9 * DAYS
    assert advance(FIRST, [], NOW) == FIRST


@pytest.mark.parametrize("ahead", [timedelta(microseconds=1), DAYS, 30_000 * DAYS])
def test_cursor_ignores_starts_in_the_future(ahead: timedelta) -> None:
    assert advance(None, [NOW + ahead, FIRST], NOW) == FIRST
    assert advance(FIRST + DAYS, [NOW + ahead], NOW) == FIRST + DAYS
    assert advance(None, [NOW + ahead], NOW) is None


def test_start_equal_to_now_moves_the_cursor() -> None:
    assert advance(FIRST, [NOW.astimezone(INDIA)], NOW) == NOW


def test_no_starts_give_no_cursor() -> None:
    assert advance(None, [], NOW) is None


@always_alike
@given(st.none() | instants, st.lists(instants), instants)
def test_cursor_is_the_newest_instant_up_to_now(
    cursor: datetime | None, starts: list[datetime], now: datetime
) -> None:
    moved = advance(cursor, starts, now)
    past = [moment for moment in (cursor, *starts) if moment is not None and moment <= now]
    assert (moved is None) == (not past)
    assert moved is None or (moved in past and all(moment <= moved for moment in past))


@always_alike
@given(seconds, st.lists(seconds), st.lists(seconds), seconds)
def test_cursor_does_not_depend_on_batching(
    cursor: datetime, some: list[datetime], more: list[datetime], now: datetime
) -> None:
    assert advance(advance(cursor, some, now), more, now) == advance(cursor, [*more, *some], now)


# Instants as text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2025-01-31T08:00:00Z", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00+0000", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00+00:00", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00+05:30", datetime(2025, 1, 31, 2, 30, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00-0330", datetime(2025, 1, 31, 11, 30, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31 08:00:00", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31 08:00:00+00:00", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31T08:00", datetime(2025, 1, 31, 8, tzinfo=timezone.utc)),
        ("2025-01-31T08:00:00.123Z", datetime(2025, 1, 31, 8, 0, 0, 123_000, timezone.utc)),
        ("2025-01-31T08:00:00.123456+0000", datetime(2025, 1, 31, 8, 0, 0, 123_456, timezone.utc)),
        ("2025-01-31", datetime(2025, 1, 31, tzinfo=timezone.utc)),
        (" 2025-01-31 ", datetime(2025, 1, 31, tzinfo=timezone.utc)),
    ],
)
def test_iso_text_is_read_on_python_3_10(
    written: str, read: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parse_instant(written) == read
    monkeypatch.setattr(windows, "datetime", Python310)
    assert parse_instant(written) == read


class Python310(datetime):
    """Reads what `datetime.fromisoformat` of Python 3.10 reads, and no more."""

    FORM = re.compile(
        r"\d{4}-\d\d-\d\d(.\d\d(:\d\d(:\d\d(\.\d{3}(\d{3})?)?)?)?([+-]\d\d:\d\d(:\d\d(\.\d{6})?)?)?)?"
    )

    @classmethod
    def fromisoformat(cls, text: str) -> Any:
        assert cls.FORM.fullmatch(text), f"Python 3.10 does not read {text}"
        return datetime.fromisoformat(text)


def test_date_is_read_as_midnight_utc() -> None:
    assert parse_instant(date(2025, 1, 31)) == datetime(2025, 1, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize("zone", [timezone.utc, INDIA])
def test_instant_with_zone_is_kept(zone: tzinfo) -> None:
    assert parse_instant(NOW.astimezone(zone)) == NOW


def test_instant_without_zone_is_utc() -> None:
    assert parse_instant(datetime(2025, 1, 31, 8)) == datetime(2025, 1, 31, 8, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "written",
    ["", " ", "yesterday", "31.01.2025", "2025-13-01", "2025-02-29", "2025-01-31T25:00:00Z", "Z", "+0000"],
)
def test_malformed_instant_is_an_error(written: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|must be in|out of range"):
        parse_instant(written)


@always_alike
@given(instants)
def test_formatted_instant_is_read_back_to_the_second(moment: datetime) -> None:
    written = format_instant(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", written)
    assert parse_instant(written) == floor_second(moment)
    assert timedelta() <= moment - floor_second(moment) < SECOND
    assert floor_second(moment).tzinfo is timezone.utc


@always_alike
@given(instants)
def test_instant_with_any_offset_is_read_back(moment: datetime) -> None:
    assert parse_instant(moment.isoformat()) == moment
    assert parse_instant(moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z")) == moment
