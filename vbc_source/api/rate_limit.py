"""The one gate that every request of every thread passes: pauses, and a budget per minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

# A request counts where it arrives: the spare second covers those that travel longer than others.
MINUTE = 61.0


class ClientClosed(Exception):
    """The client was closed while a thread waited for its turn."""


class RateLimiter:
    """Lets requests through, one budget and one pause for all threads.

    Args:
        requests_per_minute: at most so many in any sixty seconds; None for no limit.
        clock: seconds that never run backwards.
        wait: waits so many seconds; returns True when it was interrupted by `close`.
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

    def pass_through(self) -> None:
        """Wait for this thread's turn.

        Raises:
            Closed: the client was closed meanwhile.
        """
        while True:
            with self._lock:
                seconds = self._seconds_to_wait(self._clock())
                if seconds <= 0:
                    self._sent.append(self._clock())
                    return
            self.sleep(seconds)

    def _seconds_to_wait(self, now: float) -> float:
        self.check_open()
        paused = self._paused_until - now
        if self._budget is None:
            self._sent.clear()
            return paused
        while self._sent and self._sent[0] + MINUTE - now <= 0:
            self._sent.popleft()
        full = len(self._sent) >= self._budget
        return max(paused, self._sent[0] + MINUTE - now if full else 0.0)

    def check_open(self) -> None:
        """Stop a thread that is busy when the client is closed.

        Raises:
            Closed: it was.
        """
        if self._closed.is_set():
            raise ClientClosed

    def sleep(self, seconds: float) -> None:
        """Wait, unless and until the client is closed."""
        if self._wait(seconds) or self._closed.is_set():
            raise ClientClosed

    def pause(self, seconds: float, longest: float = float("inf")) -> float:
        """Hold back all threads.

        Args:
            seconds: how long.
            longest: seconds without a single request let through; a pause beyond is not begun.

        Returns:
            For how long the gateway has let nothing through, seconds.
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
        """Note that a request got through."""
        self._throttled_since = None

    def close(self) -> None:
        """Wake and end every thread that waits."""
        self._closed.set()
