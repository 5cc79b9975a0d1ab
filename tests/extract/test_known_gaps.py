"""Windows that do not add up are read again at intervals that double, until they are proven."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from vbc_source.extract.reading.known_gaps import MOST_TRIES, KnownGap, read_gaps, update_gaps, write_gaps
from vbc_source.windows import Window

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def span(first: int, last: int) -> Window:
    return Window(NOON + first * HOUR, NOON + last * HOUR)


def spans(gaps: list[KnownGap]) -> list[Window]:
    return [gap.window for gap in gaps]


def test_a_gap_is_due_after_one_two_four_hours_and_no_more_than_ten_times() -> None:
    gaps, now, waits = update_gaps([], span(-90, -80), NOON, proven=False), NOON, []
    while gaps[0].tries < MOST_TRIES:
        began = now
        while not gaps[0].is_due(now):
            now += HOUR
        waits.append((now - began) // HOUR)
        gaps = update_gaps(gaps, span(-90, -80), now, proven=False)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert not gaps[0].is_due(now + 10_000 * HOUR)


def test_runs_that_read_a_gap_in_passing_are_no_tries() -> None:
    gaps = update_gaps([], span(-3, -2), NOON, proven=False)
    for minutes in range(0, 50, 10):
        gaps = update_gaps(gaps, span(-3, -2), NOON + timedelta(minutes=minutes), proven=False)
    assert gaps == [KnownGap(span(-3, -2), 1, NOON)]


def test_what_is_proven_later_leaves_the_rest_of_a_gap() -> None:
    gaps = update_gaps([], span(-90, -80), NOON, proven=False)
    assert spans(update_gaps(gaps, span(-88, -86), NOON, proven=True)) == [span(-90, -88), span(-86, -80)]
    assert update_gaps(gaps, span(-95, -80), NOON, proven=True) == []
    assert spans(update_gaps(gaps, span(-80, -70), NOON, proven=True)) == [span(-90, -80)]


def test_gaps_that_touch_are_one() -> None:
    gaps = update_gaps([], span(-90, -80), NOON, proven=False)
    assert spans(update_gaps(gaps, span(-80, -70), NOON, proven=False)) == [span(-90, -70)]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.booleans()), max_size=12))
def test_an_hour_is_in_a_gap_where_its_last_reading_was_not_proven(
    readings: list[tuple[int, int, bool]],
) -> None:
    gaps: list[KnownGap] = []
    unproven: set[int] = set()
    for first, hours, proven in readings:
        gaps = update_gaps(gaps, span(first, first + hours), NOON, proven=proven)
        covered = set(range(first, first + hours))
        unproven = unproven - covered if proven else unproven | covered
    found = [
        hour
        for gap in gaps
        for hour in range((gap.window.start - NOON) // HOUR, (gap.window.end - NOON) // HOUR)
    ]
    assert found == sorted(unproven)
    assert read_gaps(write_gaps(gaps)) == gaps
