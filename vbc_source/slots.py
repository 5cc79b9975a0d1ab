"""How many requests are in flight: more while answers come quickly, fewer when the gateway complains."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FIRST = 2.0  # in flight at the start, where so many are allowed
SLOW = 3.0  # times the quickest answer: slower ones are no reason to ask for more at once
JITTER = 0.02  # seconds by which answers differ whatever the gateway does
FORGET = 1.01  # by so much the quickest answer is forgotten with each one: what was quick may be so no more


class Slots:
    """Lets requests pass, as many at once as pay, up to a limit.

    The number grows by one with each round of quick answers, and halves when a request is throttled or
    fails, as TCP does with packets.

    Args:
        most: at most so many.
    """

    def __init__(self, most: int) -> None:
        self._most, self._allowed = most, min(FIRST, most)
        self._taken, self._closed = 0, False
        self._quickest = float("inf")
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return int(self._allowed)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a slot and keep it; after `close` nobody waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._taken < int(self._allowed))
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify()

    def judge(self, status: int, seconds: float) -> None:
        """Take an answer for what it is, by its HTTP status."""
        if status == 200:
            self.answered(seconds)
        elif status == 429 or status >= 500:
            self.troubled()

    def answered(self, seconds: float) -> None:
        """Note a good answer, and how long the gateway took to begin it."""
        with self._changed:
            quick = seconds <= SLOW * self._quickest + JITTER
            self._quickest = min(self._quickest * FORGET, seconds)
            if quick and self._allowed < self._most:
                self._allowed = min(self._most, self._allowed + 1 / self._allowed)
                self._changed.notify()

    def troubled(self) -> None:
        """Note that the gateway throttles or fails."""
        with self._changed:
            self._allowed = max(1.0, self._allowed / 2)

    def close(self) -> None:
        """Let everybody pass who waits: they will find the gate closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
