"""What everything in a gateway shares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Scene:
    """Where and when a gateway plays.

    Attributes:
        base_url: Where links point; changes when the gateway is served.
        clock: Epoch seconds.
        lock: Reentrant, held while anything is read or changed.
        job_seconds: How long an export job takes.
    """

    base_url: str
    clock: Callable[[], float]
    lock: AbstractContextManager[Any]
    job_seconds: float = 30
