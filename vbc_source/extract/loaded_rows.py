"""What the destination holds of the spans that a run reads: asked once, for all lists of a resource.

State remembers what was loaded, but only the destination knows what is still there. A database may have been
restored from a backup, and rows may have been deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.extract.destination_lookup import ListKey, LoadedList
from vbc_source.extract.reading.lists import ReadTask
from vbc_source.extract.state import ResourceRun
from vbc_source.windows import Window, floor_second

log = logging.getLogger(__name__)


class LoadedRows:
    """The loaded rows of the lists of one run, in the windows that it reads.

    Files are searched only where something new was read: they have no index, and single rows are not deleted
    from them.
    """

    def __init__(self, run: ResourceRun) -> None:
        self._run, self._cursors = run, run.cursors
        self._windows: dict[str, Window | None] = {}
        self._found: dict[ListKey, LoadedList] | None = None
        self._is_asked = False

    def plan(self, tasks: Sequence[ReadTask]) -> None:
        """Set which lists are read; those that were never loaded are left out."""
        self._windows = {
            task.expected: task.window
            for task in tasks
            if self._cursors.find(task.expected) or self._cursors.digest(task.expected)
        }
        self._is_asked = False

    def find_ids(self, name: str) -> pa.Array | None:
        """Return the ids that are loaded of a list; None where that is not known."""
        found = self._ask() if name in self._windows else None
        return None if found is None else found.get(_key(name), LoadedList()).ids

    def holds(self, name: str, ids: pa.ChunkedArray) -> bool:
        """Whether the destination has all of some ids of a list."""
        if self._run.lookup.in_files:
            return name in self._windows
        loaded = self.find_ids(name)
        # `min_count`: of no values at all, Arrow's `all` is null
        return loaded is not None and bool(pc.all(pc.is_in(ids, loaded.cast(ids.type)), min_count=0).as_py())

    def set_cursors_back(self, reached: Sequence[str]) -> bool:
        """Set back the cursors whose rows are not in the destination; return whether there were any.

        `reached` are lists that an earlier run of this source has begun to read, so that their windows start
        after their cursors.
        """
        if self._run.lookup.in_files or not self._run.endpoint.windowed or not self._windows:
            return False
        found = self._ask()
        cursors = {name: self._cursors.find(name) for name in self._windows if name not in reached}
        lost = {
            name: cursor
            for name, cursor in cursors.items()
            if cursor and found is not None and not _reaches(found.get(_key(name)), cursor)
        }
        # the whole table is asked only now, where a window lacks the row that its cursor stands for
        newest = self._run.lookup.read_newest(self._run.endpoint, self._run.now) if lost else None
        if newest is None:
            return False
        lists = 0
        for name, cursor in lost.items():
            moment = newest.get(_key(name))
            if moment is None or moment < cursor:
                self._cursors.set_back(name, moment and floor_second(moment))
                lists += 1
        if lists:
            log.warning(
                "%s: the destination lacks the newest rows of %d list(s); reading from what it has",
                self._run.endpoint.name,
                lists,
            )
        return lists > 0

    def _ask(self) -> dict[ListKey, LoadedList] | None:
        if not self._is_asked:
            windows = {_key(name): window for name, window in self._windows.items()}
            self._found = self._run.lookup.read_lists(self._run.endpoint, windows)
            self._is_asked = True
        return self._found


def _reaches(loaded: LoadedList | None, cursor: datetime) -> bool:
    newest = loaded.newest if loaded else None
    return newest is not None and newest >= cursor


def _key(name: str) -> ListKey:
    """Return the values of the key columns of a list: its name in state is made of them."""
    return tuple(name.split("/", 1))
