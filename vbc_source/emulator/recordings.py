"""The store of recordings, as the API would list them at this moment."""

from __future__ import annotations

import gc
import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from vbc_source.emulator.calls import Call, draw_duration, make_fields
from vbc_source.emulator.order import Cut, cut_page
from vbc_source.emulator.queries import FOREVER, Query
from vbc_source.emulator.rows import Row, Site, make_row
from vbc_source.emulator.times import parse_moment

_PROCESSING = 120


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the garbage collector, which else spends a third of the time on looking through new rows."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Recordings:
    """Recordings of one company or one user, sorted by start; safe to use from several threads.

    Ids are given as numbers or text alike.
    """

    def __init__(
        self, site: Site, clock: Callable[[], float], lock: AbstractContextManager[Any], rng: Random
    ) -> None:
        """Begin empty.

        Args:
            site: Where links point.
            clock: Epoch seconds; decides what is visible.
            lock: Reentrant, held while the store is read or changed.
            rng: Where invented values come from.
        """
        self._site = site
        self._clock = clock
        self._lock = lock
        self._rng = rng
        self._rows: list[Row] = []
        self._starts: list[int] = []
        self._visible: dict[str, Row] = {}
        self._hidden: dict[str, Row] = {}
        self._queue: list[tuple[float, str]] = []
        self._last_id = 0

    def __len__(self) -> int:
        """Count the visible recordings."""
        with self._lock:
            self._admit()
            return len(self._rows)

    def load(self, calls: Iterable[Call], held_back: int = 0) -> None:
        """Take in generated calls.

        Args:
            calls: Of which those that appear later than now wait for their time.
            held_back: So many of the newest that would be visible wait for ``release``.
        """
        now = self._clock()
        with _without_collection():
            rows = [make_row(call.fields, self._site, call.appears, call.start * 1000) for call in calls]
        rows.sort(key=lambda row: row.start)
        shown = [row for row in rows if row.appears <= now]
        cut = max(0, len(shown) - held_back)
        with self._lock:
            self._rows = shown[:cut]
            self._starts = [row.start for row in self._rows]
            self._visible = {row.key: row for row in self._rows}
            self._last_id = max((int(row.key) for row in rows), default=0)
            for row in shown[cut:]:
                self._hide(replace(row, appears=float("inf")))
            for row in rows:
                if row.appears > now:
                    self._hide(row)

    def add(self, **fields: Any) -> dict[str, Any]:
        """Add a recording that is visible at once.

        Args:
            **fields: Kept as they are given; the others are made up to fit them.

        Returns:
            The whole recording as the API lists it.

        Raises:
            ValueError: There is a recording of that id.
        """
        with self._lock:
            self._admit()
            fields = self._complete(fields)
            row = make_row(fields, self._site, self._clock())
            if row.key in self._visible or row.key in self._hidden:
                raise ValueError(f"there is a recording {row.key}")
            self._insert(row)
            return row.decode()

    def delete(self, id: int | str) -> None:  # noqa: A002 - the API's name
        """Remove a recording, visible or not.

        Raises:
            KeyError: There is none of that id.
        """
        with self._lock:
            self._admit()
            self._remove(str(id))

    def change(self, id: int | str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        """Change fields of a recording and return it as it is now.

        Raises:
            KeyError: There is none of that id.
        """
        with self._lock:
            self._admit()
            hidden = str(id) in self._hidden
            old = self._remove(str(id))
            new = make_row({"id": id, **old.decode_given(), **fields}, self._site, old.appears)
            if hidden:
                self._hide(new)
            else:
                self._insert(new)
            return new.decode()

    def hold(self, id: int | str, until: float) -> None:  # noqa: A002
        """Keep a recording from being listed before a moment in epoch seconds.

        Raises:
            KeyError: There is none of that id.
        """
        with self._lock:
            self._admit()
            self._hide(replace(self._remove(str(id)), appears=until))

    def release(self) -> None:
        """Show what was held back without a time."""
        with self._lock:
            for row in [row for row in self._hidden.values() if row.appears == float("inf")]:
                del self._hidden[row.key]
                self._insert(replace(row, appears=self._clock()))

    def all(self) -> list[dict[str, Any]]:
        """Decode what the API would list now, newest start first."""
        with self._lock:
            self._admit()
            return [row.decode() for row in reversed(self._rows)]

    def find(self, key: str) -> Row | None:
        """Look up a visible recording."""
        with self._lock:
            self._admit()
            return self._visible.get(key)

    def pick(self, rng: Random) -> Row | None:
        """Draw a visible recording."""
        with self._lock:
            self._admit()
            return rng.choice(self._rows) if self._rows else None

    def select(self, query: Query, cut: Cut, rng: Random, *, mixed: bool = False) -> tuple[int, list[Row]]:
        """Answer a query.

        Args:
            query: Filters; its own page and order do not count.
            cut: Which page.
            rng: Orders rows of equal start.
            mixed: Order all rows by chance.

        Returns:
            How many rows match, and those of the page.
        """
        with self._lock:
            self._admit()
            rows = self._rows
            low = bisect_left(self._starts, query.start_gte)
            high = max(low, bisect_right(self._starts, query.start_lte))
            if query.is_narrow or mixed:
                rows = [row for row in rows[low:high] if not query.is_narrow or query.matches(row)]
                low, high = 0, len(rows)
            if mixed:
                rng.shuffle(rows)
                return high, rows[cut.offset : cut.offset + cut.size]
            return high - low, cut_page(rows, low, high, cut, rng)

    def match(self, query: Query) -> list[Row]:
        """Look up all visible recordings that a query's filters let through."""
        return self.select(query, Cut(0, FOREVER), self._rng)[1]

    def title(self, key: str) -> str:
        """Name the audio of a recording."""
        return self._site.title(key)

    def move(self, base_url: str) -> None:
        """Let all links point to another place."""
        with self._lock, _without_collection():
            old, self._site = self._site, replace(self._site, base_url=base_url)
            site = self._site
            if old == site:
                return
            self._rows = [row.move(old, site) for row in self._rows]
            self._visible = {row.key: row for row in self._rows}
            self._hidden = {key: row.move(old, site) for key, row in self._hidden.items()}

    def _complete(self, given: dict[str, Any]) -> dict[str, Any]:
        drawn = draw_duration(self._rng)
        duration = given.get("duration")
        length = duration if isinstance(duration, int) else drawn
        start = parse_moment(given.get("start"))
        begun = int(self._clock() - length / 1000 - _PROCESSING) if start is None else start // 1000
        return {"id": self._last_id + 1, **make_fields(self._rng, begun, length), **given}

    def _admit(self) -> None:
        now = self._clock()
        while self._queue and self._queue[0][0] <= now:
            appears, key = heapq.heappop(self._queue)
            row = self._hidden.get(key)
            if row is not None and row.appears == appears:
                del self._hidden[key]
                self._insert(row)

    def _hide(self, row: Row) -> None:
        self._hidden[row.key] = row
        heapq.heappush(self._queue, (row.appears, row.key))

    def _insert(self, row: Row) -> None:
        place = bisect_right(self._starts, row.start)
        self._rows.insert(place, row)
        self._starts.insert(place, row.start)
        self._visible[row.key] = row
        if row.key.isdecimal():
            self._last_id = max(self._last_id, int(row.key))

    def _remove(self, key: str) -> Row:
        if key in self._hidden:
            return self._hidden.pop(key)
        row = self._visible.pop(key)
        place = bisect_left(self._starts, row.start)
        while self._rows[place] is not row:
            place += 1
        del self._rows[place], self._starts[place]
        return row
