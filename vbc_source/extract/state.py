"""Where each list was read up to, in a mapping that dlt keeps. Pure: the mapping and the time are passed in.

    cursors   by list (`549825`, `549825/745249`), the newest `start` that was loaded
    since     by list, where its history begins
    self      the list that `self` stood for the last time; `self/self` for a user's
    digests   by list, what the last run read where one answer held it: the same again is not loaded
    unread    lists that a round which ended early had not come to
    round     the mark of that round
    barred    lists of users that could not be read, with the reason

With filters, a list is kept apart for each selection: `549825?call_direction#5d41402abc4b`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from datetime import datetime, timedelta
from typing import Any

from vbc_source.windows import Window, advance, format_instant, plan_window, read_instant

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
NEVER = "9999"  # later than any instant, as text


class CursorState:
    """The cursors of the lists of one endpoint.

    Args:
        state: where they are kept.
        label: of the filters; empty where there are none.
    """

    def __init__(self, state: MutableMapping[str, Any], label: str = "") -> None:
        self._state, self._label = state, label

    def key(self, name: str) -> str:
        """Under which name a list's cursor is kept."""
        return f"{name}?{self._label}" if self._label else name

    def expect(self, name: str, is_self: bool) -> str:
        """Give the real name that a list had the last time; empty where it is not known."""
        return str(self._state.get(name, "")) if is_self else name

    def remember(self, name: str, real: str) -> None:
        """Keep which list `self` stands for."""
        self._state[name] = real

    def find(self, name: str) -> datetime | None:
        """Where a list was read up to, or None."""
        cursor = self._state.get("cursors", {}).get(self.key(name))
        return read_instant(cursor) if cursor else None

    def plan(self, name: str, first: datetime, now: datetime, lookback: timedelta) -> Window | None:
        """Say which span of a list to read; the whole history where its beginning was moved back."""
        since = self._state.get("since", {}).get(self.key(name))
        cursor = self.find(name)
        if cursor and since and first < read_instant(since) - DAY:
            log.warning("start_date is earlier than before: reading the history of %s anew", name)
            self._state["cursors"].pop(self.key(name))
            cursor = None
        return plan_window(first, now, cursor, lookback)

    def move(self, name: str, starts: Iterable[datetime], first: datetime, now: datetime) -> None:
        """Take over what was loaded."""
        cursor = advance(self.find(name), list(starts), now)
        if cursor:
            since = self._state.setdefault("since", {})
            since[self.key(name)] = min(since.get(self.key(name), NEVER), format_instant(first))
            self._state.setdefault("cursors", {})[self.key(name)] = format_instant(cursor)

    def recall(self, name: str) -> str:
        """What of a list was loaded last, as a digest; empty where that is not known."""
        return str(self._state.get("digests", {}).get(self.key(name), ""))

    def note(self, name: str, digest: str) -> None:
        """Keep what of a list was loaded last; with an empty digest it is forgotten."""
        if digest:
            self._state.setdefault("digests", {})[self.key(name)] = digest
        else:
            self._state.get("digests", {}).pop(self.key(name), None)

    @property
    def unread(self) -> list[str]:
        """The lists that a round which ended early had not come to."""
        return list(self._state.get("unread", ()))

    @property
    def round(self) -> str:
        """The mark of the round that is under way; empty where none is."""
        return str(self._state.get("round", ""))

    def leave(self, names: Iterable[str], mark: str) -> None:
        """Keep which lists this round has not come to, so that the next one begins with them."""
        for name, value in (("unread", sorted(names)), ("round", mark)):
            if value:
                self._state[name] = value
            else:
                self._state.pop(name, None)

    def bar(self, name: str, reason: str) -> bool:
        """Note that a list cannot be read, or with an empty reason that it can; says whether that is new."""
        barred = self._state.get("barred", {})
        if barred.get(name, "") == reason:
            return False
        if reason:
            self._state.setdefault("barred", {})[name] = reason
        else:
            del barred[name]
        return True
