"""How often and how long to go on asking: a gateway that fails, and one that throttles."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vbc_source.api.rate_limit import RateLimiter
from vbc_source.errors import GatewayFault, OutcomeUnknown, Throttled, Unavailable

log = logging.getLogger("vbc_source.api.client")  # the one that sends is who tells

T = TypeVar("T")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 20.0  # seconds
LONGEST_THROTTLE = 3600.0  # seconds without a single request let through
_NOT_PASSED_ON = (303001, 101503)  # back end suspended, or it refused the connection


class Retry:
    """Repeats what may be repeated.

    Args:
        throttle: the gate that all threads pass.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        clock: wall clock, seconds since 1970.
    """

    def __init__(self, throttle: RateLimiter, retry_seconds: float, clock: Callable[[], float]) -> None:
        self._throttle, self._retry_seconds, self._clock = throttle, retry_seconds, clock

    def repeat(self, attempt: Callable[[], T], what: str) -> T:
        """Try until it succeeds, or fails for good.

        Args:
            attempt: what to try.
            what: names it in logs, without personal data.

        Raises:
            GatewayFault: the last one, or the first that is not to be repeated.
        """
        failures = throttles = 0
        failing_since = self._clock()
        while True:
            try:
                result = attempt()
            except Throttled as fault:
                throttles, failures = throttles + 1, 0
                self._wait_for_all(fault, throttles, what)
            except Unavailable as fault:
                seconds, now = backoff(failures), self._clock()
                failing_since = failing_since if failures else now
                failures += 1
                if now + seconds - failing_since > self._retry_seconds:
                    raise
                log.warning("%s: %s; trying again in %.1f s", what, fault, seconds)
                self._throttle.sleep(seconds)
            else:
                return result

    def _wait_for_all(self, fault: Throttled, throttles: int, what: str) -> None:
        told = fault.retry_after or 0.0
        seconds = told + random.uniform(0, 0.5) if told > 0 else backoff(throttles)
        if self._throttle.pause(seconds, LONGEST_THROTTLE) + seconds > LONGEST_THROTTLE:
            raise fault
        log.warning("%s: throttled by the gateway; all threads wait %.0f s", what, seconds)


def backoff(failures: int) -> float:
    """How long to wait after so many failures: exponential, with jitter; seconds."""
    return min(FIRST_BACKOFF * 2.0**failures, LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Have a fault say what was asked for."""
    try:
        yield
    except GatewayFault as fault:
        fault.args = (f"{what}: {fault}",)
        raise


@contextmanager
def certain() -> Iterator[None]:
    """Have a fault that leaves open whether something was begun not be repeated.

    Raises:
        Uncertain: that is open.
    """
    try:
        yield
    except Unavailable as fault:
        if fault.code in _NOT_PASSED_ON:
            raise
        raise OutcomeUnknown(fault.status, fault.code) from None
