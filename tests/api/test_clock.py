"""This machine's clock is compared with the gateway's, which must name one time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from gateway_fixtures import NOON, Clock

from vbc_source.api.clock import GatewayClock, WrongClock

NOW = datetime.fromtimestamp(NOON, timezone.utc)
DATE = "Wed, 18 Jun 2025 12:00:00 GMT"


@pytest.mark.parametrize("minutes", [-4, 0, 4])
def test_a_few_minutes_are_no_difference(minutes: int) -> None:
    clock = GatewayClock()
    clock.read({"Date": DATE})
    clock.check(NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("ahead", "text"),
    [(timedelta(days=365), "365 days ahead of"), (timedelta(minutes=-6), "6 minutes behind")],
)
def test_a_difference_is_refused(ahead: timedelta, text: str) -> None:
    clock = GatewayClock()
    clock.read({"Date": DATE})
    with pytest.raises(WrongClock, match=text):
        clock.check(NOW + ahead)


def test_time_that_has_passed_since_the_response_counts() -> None:
    ticking = Clock()
    clock = GatewayClock(ticking)
    clock.read({"Date": DATE})
    ticking.wait(3600)
    clock.check(NOW + timedelta(hours=1))
    with pytest.raises(WrongClock):
        clock.check(NOW)


@pytest.mark.parametrize(
    "date", ["", "yesterday", f"{DATE}, Tue, 18 Jun 2024 12:00:00 GMT", "Wed, 99 Jun 2025 12:00:00 GMT"]
)
def test_without_a_valid_date_nothing_is_trusted(date: str) -> None:
    clock = GatewayClock()
    with pytest.raises(WrongClock, match="no valid Date"):
        clock.check(NOW)
    clock.read({"Date": date})
    with pytest.raises(WrongClock, match="no valid Date"):
        clock.check(NOW)
