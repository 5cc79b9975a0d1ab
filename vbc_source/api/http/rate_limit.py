"""The rate limiter that all requests of all threads pass, and retries with exponential back-off."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vbc_source.api.http.request_log import OwnLog, SharedLog
from vbc_source.errors import GatewayFault, Throttled, Unavailable

log = logging.getLogger("vbc_source.api.client")  # users know the client, not this module

T = TypeVar("T")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 20.0  # seconds; WSO2 suspends a failed back end for 30 s
LONGEST_THROTTLE = 3600.0  # seconds without a single accepted request


class ClientClosed(Exception):
    """Raised when the client is closed, or the caller stopped, before a request is sent."""


class RateLimiter:
    """One budget and one pause for all threads.

    `requests_per_minute` is the most requests in any sixty seconds, None for no limit. `clock` is
    monotonic, in seconds; `wait` waits for some seconds, and returns True if `close` interrupted it.
    `shared` has the requests of other processes too; of the budget, this one may use 1 in `share`.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        *,
        shared: SharedLog | None = None,
        share: int = 1,
    ) -> None:
        self._budget, self._share = requests_per_minute, share
        self._own, self._shared = OwnLog(), shared
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._lock = threading.Lock()
        self._paused_until = float("-inf")
        self._throttled_since: float | None = None

    def acquire(self) -> None:
        """Wait until a request may be sent; raises ClientClosed."""
        while True:
            with self._lock:
                seconds = self._reserve()
            if seconds <= 0:
                return
            # then ask again: another thread may have taken the place, or a pause may have begun
            self.sleep(seconds)

    def _reserve(self) -> float:
        """Record a request that may be sent now, or return how many seconds to wait."""
        self.check_open()
        paused = self._paused_until - self._clock()
        if paused > 0:
            return paused
        if self._budget is None:
            return 0.0
        # the own part first: `find_wait` only looks, while the file records a request as soon as it admits it
        seconds = self._own.find_wait(self._clock(), max(1, self._budget // self._share))
        if not seconds and self._shared:
            seconds = self._shared.reserve(self._clock, self._budget)
        if not seconds:
            self._own.record(self._clock())
        return seconds

    def check_open(self) -> None:
        """Raise ClientClosed if the client is closed."""
        if self._closed.is_set():
            raise ClientClosed

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds; raises ClientClosed if the client is closed before or meanwhile."""
        if self._wait(seconds) or self._closed.is_set():
            raise ClientClosed

    def pause(self, seconds: float, longest: float = float("inf")) -> float:
        """Hold back the requests of all threads for some seconds.

        A pause that would end more than `longest` seconds after the gateway last accepted a request does
        not start. Returns the seconds since it last accepted one.
        """
        with self._lock:
            now = self._clock()
            if self._throttled_since is None:
                self._throttled_since = now
            throttled_for = now - self._throttled_since
            if throttled_for + seconds <= longest:
                self._paused_until = max(self._paused_until, now + seconds)
            return throttled_for

    def succeeded(self) -> None:
        """Record that the gateway accepted a request."""
        self._throttled_since = None

    def close(self) -> None:
        """Wake all waiting threads; they raise ClientClosed."""
        self._closed.set()


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
                # from the first failure in a row: neither the time of a success nor what was waited before
                # that failure, as for the quota, is part of it
                failing_since = failing_since if failures else now
                failures += 1
                if now + seconds - failing_since > self._retry_seconds:
                    raise
                log.warning("%s: %s; retrying in %.1f s", description, fault, seconds)
                self._rate_limiter.sleep(seconds)

    def _pause_all(self, fault: Throttled, throttles: int, description: str) -> None:
        # quotas belong to the application or the token, so one throttled request concerns all threads
        requested = fault.retry_after or 0.0
        # not all at once: processes that share the quota were asked to wait for the same second
        seconds = requested + random.uniform(0, 0.5) if requested > 0 else backoff(throttles)
        if self._rate_limiter.pause(seconds, LONGEST_THROTTLE) + seconds > LONGEST_THROTTLE:
            asked = f"; it asks to wait {requested / 60:,.0f} min" if requested > 60 else ""
            fault.args = (f"{fault}{asked}; a run waits for an hour at most: run again later",)
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
