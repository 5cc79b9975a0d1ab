"""How often tests kill a process, and when: a few times that are always the same, or as the environment says.

`KILLS=20 pytest -m slow -k kill` kills twenty times, at other moments in each run; `KILLS_SEED` repeats one.
"""

from __future__ import annotations

import os
from random import Random, SystemRandom


def count_kills(usual: int) -> int:
    """Return how often to kill a process."""
    return int(os.environ.get("KILLS", usual))


def choose_moments(seed: int) -> Random:
    """Return what chooses the moments; its seed is printed, which pytest shows with a failure."""
    if "KILLS" in os.environ:
        seed = int(os.environ.get("KILLS_SEED", SystemRandom().randrange(10**6)))
    print(f"KILLS_SEED={seed}")
    return Random(seed)
