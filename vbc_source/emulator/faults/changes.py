"""Faults that add and remove rows before a page of a list is read."""

from __future__ import annotations

from random import Random

from vbc_source.emulator.data.call_logs import CallLogs
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.users import Users
from vbc_source.emulator.faults.active import ActiveFaults


def change_recordings(
    recordings: Recordings | CallLogs, faults: ActiveFaults, rng: Random, path: str
) -> None:
    """Add and remove recordings, or rows of call logs, if a fault is active for a path."""
    if faults.has("churn", path):
        removes, adds = _draw_changes(rng)
        removed = recordings.pick(rng) if removes else None
        if removed is not None:
            recordings.delete(removed.key)
        if adds:
            recordings.add()
    if faults.has("arrivals", path):
        recordings.add()


def change_users(users: Users, faults: ActiveFaults, rng: Random, path: str) -> None:
    """Add and remove users if a fault is active for a path."""
    if faults.has("churn-users", path):
        removes, adds = _draw_changes(rng)
        removed = users.pick(rng) if removes else None
        if removed is not None:
            users.remove(removed)
        # Only the API user is left if none was removed: add one, so that something changes.
        if adds or removed is None:
            users.add()


def _draw_changes(rng: Random) -> tuple[bool, bool]:
    """Draw whether to remove and whether to add; at least one of them is true."""
    chance = rng.random()
    return chance < 2 / 3, chance >= 1 / 3
