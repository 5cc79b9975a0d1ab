"""Store of recordings, as the API lists them at the current time."""

from __future__ import annotations

import gc
import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

from vbc_source.emulator.data.audio import AudioFile
from vbc_source.emulator.data.calls import Call, draw_duration, make_recording_fields
from vbc_source.emulator.data.dates import parse_timestamp
from vbc_source.emulator.data.environment import Environment
from vbc_source.emulator.data.selection import UNLIMITED, PageSlice, Query, select_page
from vbc_source.emulator.data.stored_recording import RecordingLinks, StoredRecording, encode_recording

# Recordings are listed only after the call has ended and the recording has been processed.
_PROCESSING_SECONDS = 120
_NEVER = float("inf")


@contextmanager
def _paused_garbage_collector() -> Iterator[None]:
    """Pause the garbage collector, which takes a third of the time while many recordings are created."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Recordings:
    """Recordings of one company or one user, sorted by start. Thread-safe.

    Ids can be numbers or text.
    """

    def __init__(self, links: RecordingLinks, environment: Environment, rng: Random) -> None:
        """Create an empty store.

        Args:
            links: Builds the links.
            environment: Address, clock and lock of the gateway.
            rng: Source of generated values.
        """
        self._links = links
        self._environment = environment
        self._lock = environment.lock
        self._rng = rng
        # Visible recordings, oldest first, and their starts: bisect on plain integers finds a date filter's
        # bounds without a pass over half a million rows.
        self._rows: list[StoredRecording] = []
        self._starts: list[int] = []
        self._visible: dict[str, StoredRecording] = {}
        self._hidden: dict[str, StoredRecording] = {}
        self._queue: list[tuple[float, str]] = []  # heap of (visible_at, key)
        self._last_id = 0

    def __len__(self) -> int:
        """Count the visible recordings."""
        with self._lock:
            self._show_due()
            return len(self._rows)

    def load(self, calls: Iterable[Call], held_back: int = 0) -> None:
        """Fill the store with generated calls.

        Args:
            calls: Calls; those with a later `visible_at` stay hidden until then.
            held_back: Number of the newest visible recordings to hide until `release`.
        """
        now = self._environment.clock()
        with _paused_garbage_collector():
            rows = [
                encode_recording(call.fields, self._links, call.visible_at, call.start * 1000)
                for call in calls
            ]
        rows.sort(key=lambda row: row.start)
        visible = [row for row in rows if row.visible_at <= now]
        cut = max(0, len(visible) - held_back)
        with self._lock:
            self._rows = visible[:cut]
            self._starts = [row.start for row in self._rows]
            self._visible = {row.key: row for row in self._rows}
            # of the hidden ones too: an added recording must not get an id that appears later
            self._last_id = max((int(row.key) for row in rows), default=0)
            for row in visible[cut:]:
                self._hide(replace(row, visible_at=_NEVER))
            for row in rows:
                if row.visible_at > now:
                    self._hide(row)

    def add(self, **fields: Any) -> dict[str, Any]:
        """Add a recording that is visible at once.

        Args:
            **fields: Kept unchanged; the others are generated to match them.

        Returns:
            The recording as the API lists it.

        Raises:
            ValueError: The id exists already.
        """
        with self._lock:
            self._show_due()
            row = encode_recording(self._complete(fields), self._links, self._environment.clock())
            if row.key in self._visible or row.key in self._hidden:
                raise ValueError(f"recording {row.key} exists already")
            self._insert(row)
            return row.decode()

    def delete(self, id: int | str) -> None:  # noqa: A002 - the API's name
        """Remove a recording, visible or hidden.

        Raises:
            KeyError: There is no such recording.
        """
        with self._lock:
            self._show_due()
            self._remove(str(id))

    def change(self, id: int | str, **fields: Any) -> dict[str, Any]:  # noqa: A002
        """Change fields of a recording and return it.

        Raises:
            KeyError: There is no such recording.
        """
        with self._lock:
            self._show_due()
            # Removed and added again, as a new start changes its position.
            hidden = str(id) in self._hidden
            old = self._remove(str(id))
            new = encode_recording(
                {"id": id, **old.decode_without_links(), **fields}, self._links, old.visible_at
            )
            if hidden:
                self._hide(new)
            else:
                self._insert(new)
            return new.decode()

    def hold(self, id: int | str, until: float) -> None:  # noqa: A002
        """Hide a recording until a moment in epoch seconds.

        Raises:
            KeyError: There is no such recording.
        """
        with self._lock:
            self._show_due()
            self._hide(replace(self._remove(str(id)), visible_at=until))

    def release(self) -> None:
        """Show the recordings that were held back by `load`."""
        with self._lock:
            for row in [row for row in self._hidden.values() if row.visible_at == _NEVER]:
                del self._hidden[row.key]
                self._insert(replace(row, visible_at=self._environment.clock()))

    def all(self) -> list[dict[str, Any]]:
        """Decode the visible recordings, newest start first."""
        with self._lock:
            self._show_due()
            return [row.decode() for row in reversed(self._rows)]

    def all_held(self) -> list[dict[str, Any]]:
        """Decode all recordings, also those that are not visible yet."""
        with self._lock:
            return [row.decode() for row in (*self._rows, *self._hidden.values())]

    def find(self, key: str) -> StoredRecording | None:
        """Look up a visible recording."""
        with self._lock:
            self._show_due()
            return self._visible.get(key)

    def pick(self, rng: Random) -> StoredRecording | None:
        """Draw a visible recording."""
        with self._lock:
            self._show_due()
            return rng.choice(self._rows) if self._rows else None

    def select(
        self, query: Query, page: PageSlice, rng: Random, *, shuffled: bool = False
    ) -> tuple[int, list[StoredRecording]]:
        """Return one page of the recordings that match a query.

        Args:
            query: Filters; its own page and order are ignored.
            page: Position of the page.
            rng: Orders recordings with equal start.
            shuffled: Put all recordings in random order.

        Returns:
            Number of matches, and the recordings of the page.
        """
        with self._lock:
            self._show_due()
            return select_page(self._rows, self._starts, query, page, rng, shuffled=shuffled)

    def match(self, query: Query) -> list[StoredRecording]:
        """Return all visible recordings that pass the filters of a query."""
        return self.select(query, PageSlice(0, UNLIMITED), self._rng)[1]

    def title(self, key: str) -> str:
        """Return the title in the audio of a recording, which differs between stores with equal ids."""
        owner = self._links.owner
        return f"Recording {key} of {owner}" if owner else f"Recording {key}"

    def audio_file(self, row: StoredRecording) -> AudioFile:
        """Return the audio file of a recording."""
        fields = row.decode()
        name, size = fields.get("file_name"), fields.get("file_size_in_bytes")
        return AudioFile(
            name if isinstance(name, str) and name else f"{row.key}.mp3",
            size if isinstance(size, int) else 0,
            self.title(row.key),
        )

    def update_links(self) -> None:
        """Let all generated links start with the current base URL."""
        with self._lock, _paused_garbage_collector():
            # Links are stored within the JSON, so that a page can be sent without encoding its rows.
            old, new = self._links, replace(self._links, base_url=self._environment.base_url)
            if old == new:
                return
            self._links = new
            self._rows = [row.relink(old, new) for row in self._rows]
            self._visible = {row.key: row for row in self._rows}
            self._hidden = {key: row.relink(old, new) for key, row in self._hidden.items()}

    def _complete(self, given: dict[str, Any]) -> dict[str, Any]:
        # Drawn even if a duration is given: the generated fields of later recordings stay the same.
        drawn = draw_duration(self._rng)
        duration = given.get("duration")
        length = duration if isinstance(duration, int) else drawn
        milliseconds = parse_timestamp(given.get("start"))
        if milliseconds is None:
            start = int(self._environment.clock() - length / 1000 - _PROCESSING_SECONDS)
        else:
            start = milliseconds // 1000
        return {"id": self._last_id + 1, **make_recording_fields(self._rng, start, length), **given}

    def _show_due(self) -> None:
        """Show the hidden recordings whose time has come."""
        now = self._environment.clock()
        while self._queue and self._queue[0][0] <= now:
            visible_at, key = heapq.heappop(self._queue)
            row = self._hidden.get(key)
            # An entry is stale if its recording was deleted, released or hidden again.
            if row is not None and row.visible_at == visible_at:
                del self._hidden[key]
                self._insert(row)

    def _hide(self, row: StoredRecording) -> None:
        self._hidden[row.key] = row
        heapq.heappush(self._queue, (row.visible_at, row.key))

    def _insert(self, row: StoredRecording) -> None:
        index = bisect_right(self._starts, row.start)
        self._rows.insert(index, row)
        self._starts.insert(index, row.start)
        self._visible[row.key] = row
        if row.key.isdecimal():
            self._last_id = max(self._last_id, int(row.key))

    def _remove(self, key: str) -> StoredRecording:
        if key in self._hidden:
            return self._hidden.pop(key)
        row = self._visible.pop(key)
        index = bisect_left(self._starts, row.start)
        while self._rows[index] is not row:  # several recordings can have the same start
            index += 1
        del self._rows[index], self._starts[index]
        return row
