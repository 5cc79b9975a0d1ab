"""Retries: exponential back-off with jitter while the gateway fails, pauses while it throttles."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vbc_source.api.rate_limit import RateLimiter
from vbc_source.errors import GatewayFault, Throttled, Unavailable

log = logging.getLogger("vbc_source.api.client")  # users know the client, not this module

T = TypeVar("T")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 20.0  # seconds; WSO2 suspends a failed back end for 30 s
LONGEST_THROTTLE = 3600.0  # seconds without a single accepted request


class Retry:
    """Repeats requests that fail for a reason that may pass; for `retry_seconds` while the gateway fails."""

    def __init__(self, rate_limiter: RateLimiter, retry_seconds: float, clock: Callable[[], float]) -> None:
        self._rate_limiter, self._retry_seconds, self._clock = rate_limiter, retry_seconds, clock

    def repeat(self, attempt: Callable[[], T], description: str) -> T:
        """Call a function until it succeeds; raises the last fault, or the first one that is not retried."""
        failures = throttles = 0
        failing_since = self._clock()
        while True:
            try:
                return attempt()
            except Throttled as fault:
                # a throttled gateway is up: time spent waiting for it is no time of failing
                throttles, failures = throttles + 1, 0
                self._pause_all(fault, throttles, description)
            except Unavailable as fault:
                seconds, now = backoff(failures), self._clock()
                failing_since = failing_since if failures else now
                failures += 1
                if now + seconds - failing_since > self._retry_seconds:
                    raise
                log.warning("%s: %s; retrying in %.1f s", description, fault, seconds)
                self._rate_limiter.sleep(seconds)

    def _pause_all(self, fault: Throttled, throttles: int, description: str) -> None:
        # quotas belong to the application or the token, so one throttled request concerns all threads
        requested = fault.retry_after or 0.0
        seconds = requested + random.uniform(0, 0.5) if requested > 0 else backoff(throttles)
        if self._rate_limiter.pause(seconds, LONGEST_THROTTLE) + seconds > LONGEST_THROTTLE:
            raise fault
        log.warning("%s: throttled by the gateway; all threads wait %.0f s", description, seconds)


def backoff(failures: int) -> float:
    """Return the seconds to wait after some failures in a row: exponential, with jitter."""
    return min(FIRST_BACKOFF * 2.0**failures, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


@contextmanager
def describe_faults(description: str) -> Iterator[None]:
    """Put the name of the request in front of the message of a fault."""
    try:
        yield
    except GatewayFault as fault:
        fault.args = (f"{description}: {fault}",)
        raise
