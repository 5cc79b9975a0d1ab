"""One run of a resource, and its state: cursors, and the progress of a source that ended early.

The keys of the state keep their names, whatever the code calls them: state of earlier versions must load.

    cursors   by list (`549825`, `549825/745249`): the newest `start` that was loaded
    since     by list: where its history starts
    self      the list that `self` stood for the last time; `self/self` for a user's
    digests   by list: a digest of what the last run read in one window; the same rows are not loaded again
    round     the id of the source that ended early, after `rows_per_run` or a failure of some lists
    unread    the lists that it has not read to their end
    reached   by unread list: up to where it was read and proven
    barred    lists of users that could not be read, with the reason
    gaps      by list: windows that do not add up, which later runs read again
    read      by list: when it was last read to its end; kept where lists take turns
    owners    users who ever had an export job; kept where lists take turns
    listed    by account: a digest of the ids of its users or extensions, where that list has several pages
    load      the load that brought this state: the destination must have it

With filters, each selection has its own cursors: `549825?call_direction#5d41402abc4b`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dlt

from vbc_source.api.endpoints import Endpoint
from vbc_source.config import VbcConfig
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.extract.reading.known_gaps import KnownGap, read_gaps, update_gaps, write_gaps
from vbc_source.windows import Window, advance, format_instant, parse_instant, plan_window

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
NEVER = "9999"  # later than any instant, as text
LOAD_MARK = "load"  # in the state of a resource: the load that brought it
PROGRESS_MARK = "round"  # in the state of a resource whose source ended early


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far one source has come that ended early; state is the only place that keeps it.

    Attributes:
        unread: The lists left to read; None where all are to be read.
        reached: By unread list: up to where it was read and proven.
    """

    unread: frozenset[str] | None = None
    reached: Mapping[str, datetime] = field(default_factory=dict)


