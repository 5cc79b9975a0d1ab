"""Accounts: the recordings of a company, its users and their export jobs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from vbc_source.emulator.data.call_logs import DEFAULT_GAPS, CallLogs
from vbc_source.emulator.data.calls import generate_newest_calls
from vbc_source.emulator.data.environment import Environment
from vbc_source.emulator.data.jobs import Jobs
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.stored_recording import RecordingLinks
from vbc_source.emulator.data.users import Users

_USERS_WITH_RECORDINGS = 0.7
_SKEW = 0.8
_MAIN_FIRST_USER = 745249


@dataclass(frozen=True, slots=True)
class Account:
    """An account.

    Attributes:
        account_id: Id in paths.
        company: Recordings of the company.
        users: Users, each with on-demand recordings.
        jobs: Export jobs of the company and of the users.
        call_logs: Calls of the account, recorded or not.
    """

    account_id: str
    company: Recordings
    users: Users
    jobs: Jobs
    call_logs: CallLogs

    def update_links(self) -> None:
        """Let all generated links start with the current base URL."""
        self.company.update_links()
        self.users.update_links()


@dataclass(frozen=True, slots=True)
class AccountSize:
    """Amount of data in an account.

    Attributes:
        recordings: Number of company recordings, including those not visible yet.
        users: Number of users.
        user_recordings: Number of on-demand recordings of all users together.
        days: Number of days over which recordings are spread, on average.
        until: Epoch seconds; no call starts later.
        held_back: Number of the newest visible company recordings that are hidden until `release`.
        call_log_gaps: Share of calls whose log contradicts the recordings, each way.
    """

    recordings: int
    users: int
    user_recordings: int
    days: int
    until: float
    held_back: int = 0
    call_log_gaps: float = DEFAULT_GAPS


def make_account(
    environment: Environment,
    has_fault: Callable[[str], bool],
    account_id: str,
    seed: int,
    size: AccountSize,
    *,
    main: bool,
    **first: Any,
) -> Account:
    """Generate an account.

    Args:
        environment: Address, clock and lock of the gateway.
        has_fault: Checks whether a fault is active.
        account_id: Id in paths.
        seed: Equal seeds generate equal calls for equal days.
        size: Amount of data.
        main: Whether it is the account of the API user.
        **first: Fields of the first user.
    """
    links = RecordingLinks(
        environment.base_url,
        f"/accounts/{account_id}/company_call_recordings",
        "/audio/recording" if main else f"/audio/recording/{account_id}",
        "" if main else f"account {account_id}",
    )
    # Generators of their own for each purpose: an added recording does not change the generated ones.
    company = Recordings(links, environment, Random(f"{seed}/added"))
    company.load(generate_newest_calls(seed, size.recordings, size.days, size.until), size.held_back)
    # Derived from the account, so that users of different accounts have different ids.
    first_user = _MAIN_FIRST_USER if main else 100_000 + zlib.crc32(account_id.encode()) % 600_000
    users = Users(environment, account_id, seed, first_user)
    counts = _distribute(size.user_recordings, max(1, size.users), Random(f"{seed}/shares"))
    users.generate(counts, size.days, size.until, **first)
    if not size.users:
        users.hide(users.api_user)  # the API user always exists, even if Provisioning lists nobody
    jobs = Jobs(environment, account_id, Random(f"{seed}/jobs"), users, has_fault)

    def read_recordings() -> Iterator[Any]:
        yield from company.all_held()
        for key in users.ids():
            yield from users.recordings(key).all_held()

    # read when logs are first asked for: most tests never do, and users' recordings would be generated for it
    logs = CallLogs(environment, seed, size.call_log_gaps, read_recordings, users.all)
    return Account(account_id, company, users, jobs, logs)


def _distribute(total: int, users: int, rng: Random) -> list[int]:
    """Distribute recordings over users unevenly: three in ten get none, a few get many."""
    active = math.ceil(users * _USERS_WITH_RECORDINGS)
    weights = [(rank + 1) ** -_SKEW if rank < active else 0.0 for rank in range(users)]
    rng.shuffle(weights)
    whole, cumulative, counts, assigned = sum(weights), 0.0, [], 0
    for weight in weights:
        # Rounding the running total, not each share, keeps the sum exact.
        cumulative += weight
        count = round(total * cumulative / whole) - assigned
        assigned += count
        counts.append(count)
    return counts
