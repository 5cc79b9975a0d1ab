"""How late recordings arrive: runs record it, and verify derives the lookback from it."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from expected_rows import ago as before_now
from verification_cases import Prepare, ago

from vbc_source.emulator import Gateway

ARRIVALS = "SELECT recording_id, start < cursor_at FROM recording_arrivals ORDER BY 1"


@pytest.mark.slow
def test_runs_record_new_recordings_and_how_far_behind_they_are(prepare: Prepare) -> None:
    until = time.time()
    gateway = Gateway(clock=lambda: until, recordings=0)
    gateway.company.add(id=1, start=before_now(days=3), duration=60_000)
    gateway.company.add(id=2, start=before_now(days=1), duration=60_000)
    stand = prepare(gateway, "company_recordings")
    # a long call: it ended after later ones started
    gateway.company.add(id=3, start=before_now(days=1.5), end=before_now(days=1.25))
    gateway.company.add(id=4, start=before_now(days=0.25), end=before_now(days=0.125))
    stand.sync("company_recordings")
    gateway.company.change(2, duration=61_000)
    gateway.company.add(id=5, start=before_now(days=0.125), end=before_now(days=0.0625))
    stand.sync("company_recordings")
    stand.sync("company_recordings")
    assert stand.query(ARRIVALS) == [(3, True), (4, False), (5, False)]
    lateness = stand.verify().lateness
    assert lateness
    assert (lateness.recordings, lateness.behind, lateness.lookback_hours) == (3, 1, 12)
    assert lateness.max_behind_seconds == pytest.approx(12 * 3600, abs=60)
    seconds = [timedelta(days=days).total_seconds() for days in (0.125, 1.25, 1.25)]
    assert [lateness.p50_seconds, lateness.p99_seconds, lateness.max_seconds] == pytest.approx(
        seconds, abs=120
    )


@pytest.mark.slow
def test_arrivals_of_users_are_recorded_by_user_and_first_loads_record_none(prepare: Prepare) -> None:
    gateway = Gateway(clock=time.time, users=2)
    names = [str(user["id"]) for user in gateway.users.all()]
    for name in names:
        gateway.users.recordings(name).add(id=1, start=ago(1), duration=1000)
    stand = prepare(gateway)
    gateway.users.recordings(names[0]).add(id=2, start=ago(1.25), duration=1000)
    stand.sync()
    arrivals = "SELECT resource, user_id, recording_id FROM recording_arrivals"
    assert stand.query(arrivals) == [("user_recordings", names[0], 2)]
