"""Which windows of a backfill are left, by what was proven before. Pure.

Spans are half open here, unlike the API's: a window owns what begins before its end, and what begins
there belongs to its neighbour. So two windows that are loaded at once never write the same row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vbc_source.windows import SECOND, Window, floor_second

ANY = "self"  # of an account or a user whose number is not known: whichever was read


@dataclass(frozen=True, slots=True)
class RecordingList:
    """A list of recordings.

    Attributes:
        resource: `company_recordings` or `user_recordings`.
        account: its id, or `self`.
        user: the user's, or `self`; empty where the list is the account's.
    """

    resource: str
    account: str
    user: str = ""

    def matches(self, known: RecordingList) -> bool:
        """Whether a list with a number is the one meant."""
        return (
            self.resource == known.resource
            and self.account in (ANY, known.account)
            and bool(self.user) == bool(known.user)
            and self.user in (ANY, known.user)
        )


Proven = Mapping[RecordingList, Sequence[Window]]


def cut_windows(start: datetime, end: datetime, now: datetime, days: float) -> list[Window]:
    """Cut a span, whose last second counts, into windows of so many days; nothing later than now."""
    first, last = floor_second(start), min(floor_second(end) + SECOND, floor_second(now))
    windows = []
    while first < last:
        cut = min(first + timedelta(days=days), last)
        windows.append(Window(first, cut))
        first = cut
    return windows


def name_window(window: Window) -> str:
    """A short name, the same for the same span; fit to be part of a dataset's."""
    return f"{window.start:%Y%m%d}_{hashlib.sha256(str(window).encode()).hexdigest()[:8]}"


def settled_part(window: Window, scanned_at: datetime, lookback: timedelta) -> Window | None:
    """The part of a proven window in which nothing new was expected when it was read."""
    end = min(window.end, floor_second(scanned_at - lookback))
    return Window(window.start, end) if window.start < end else None


def covers(spans: Iterable[Window], window: Window) -> bool:
    """Whether spans together leave no second of a window out."""
    reached = window.start
    for span in sorted(spans):
        if span.start > reached:
            break
        reached = max(reached, span.end)
    return reached >= window.end


def is_proven(window: Window, lists: Sequence[RecordingList], proven: Proven) -> bool:
    """Whether each of some lists was proven complete over a whole window."""
    return all(
        any(covers(spans, window) for known, spans in proven.items() if listed.matches(known))
        for listed in lists
    )
