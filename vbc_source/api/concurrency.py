"""How many requests are in flight: more while answers come quickly, fewer when the gateway complains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vbc_source.api.rate_limit import ClientClosed

FIRST = 2.0  # in flight at the start, where so many are allowed; doubles with each round until trouble
SLOW = 3.0  # times the quickest answer: slower ones are no reason to ask for more at once
JITTER = 0.02  # seconds by which answers differ whatever the gateway does
FORGET = 1.01  # by so much the quickest answer is forgotten with each one: what was quick may be so no more


class AdaptiveConcurrency:
    """Lets requests pass, as many at once as pay, up to a limit.

    As TCP does with packets: the number doubles with each round of quick answers, and halves when a
    request is throttled or fails; from then on it grows by one a round.

    Args:
        most: at most so many.
    """

    def __init__(self, most: int) -> None:
        self._most, self._allowed = most, min(FIRST, most)
        self._taken, self._closed = 0, False
        self._steady = False  # whether there was trouble
        self._quickest: dict[str, float] = {}  # by kind of request: a login says nothing of lists
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return int(self._allowed)

    @contextmanager
    def hold(self, stopped: Callable[[], bool] = bool) -> Iterator[None]:
        """Wait for a slot and keep it; after `close` nobody waits.

        Raises:
            Closed: `stopped` says that nobody wants what the slot is for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._taken < int(self._allowed))
            self._taken += 1
        try:
            if stopped():
                raise ClientClosed
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify()

    def judge(self, status: int, seconds: float, url: str) -> None:
        """Take an answer for what it is, by its HTTP status; its kind is how the path ends."""
        if status == 200:
            self.answered(seconds, url.partition("?")[0].rpartition("/")[2])
        elif status == 429 or status >= 500:
            self.troubled()

    def answered(self, seconds: float, kind: str = "") -> None:
        """Note a good answer, how long the gateway took to begin it, and to what kind of request."""
        with self._changed:
            quickest = self._quickest.get(kind, seconds)
            self._quickest[kind] = min(quickest * FORGET, seconds)
            if seconds <= SLOW * quickest + JITTER and self._allowed < self._most:
                self._allowed = min(self._most, self._allowed + (1 / self._allowed if self._steady else 1))
                self._changed.notify_all()

    def troubled(self) -> None:
        """Note that the gateway throttles or fails."""
        with self._changed:
            self._allowed, self._steady = max(1.0, self._allowed / 2), True

    def close(self) -> None:
        """Let everybody pass who waits: they will find the gate closed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