class CursorState:
    """The state of one resource, in a mapping that dlt keeps."""

    def __init__(self, state: MutableMapping[str, Any], label: str = "") -> None:
        self._state, self._label = state, label

    def expect(self, name: str, is_self: bool) -> str:
        """Return the real name that a list had the last time; empty where it is unknown."""
        return str(self._state.get(name, "")) if is_self else name

    def remember(self, name: str, real: str) -> None:
        """Store which list `self` stands for."""
        self._state[name] = real

    def find(self, name: str) -> datetime | None:
        """Return the cursor of a list, or None."""
        cursor = self._state.get("cursors", {}).get(self._key(name))
        return parse_instant(cursor) if cursor else None

    def plan(
        self, name: str, first: datetime, now: datetime, lookback: timedelta, *, chosen: bool = True
    ) -> Window | None:
        """Return the span of a list to read: the whole history where its start was moved back.

        `chosen`: whether the start is a setting; a default does not move it back.
        """
        since = self._state.get("since", {}).get(self._key(name))
        cursor = self.find(name)
        if chosen and cursor and since and first < parse_instant(since) - DAY:
            log.warning("start_date is earlier than before: reading the history of %s again", name)
            self._state["cursors"].pop(self._key(name))
            cursor = None
        if cursor is None and since and not chosen:
            # of a list that stays empty, all readings begin with the same second: one proof contains the next
            first = min(first, parse_instant(since))
        return plan_window(first, now, cursor, lookback)

    def move(self, name: str, newest: datetime | None, first: datetime, now: datetime) -> bool:
        """Move a cursor to the newest loaded `start`; return whether it moved."""
        before = self.find(name)
        cursor = advance(before, [newest] if newest else [], now)
        if before is None:  # the history was read from there; later runs read less
            since = self._state.setdefault("since", {})
            # as texts: in this format they have the order of the instants
            since[self._key(name)] = min(since.get(self._key(name), NEVER), format_instant(first))
        if cursor:
            self._state.setdefault("cursors", {})[self._key(name)] = format_instant(cursor)
        return before != self.find(name)

    def set_back(self, name: str, newest: datetime | None) -> None:
        """Set a cursor back to the newest `start` that the destination has; None removes it."""
        if newest:
            self._state["cursors"][self._key(name)] = format_instant(newest)
        # a digest says that rows are loaded; without a cursor, the history and its gaps start over as well
        for table in ("digests",) if newest else ("digests", "cursors", "since", "gaps"):
            self._state.get(table, {}).pop(self._key(name), None)

    def due_gaps(self, name: str, before: datetime, now: datetime) -> tuple[Window, ...]:
        """Return the known gaps of a list that are to be read again, as far as they are before an instant."""
        due = [gap.window for gap in self._read_gaps(name) if gap.is_due(now) and gap.window.start < before]
        return tuple(Window(gap.start, min(gap.end, before)) for gap in due)

    def record_window(self, name: str, window: Window, now: datetime, *, proven: bool) -> None:
        """Record that a window of a list was read: it closes gaps, or is one."""
        known = self._read_gaps(name)
        if known or not proven:
            gaps = self._state.setdefault("gaps", {})
            gaps[self._key(name)] = write_gaps(update_gaps(known, window, now, proven=proven))
            if not gaps[self._key(name)]:
                del gaps[self._key(name)]

    def _read_gaps(self, name: str) -> list[KnownGap]:
        return read_gaps(self._state.get("gaps", {}).get(self._key(name), ()))

    def digest(self, name: str) -> str:
        """Return the digest of what was loaded of a list the last time; empty where it is unknown."""
        return str(self._state.get("digests", {}).get(self._key(name), ""))

    def store_digest(self, name: str, digest: str) -> None:
        """Store the digest of what was loaded of a list; an empty one removes it."""
        if digest:
            self._state.setdefault("digests", {})[self._key(name)] = digest
        else:
            self._state.get("digests", {}).pop(self._key(name), None)

    def find_reading(self, name: str) -> datetime | None:
        """Return when a list was last read to its end; None where that is not known."""
        moment = self._state.get("read", {}).get(self._key(name))
        return parse_instant(moment) if moment else None

    def record_readings(self, names: Iterable[str], now: datetime) -> None:
        """Store that lists were read to their end."""
        self._state.setdefault("read", {}).update(dict.fromkeys(map(self._key, names), format_instant(now)))

    def forget_readings(self) -> None:
        """Remove when lists were read: what is not kept up to date must not be relied on."""
        self._state.pop("read", None)

    def has_owned(self, name: str) -> bool:
        """Whether a list of export jobs ever had one."""
        return name in self._state.get("owners", ())

    def record_owner(self, name: str) -> None:
        """Store that a list of export jobs has one."""
        if not self.has_owned(name):
            self._state["owners"] = sorted([*self._state.get("owners", ()), name])

    @property
    def unread(self) -> frozenset[str]:
        """The lists that a source which ended early has not read: this source, or an earlier one."""
        return frozenset(self._state.get("unread", ()))

    def read_progress(self, source_id: str) -> SourceProgress:
        """Return how far a source has come; a run that failed has stored nothing."""
        if self._state.get(PROGRESS_MARK) != source_id:
            return SourceProgress()
        reached = self._state.get("reached", {}).items()
        return SourceProgress(self.unread, {name: parse_instant(moment) for name, moment in reached})

    def store_progress(self, source_id: str, unread: Iterable[str], reached: Mapping[str, datetime]) -> None:
        """Store that a source ended early; the next run reads what it left unread first."""
        names = sorted(unread)
        # also what another source has reached: it says nothing about the lists of this one
        self.clear_progress()
        self._state[PROGRESS_MARK] = source_id
        if names:
            self._state["unread"] = names
        if moments := {name: format_instant(reached[name]) for name in names if name in reached}:
            self._state["reached"] = moments

    def clear_progress(self) -> None:
        """Remove the progress of a source that has read all lists."""
        for key in (PROGRESS_MARK, "unread", "reached"):
            self._state.pop(key, None)

    def bar(self, name: str, reason: str) -> bool:
        """Store that a list cannot be read, or, without a reason, that it can; return whether that is new."""
        barred = self._state.get("barred", {})
        if barred.get(name, "") == reason:
            return False
        if reason:
            self._state.setdefault("barred", {})[name] = reason
        else:
            del barred[name]
        return True

    def _key(self, name: str) -> str:
        return f"{name}?{self._label}" if self._label else name


