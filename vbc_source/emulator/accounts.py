"""An account: its company's recordings, its users, their export jobs."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from random import Random
from typing import Any

from vbc_source.emulator.calls import newest_calls
from vbc_source.emulator.faults import Faults
from vbc_source.emulator.jobs import Jobs
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.rows import Site
from vbc_source.emulator.scene import Scene
from vbc_source.emulator.users import Users

_WITH_RECORDINGS = 0.7
_UNEVENNESS = 0.8
FIRST_USER = 745249


@dataclass(frozen=True, slots=True)
class Account:
    """An account.

    Attributes:
        account_id: As paths have it.
        company: The company's recordings.
        users: Its users, each with on-demand recordings.
        jobs: Export jobs, of the company and of the users.
    """

    account_id: str
    company: Recordings
    users: Users
    jobs: Jobs

    def move(self, base_url: str) -> None:
        """Let all links point to another place."""
        self.company.move(base_url)
        self.users.move()


@dataclass(frozen=True, slots=True)
class Size:
    """How much an account holds.

    Attributes:
        recordings: Of the company, those not visible yet included.
        held_back: So many of the newest visible ones of them wait for ``release``.
        users: How many.
        user_recordings: Of all users together.
        days: Over how many days recordings are spread, on average.
        until: No call begins later; epoch seconds.
    """

    recordings: int
    held_back: int
    users: int
    user_recordings: int
    days: int
    until: float


def spread(total: int, count: int, rng: Random) -> list[int]:
    """Part recordings among users unevenly: three in ten get none, few get many."""
    busy = math.ceil(count * _WITH_RECORDINGS)
    weights = [(place + 1) ** -_UNEVENNESS if place < busy else 0.0 for place in range(count)]
    rng.shuffle(weights)
    whole, passed, counts, given = sum(weights), 0.0, [], 0
    for weight in weights:
        passed += weight
        share = round(total * passed / whole) - given
        given += share
        counts.append(share)
    return counts


def make_account(
    scene: Scene,
    faults: Faults,
    account_id: str,
    seed: int,
    size: Size,
    *,
    main: bool,
    **first: Any,
) -> Account:
    """Invent an account.

    Args:
        scene: Where links point, the time and the lock.
        faults: What is to go wrong.
        account_id: As paths have it.
        seed: Equal seeds invent equal calls for equal days.
        size: How much it holds.
        main: Whether the API user belongs to it.
        **first: Fields of the first user.
    """
    site = Site(
        scene.base_url,
        f"/accounts/{account_id}/company_call_recordings",
        "/audio/recording" if main else f"/audio/recording/{account_id}",
        "" if main else f"account {account_id}",
    )
    company = Recordings(site, scene.clock, scene.lock, Random(f"{seed}/added"))
    company.load(newest_calls(seed, size.recordings, size.days, size.until), size.held_back)
    users = Users(scene, account_id, seed, FIRST_USER if main else _draw_first_user(account_id))
    counts = spread(size.user_recordings, max(1, size.users), Random(f"{seed}/shares"))
    users.invent(counts, size.days, size.until, **first)
    if not size.users:
        users.hide(users.api_user)
    jobs = Jobs(scene, account_id, Random(f"{seed}/jobs"), users, lambda name: faults.has(name, ""))
    return Account(account_id, company, users, jobs)


def _draw_first_user(account_id: str) -> int:
    return 100_000 + zlib.crc32(account_id.encode()) % 600_000
