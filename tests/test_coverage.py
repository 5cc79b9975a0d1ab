"""Which windows of a backfill are left: pure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vbc_source.warehouse.coverage import (
    RecordingList,
    covers,
    cut_windows,
    is_proven,
    name_window,
    settled_part,
)

from vbc_source.windows import SECOND, Window

NOON = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
COMPANY, USER = RecordingList("company_recordings", "549825"), RecordingList("user_recordings", "549825", "7")


def hours(first: float, last: float) -> Window:
    return Window(NOON + timedelta(hours=first), NOON + timedelta(hours=last))


@given(st.integers(0, 10**6), st.floats(0.001, 20), st.integers(0, 10**6))
def test_windows_share_out_every_second_of_a_span_and_nothing_else(
    seconds: int, days: float, until_now: int
) -> None:
    end, now = NOON + timedelta(seconds=seconds), NOON + timedelta(seconds=until_now)
    windows = cut_windows(NOON, end, now, days)
    last = min(end + SECOND, now)  # the last second of a span counts
    assert [window.start for window in windows] == [NOON, *(window.end for window in windows)][: len(windows)]
    assert (windows[-1].end if windows else NOON) == max(last, NOON)
    assert all(window.start < window.end for window in windows)
    assert len({name_window(window) for window in windows}) == len(windows)


def test_a_window_keeps_its_name_whatever_else_is_planned() -> None:
    once, again = (
        cut_windows(NOON, NOON + timedelta(days=days), NOON + timedelta(999), 7) for days in (30, 60)
    )
    assert [name_window(window) for window in once[:-1]] == [name_window(window) for window in again[:4]]


@pytest.mark.parametrize(
    ("spans", "covered"),
    [
        ([], False),
        ([hours(0, 10)], True),
        ([hours(-5, 4), hours(4, 20)], True),
        ([hours(6, 20), hours(-5, 7)], True),
        ([hours(0, 4), hours(5, 10)], False),
        ([hours(0, 9)], False),
        ([hours(1, 10)], False),
        ([hours(-9, -1), hours(0, 3), hours(1, 2), hours(3, 10)], True),
    ],
)
def test_spans_cover_a_window_where_they_leave_no_gap(spans: list[Window], covered: bool) -> None:
    assert covers(spans, hours(0, 10)) is covered


def test_a_proof_counts_for_what_was_older_than_the_lookback_when_it_was_read() -> None:
    window, two_days = hours(0, 100), timedelta(hours=48)
    assert settled_part(window, NOON + timedelta(hours=500), two_days) == window
    assert settled_part(window, NOON + timedelta(hours=100), two_days) == hours(0, 52)
    assert settled_part(window, NOON + timedelta(hours=48), two_days) is None


def test_a_window_is_proven_where_each_of_its_lists_is() -> None:
    window, proven = hours(0, 10), {COMPANY: [hours(0, 10)], USER: [hours(0, 5)]}
    assert is_proven(window, [COMPANY], proven)
    assert is_proven(window, [], proven)
    assert not is_proven(window, [COMPANY, USER], proven)
    assert not is_proven(window, [RecordingList("company_recordings", "549826")], proven)
    assert not is_proven(window, [RecordingList("user_recordings", "549825", "8")], {USER: [window]})


def test_self_is_whichever_was_read_of_the_same_kind() -> None:
    window = hours(0, 10)
    assert is_proven(window, [RecordingList("company_recordings", "self")], {COMPANY: [window]})
    assert not is_proven(window, [RecordingList("company_recordings", "self")], {USER: [window]})
    assert is_proven(window, [RecordingList("user_recordings", "self", "self")], {USER: [window]})
    assert not is_proven(window, [RecordingList("user_recordings", "self", "8")], {USER: [window]})
