"""How many requests a verification takes, at the size of a year."""

from __future__ import annotations

import random

import pytest
from loading import still_gateway
from verification_cases import Prepare


@pytest.mark.slow
@pytest.mark.parametrize(("recordings", "page_size"), [(20_000, 100), (200_000, 1000)])
def test_an_equal_year_takes_15_requests_and_five_differences_are_repaired_in_60(
    prepare: Prepare, recordings: int, page_size: int
) -> None:
    gateway = still_gateway(recordings=recordings)
    stand = prepare(gateway, SOURCES__VBC__PAGE_SIZE=str(page_size))
    assert stand.verify().ok
    assert stand.requests() <= 15
    rows = gateway.company.all()
    # far from each other: differences that cancel out in one part are found with --deep alone
    places = [len(rows) * part // 6 for part in range(1, 6)]
    chance = random.Random(1)
    for number, place in enumerate(places):
        row = rows[place + chance.randrange(-50, 50)]
        if number % 2:
            gateway.company.delete(row["id"])
        else:
            gateway.company.add(id=number + 1, start=row["start"], duration=60_000)
    gateway.clear()
    done = stand.verify(repair=True)
    assert (done.ok, done.loaded, done.tombstoned) == (True, 3, 2)
    assert stand.requests() <= 60
    assert stand.requests() == done.requests
