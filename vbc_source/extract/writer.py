"""Proven windows become Arrow tables and ledger rows for dlt; the cursors move behind them.

State is stored with the rows that it covers, or not at all: dlt keeps both in one load package.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.extract.arrivals import ArrivalLog
from vbc_source.extract.lists import ListOwner, ReadTask
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import TableBuilder, make_scan_windows
from vbc_source.extract.window_reader import ProvenWindow
from vbc_source.schema.columns import INSTANT
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest
from vbc_source.windows import format_instant

log = logging.getLogger(__name__)

TABLE_ROWS = 20_000  # rows of several users that go to dlt together: few large tables are faster


@dataclass(frozen=True, slots=True)
class _Batch:
    """The rows of a proven window; `digest` identifies them where they are all that was requested."""

    requested: ListOwner
    owner: ListOwner
    rows: pa.Table
    proof: ProvenWindow[PageRows]
    digest: str


class WindowWriter:
    """Writes the proven windows of one run.

    Attributes:
        reached: By list as requested: up to where it was read and proven.
        moved_cursors: Whether any cursor has moved.
    """

    def __init__(self, run: ResourceRun) -> None:
        self._run, self._cursors = run, run.cursors
        self._tables = TableBuilder(run.endpoint, run.schema, run.config.pii_policy)
        self._arrivals = ArrivalLog(run)
        self._pending: list[_Batch] = []
        self._previous_ids: dict[ListOwner, pa.Array] = {}  # of each list's window before
        self.reached: dict[str, datetime] = dict(self._cursors.read_progress(run.source_id).reached)
        self.moved_cursors = False

    def add(self, task: ReadTask, owner: ListOwner, proof: ProvenWindow[PageRows]) -> None:
        """Add a proven window of a list; `owner` is the real one."""
        rows = self._build(owner, proof)
        whole = self._run.incremental and task.window in (proof.window, None)
        content = digest(rows, self._run.endpoint.shape.id_column) if whole else ""
        self._pending.append(_Batch(task.owner, owner, rows, proof, content))

    @property
    def is_due(self) -> bool:
        """Whether the pending rows should go to dlt."""
        minimum = TABLE_ROWS if self._run.endpoint.per_user else 0
        return bool(self._pending) and sum(len(batch.rows) for batch in self._pending) >= minimum

    def flush(self) -> Iterator[Any]:
        """Yield the pending tables, then move state."""
        batches, self._pending = self._pending, []
        if not batches:
            return
        run = self._run
        # most of what the lookback reads was loaded by the run before: it is not loaded again
        stored = self._cursors.digest
        changed = [batch for batch in batches if not batch.digest or batch.digest != stored(str(batch.owner))]
        if changed:
            yield pa.concat_tables([batch.rows for batch in changed], promote_options="default")
        if run.endpoint.windowed:
            if run.incremental:
                yield from self._arrivals.write(
                    (batch.requested, batch.owner, batch.rows) for batch in changed
                )
            proofs = [(batch.owner, batch.proof) for batch in batches]
            yield make_scan_windows(run.endpoint, proofs, run.config.api_filters.label, run.load_id, run.now)
        if run.incremental:
            self._move_state(batches, changed)
        self._report(batches[-1])

    def _build(self, owner: ListOwner, proof: ProvenWindow[PageRows]) -> pa.Table:
        table = self._tables.build([page.rows for page in proof.pages], owner.key)
        if not self._run.endpoint.windowed:
            return table
        # neighbours share a second: rows of the window before are not sent twice
        before = self._previous_ids.get(owner)
        self._previous_ids[owner] = table["id"].combine_chunks()
        if before is None or not pc.any(known := pc.is_in(table["id"], before)).as_py():
            return table  # unfiltered: a filter copies
        return table.filter(pc.invert(known))

    def _move_state(self, batches: Sequence[_Batch], changed: Sequence[_Batch]) -> None:
        run = self._run
        for batch in batches if run.endpoint.windowed else ():
            starts = batch.rows["start"]
            # a `start` in the future must not carry the cursor past now
            newest = pc.max(starts.filter(pc.less_equal(starts, pa.scalar(run.now, INSTANT)))).as_py()
            first = run.config.first_start(run.now)
            self.moved_cursors |= self._cursors.move(str(batch.owner), newest, first, run.now)
            self.reached[str(batch.requested)] = batch.proof.window.end
        for batch in changed:
            self._cursors.store_digest(str(batch.owner), batch.digest)

    def _report(self, batch: _Batch) -> None:
        endpoint, metrics, owner = self._run.endpoint, self._run.metrics, batch.owner
        rows = f"{metrics[endpoint.shape.collection]:,} {endpoint.shape.collection}"
        name = f"user {owner.user}" if owner.user else f"account {owner.account}"
        until, requests = format_instant(batch.proof.window.end), f"{metrics['requests']:,} requests"
        log.info("%s: %s proven complete, %s up to %s, %s", endpoint.name, rows, name, until, requests)
