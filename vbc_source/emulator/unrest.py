"""Habits that change what is listed before a page of it is read."""

from __future__ import annotations

from random import Random

from vbc_source.emulator.api import Api
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.users import Users


def _draw_change(rng: Random) -> tuple[bool, bool]:
    """Draw whether something goes and whether something comes; at least one of both happens."""
    chance = rng.random()
    return chance < 2 / 3, chance >= 1 / 3


def stir_recordings(store: Recordings, api: Api, path: str) -> None:
    """Let recordings go and come as the habits that are on for a path say."""
    if api.faults.has("churn", path):
        goes, comes = _draw_change(api.rng)
        gone = store.pick(api.rng) if goes else None
        if gone is not None:
            store.delete(gone.key)
        if comes:
            store.add()
    if api.faults.has("arrivals", path):
        store.add()


def stir_users(users: Users, api: Api, path: str) -> None:
    """Let users leave and come as the habits that are on for a path say."""
    if api.faults.has("churn-users", path):
        leaves, comes = _draw_change(api.rng)
        gone = users.pick(api.rng) if leaves else None
        if gone is not None:
            users.remove(gone)
        if comes or gone is None:
            users.add()
