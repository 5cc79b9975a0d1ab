"""How a span is cut into the windows of a backfill."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from vbc_source.backfills.window_load import cut_windows, make_task, window_key, window_of
from vbc_source.windows import SECOND

NOON = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 20), st.integers(0, 10**6))
def test_windows_cover_every_second_of_a_span_once(seconds: int, days: float, until_now: int) -> None:
    end, now = NOON + timedelta(seconds=seconds), NOON + timedelta(seconds=until_now)
    windows = cut_windows(NOON, end, now, days)
    last = min(end + SECOND, now)  # the last second of a span is included
    assert [window.start for window in windows] == [NOON, *(window.end for window in windows)][: len(windows)]
    assert (windows[-1].end if windows else NOON) == max(last, NOON)
    assert all(window.start < window.end for window in windows)
    assert len({window_key(window) for window in windows}) == len(windows)


def test_a_window_keeps_its_key_whatever_else_is_planned() -> None:
    once, again = (
        cut_windows(NOON, NOON + timedelta(days=days), NOON + timedelta(999), 7) for days in (30, 60)
    )
    assert [window_key(window) for window in once[:-1]] == [window_key(window) for window in again[:4]]


def test_a_task_is_json_that_names_its_window() -> None:
    (window,) = cut_windows(NOON, NOON + timedelta(days=1), NOON + timedelta(99), 30)
    task = make_task(window, ["company_recordings"])
    assert window_of(task) == window
    assert task["key"] == window_key(window)
