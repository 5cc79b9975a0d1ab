"""Lists that take turns: which are due in a run, and how many requests it may send. Pure but for a count.

With `polling = "active"` the lists of users who record little are not read in every run. Each is read again
before `quiet_hours` have passed. Those read longest ago come first, about the same number in every run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

JITTER = 1.25  # the next pause between two runs may be up to this many times the last one


@dataclass(frozen=True, slots=True)
class PolledList:
    """A list that may be due.

    Attributes:
        name: Its name in state.
        read_at: When it was last read to its end; None where that is not known.
        always: Whether it is read in every run.
    """

    name: str
    read_at: datetime | None
    always: bool = False


def select_due(lists: Sequence[PolledList], now: datetime, quiet: timedelta) -> set[str]:
    """Return the names of the lists to read now.

    These are lists that are always read or were never read, those that would be overdue before the next run,
    and the share of this run: of lists that rest, as many as have passed of `quiet` since the run before.
    """
    pause = now - max((one.read_at for one in lists if one.read_at and one.read_at <= now), default=now)
    spare = quiet - JITTER * pause  # a list that has waited longer may be overdue before the next run
    due = {one.name for one in lists if one.always or one.read_at is None or one.read_at > now}
    resting = sorted(
        (one.read_at, one.name) for one in lists if one.name not in due and one.read_at is not None
    )
    share = ceil(len(resting) * (pause / spare)) if spare > pause else len(resting)
    return due | {
        name for place, (read_at, name) in enumerate(resting) if place < share or now - read_at >= spare
    }


class RequestLimit:
    """Ends the runs of one source after a number of requests.

    A list that was begun is read until its cursor moves, or to its end: otherwise every run would spend all
    its requests on the lookback. Each run of a resource begins at least one list.

    Args:
        most: Most requests; None for no limit.
        sent: Returns how many were sent so far.
    """

    def __init__(self, most: int | None, sent: Callable[[], int] = lambda: 0) -> None:
        self._most, self.count_sent = most, sent
        self._until = self._share = self._begun = 0
        self._lock = threading.Lock()  # lists are begun by the threads that read them

    def begin(self, *, leave_half: bool) -> None:
        """Begin a run of a resource; it leaves half of the requests to those that follow, or none."""
        if self._most is not None:
            # of what was sent by all resources: retries and logins are requests as well
            left = self._most - self.count_sent()
            self._share = max(1, ceil(left / 2) if leave_half else left)
            self._until, self._begun = self.count_sent() + self._share, 0

    def admit(self) -> bool:
        """Return whether another list may be begun."""
        # counted as it is admitted, or all threads would begin a list before the first request is sent
        with self._lock:
            if self.is_over:
                return False
            self._begun += 1
            return True

    def share_pages(self, lists: int) -> int | None:
        """Return how many pages a window may have while so many lists are read at once; None for any number.

        A window that was begun is read to its end, so that all of them may exceed the limit by half at most.
        """
        return None if self._most is None else max(1, self._share // (2 * lists))

    @property
    def is_over(self) -> bool:
        """Whether the run has used its share; lists that were begun count as a request that is sent."""
        if self._most is None or not self._begun:
            return False
        return self._begun >= self._share or self.count_sent() >= self._until

    @property
    def is_spent(self) -> bool:
        """Whether the source has used all of its requests."""
        return self._most is not None and self.count_sent() >= self._most