def find_load_marks(source_state: Mapping[str, Any]) -> set[str]:
    """Return the loads that brought the state of a source's resources."""
    states = source_state.get("resources", {}).values()
    return {str(state[LOAD_MARK]) for state in states if state.get(LOAD_MARK)}


def follow_destination(
    state: MutableMapping[str, Any],
    has_load: Callable[[str], bool | None],
    read_stored: Callable[[], Mapping[str, Any]],
) -> bool:
    """Replace the state of a resource by the one in the destination, where that lacks its load.

    A database that was restored from a backup, or another one, does not hold what the local state says.

    Args:
        state: The local state, changed in place.
        has_load: Returns whether the destination has a load; None where it does not answer.
        read_stored: Reads the state of the resource that the destination has; empty where it has none.

    Returns:
        Whether the destination has answered: otherwise the mark of the state stays, to be checked later.
    """
    mark = state.get(LOAD_MARK)
    # state without a mark was written by an earlier version, or by a run that got no answer
    known = not state or (has_load(mark) if mark else False)
    if known is not False:
        return bool(known)
    stored = read_stored()
    if LOAD_MARK in stored and not has_load(stored[LOAD_MARK]):
        stored = {}  # it was written by a run that could not check it
    if state != stored:
        log.warning("the destination lacks the newest load: this run continues from the state that it has")
        state.clear()
        state.update(stored)
    return True


@contextmanager
def hold_state(
    state: MutableMapping[str, Any],
    load_id: str,
    has_load: Callable[[str], bool | None],
    read_stored: Callable[[], Mapping[str, Any]],
) -> Iterator[None]:
    """Let the state of a resource follow the destination, then mark what a run changes with its load."""
    known = follow_destination(state, has_load, read_stored)
    # deep, as cursors and digests are nested and change in place
    before = deepcopy(dict(state))
    try:
        yield
    finally:
        # a mark alone would change the state, and dlt would store a row of it in every idle run
        if known and state != before:
            state[LOAD_MARK] = load_id


@dataclass(frozen=True, slots=True)
class ResourceRun:
    """One run of a resource: its settings, and what dlt keeps for it.

    Attributes:
        endpoint: The lists to read.
        config: The settings.
        source_id: Identifies the source object; several runs of it read all lists once.
        load_id: Identifies the load package of this run.
        schema: What the destination knows.
        state: The resource's state; an empty mapping for a backfill.
        accounts: By API user, the account that `self` stood for; in the source's state.
        metrics: Counts of this run.
        lookup: Reads what is loaded already.
        now: When the run started; the upper bound of all windows.
        window: The window of a stateless run; None where it is empty, and for an incremental run.
    """

    endpoint: Endpoint
    config: VbcConfig
    source_id: str
    load_id: str
    schema: dlt.Schema
    state: MutableMapping[str, Any]
    accounts: MutableMapping[str, Any]
    metrics: MutableMapping[str, Any]
    lookup: DestinationLookup
    now: datetime
    window: Window | None = None

    @property
    def incremental(self) -> bool:
        """Whether the run reads and writes state."""
        return not self.config.stateless

    @property
    def cursors(self) -> CursorState:
        """The state of the resource."""
        return CursorState(
            self.state, self.config.filters_of(self.endpoint.name).label if self.endpoint.windowed else ""
        )

    def count(self, **numbers: int) -> None:
        """Add to the counts of this run."""
        for name, number in numbers.items():
            self.metrics[name] = self.metrics.get(name, 0) + number
