"""The rate limiter that all requests of all threads pass: a budget per minute, and pauses."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

# The gateway counts requests when they arrive, and some take longer than others: a second to spare.
MINUTE = 61.0


class ClientClosed(Exception):
    """Raised when the client is closed, or the caller stopped, before a request is sent."""


class RateLimiter:
    """One budget and one pause for all threads.

    Args:
        requests_per_minute: Most requests in any sixty seconds; None for no limit.
        clock: Monotonic clock, seconds.
        wait: Waits for some seconds; returns True if `close` interrupted it.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._budget = requests_per_minute
        self._clock = clock
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._lock = threading.Lock()
        self._sent: deque[float] = deque()
        self._paused_until = float("-inf")
        self._throttled_since: float | None = None

    def acquire(self) -> None:
        """Wait until a request may be sent; raises ClientClosed."""
        while True:
            with self._lock:
                seconds = self._seconds_to_wait(self._clock())
                if seconds <= 0:
                    if self._budget is not None:
                        self._sent.append(self._clock())
                    return
            self.sleep(seconds)

    def _seconds_to_wait(self, now: float) -> float:
        self.check_open()
        paused = self._paused_until - now
        if self._budget is None:
            return paused
        while self._sent and self._sent[0] + MINUTE - now <= 0:
            self._sent.popleft()
        full = len(self._sent) >= self._budget
        return max(paused, self._sent[0] + MINUTE - now if full else 0.0)

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
