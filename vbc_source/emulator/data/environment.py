"""Settings that everything in one gateway shares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True, eq=False)
class Environment:
    """Address, clock and lock of a gateway.

    Attributes:
        base_url: Start of every link; changes when the gateway is served.
        clock: Returns epoch seconds. Decides what is visible, expired and allowed again.
        lock: Reentrant lock, held while data is read or changed.
        job_seconds: Duration of export jobs that are started from now on.
    """

    base_url: str
    clock: Callable[[], float]
    lock: AbstractContextManager[Any]
    job_seconds: float = 30
