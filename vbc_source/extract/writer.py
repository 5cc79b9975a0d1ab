"""Windows that were read become Arrow tables and ledger rows for dlt; the cursors move with them.

State is stored with the rows that it covers, or not at all: dlt keeps both in one load package.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.extract.arrivals import ArrivalLog
from vbc_source.extract.loaded_rows import LoadedRows
from vbc_source.extract.reading.lists import ListOwner, ReadTask
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.scan_windows import choose_row, make_scan_windows, name_list, name_rows
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import TableBuilder
from vbc_source.schema.columns import INSTANT
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest
from vbc_source.windows import Window, format_instant

log = logging.getLogger(__name__)

TABLE_ROWS = 20_000  # rows of several users that go to dlt together: few large tables are faster


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a window; `digest` identifies all that was requested, which may be several windows."""

    requested: ListOwner
    owner: ListOwner
    rows: pa.Table
    read: ReadWindow[PageRows]
    digest: str


class WindowWriter:
    """Writes the windows of one run.

    Attributes:
        reached: By list as requested: up to where it was read and proven.
        moved_cursors: Whether any cursor has moved.
    """

    def __init__(self, run: ResourceRun, loaded: LoadedRows) -> None:
        self._run, self._cursors, self._loaded = run, run.cursors, loaded
        self._tables = TableBuilder(run.endpoint, run.schema, run.config.pii_policy)
        self._arrivals = ArrivalLog(run, loaded)
        self._pending: list[_Batch] = []
        self._parts: dict[ListOwner, list[_Batch]] = {}  # of lookbacks that are not read to their end yet
        self._most_held = min(TABLE_ROWS, run.config.rows_per_run or TABLE_ROWS)
        self._in_files = run.lookup.in_files
        self._previous_ids: dict[ListOwner, pa.Array] = {}  # of each list's window before
        self.reached: dict[str, datetime] = dict(self._cursors.read_progress(run.source_id).reached)
        self.moved_cursors = False

    def add(self, task: ReadTask, owner: ListOwner, read: ReadWindow[PageRows]) -> None:
        """Add a window of a list; `owner` is the real one.

        The windows of a lookback are held until all are there, since only together they have the same rows as
        those of the run before.
        """
        batch = _Batch(task.owner, owner, self._build(owner, read), read, "")
        parts = [*self._parts.pop(owner, ()), batch]
        if not self._run.incremental or not self._follow(parts, task.window):
            self._pending += parts
        elif task.window is None or read.window.end >= task.window.end:
            rows = pa.concat_tables([part.rows for part in parts], promote_options="default")
            content = digest(rows, self._run.endpoint.shape.id_column)
            self._pending += [replace(part, digest=content) for part in parts]
        elif self._cursors.find(str(owner)) and sum(len(part.rows) for part in parts) <= self._most_held:
            self._parts[owner] = parts
        else:  # a history that is read for the first time, or too much to hold
            self._pending += parts

    @staticmethod
    def _follow(parts: Sequence[_Batch], window: Window | None) -> bool:
        """Whether parts are proven, and follow each other from the start of the window that was requested."""
        edges = [parts[0].read.window.start if window is None else window.start]
        edges += [part.read.window.end for part in parts]
        starts = [part.read.window.start for part in parts]
        return all(part.read.is_proven for part in parts) and starts == edges[:-1]

    def release(self) -> None:
        """Add the windows of lists that this run does not read to their end."""
        self._pending += [part for parts in self._parts.values() for part in parts]
        self._parts.clear()

    @property
    def is_due(self) -> bool:
        """Whether the pending rows should go to dlt."""
        # windows of an account's history are large, and the next run continues after the last one loaded
        several = self._run.endpoint.per_user or all(batch.digest for batch in self._pending)
        minimum = TABLE_ROWS if several else 0
        return bool(self._pending) and sum(len(batch.rows) for batch in self._pending) >= minimum

    def flush(self) -> Iterator[Any]:
        """Yield the pending tables, then move state."""
        batches, self._pending = self._pending, []
        if not batches:
            return
        run = self._run
        # most of what the lookback reads was loaded by the run before: it is not loaded again
        changed = [batch for batch in batches if not self._is_loaded(batch)]
        # a column that only some of the tables have is null in the others: the API may add
        # a field between two pages
        if changed:
            yield pa.concat_tables([batch.rows for batch in changed], promote_options="default")
        if run.endpoint.windowed:
            if run.incremental and not run.endpoint.shape.legs:  # how late recordings arrive, not their logs
                yield from self._arrivals.write(
                    (batch.requested, batch.owner, batch.rows) for batch in changed
                )
            yield self._make_scan_windows(batches, changed)
        # after the tables: dlt stores the state with them, or neither
        if run.incremental:
            self._move_state(batches, changed)
        self._report(batches[-1])

    def _is_loaded(self, batch: _Batch) -> bool:
        """Whether the same rows were loaded before, and are still there."""
        name = str(batch.owner)
        same = bool(batch.digest) and batch.digest == self._cursors.digest(name)
        return same and self._loaded.holds(name, batch.rows[self._run.endpoint.shape.id_column])

    def _make_scan_windows(self, batches: Sequence[_Batch], changed: Sequence[_Batch]) -> Any:
        """Make a row for each window; readings that brought nothing new replace rows of earlier ones."""
        run = self._run
        endpoint, brought = run.endpoint, set(map(id, changed))
        label = run.config.filters_of(endpoint.name).label
        repeated = {
            place: name_list(endpoint.name, batch.owner, batch.read.window, label)
            for place, batch in enumerate(batches)
            if id(batch) not in brought and not self._in_files
        }
        stored = run.lookup.read_readings([id_ for name in repeated.values() for id_ in name_rows(name)])
        known = {row.id: row for row in stored or ()}
        return make_scan_windows(
            endpoint,
            [(batch.owner, batch.read) for batch in batches],
            label,
            run.load_id,
            run.now,
            in_lake=self._in_files,
            # without an answer nothing is replaced: the rows stand beside the others, and prove the same
            replaced={} if stored is None else {at: choose_row(name, known) for at, name in repeated.items()},
        )

    def _build(self, owner: ListOwner, read: ReadWindow[PageRows]) -> pa.Table:
        table = self._tables.build([page.rows for page in read.pages], owner.key)
        if not self._run.endpoint.windowed:
            return table
        table = self._leave_out_erased(owner, table)
        # neighbours share a second: rows of the window before are not sent twice
        before, ids = self._previous_ids.get(owner), table[self._run.endpoint.shape.id_column]
        # of the window before, not of all: only neighbours share a second, and memory stays bounded
        self._previous_ids[owner] = ids.combine_chunks()
        if before is None or not pc.any(known := pc.is_in(ids, before)).as_py():
            return table  # unfiltered: a filter copies
        return table.filter(pc.invert(known))

    def _leave_out_erased(self, owner: ListOwner, table: pa.Table) -> pa.Table:
        run = self._run
        erased = run.lookup.erased.get((run.endpoint.name, owner.account, owner.user or ""))
        if not erased:
            return table
        ids = pc.cast(table[run.endpoint.shape.id_column], pa.string())
        kept = table.filter(pc.invert(pc.is_in(ids, pa.array(sorted(erased)))))
        # VBC keeps its call logs, so that those are always listed
        if len(kept) < len(table) and run.endpoint.shape.collection == "recordings":
            log.warning(
                "VBC lists %d erased recording(s) of %s: forget them again", len(table) - len(kept), owner
            )
        return kept

    def _move_state(self, batches: Sequence[_Batch], changed: Sequence[_Batch]) -> None:
        run = self._run
        for batch in batches if run.endpoint.windowed else ():
            window, name = batch.read.window, str(batch.owner)
            first = run.config.first_start(run.now)
            newest = _find_newest(batch.rows["start"], window)
            self.moved_cursors |= self._cursors.move(name, newest, first, run.now)
            self._cursors.record_window(name, window, run.now, proven=batch.read.is_proven)
            # under the name as requested: the next run plans its lists before a response says whose they are
            self.reached[str(batch.requested)] = window.end
        for batch in changed:
            self._cursors.store_digest(str(batch.owner), batch.digest)

    def _report(self, batch: _Batch) -> None:
        endpoint, metrics, owner = self._run.endpoint, self._run.metrics, batch.owner
        rows = f"{metrics[endpoint.shape.collection]:,} {endpoint.shape.collection}"
        name = f"user {owner.user}" if owner.user else f"account {owner.account}"
        until, requests = format_instant(batch.read.window.end), f"{metrics['requests']:,} requests"
        log.info("%s: %s read, %s up to %s, %s", endpoint.name, rows, name, until, requests)


def _find_newest(starts: pa.ChunkedArray, window: Window) -> datetime | None:
    """Find the newest `start` in a window: one of the future, or of the year 1, must not move the cursor."""
    first, last = (pa.scalar(bound, INSTANT) for bound in (window.start, window.end))
    inside = pc.and_(pc.greater_equal(starts, first), pc.less_equal(starts, last))
    newest: datetime | None = pc.max(starts.filter(inside)).as_py()
    return newest
