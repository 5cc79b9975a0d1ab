"""How late recordings arrive: what an incremental run reads for the first time, and where its cursor was.

Only the lookback finds a recording that starts behind the cursor. So the lookback must be as long as the
largest distance between the two; `vbc verify` reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.extract.loaded_rows import LoadedRows
from vbc_source.extract.reading.lists import ListOwner
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import mark_table
from vbc_source.schema.columns import INSTANT

ARRIVALS = "recording_arrivals"
SCHEMA = pa.schema(
    dict.fromkeys(("account_id", "resource", "user_id"), pa.string())
    | {"recording_id": pa.int64()}
    | dict.fromkeys(("start", "end", "cursor_at", "seen_at"), INSTANT)
)


class ArrivalLog:
    """Records what one run of a resource reads for the first time."""

    def __init__(self, run: ResourceRun, loaded: LoadedRows) -> None:
        self._run, self._cursors, self._loaded = run, run.cursors, loaded
        # lists that an earlier run of this source has begun: their cursor has moved already
        self._continued = frozenset(self._cursors.read_progress(run.source_id).reached)
        self._before: dict[ListOwner, datetime | None] = {}  # the cursors when the run started

    def write(self, batches: Iterable[tuple[ListOwner, ListOwner, pa.Table]]) -> Iterator[Any]:
        """Yield rows of `recording_arrivals`: of requested owner, owner, rows; call before cursors move."""
        tables = [
            self._select(owner, rows)
            for requested, owner, rows in batches
            if str(requested) not in self._continued
        ]
        if any(map(len, tables)):
            yield mark_table(pa.concat_tables(tables), ARRIVALS)

    def _select(self, owner: ListOwner, rows: pa.Table) -> pa.Table:
        cursor = self._before.setdefault(owner, self._cursors.find(str(owner)))
        if cursor is None or not len(rows):  # a history that is read for the first time
            return SCHEMA.empty_table()
        settled = self._run.now - self._run.config.lookback
        ahead = pc.greater(rows["start"], pa.scalar(cursor, INSTANT))
        # what ended before the lookback did not arrive late: no run read that far back
        recent = pc.greater(rows["end"], pa.scalar(settled, INSTANT))
        behind = self._select_unknown(owner, rows.filter(pc.invert(ahead)))
        arrived = pa.concat_tables([rows.filter(pc.and_(ahead, recent)), behind])
        constants = {
            "account_id": owner.account,
            "resource": self._run.endpoint.name,
            "user_id": owner.user or "",
            "cursor_at": cursor,
            "seen_at": self._run.now,
        }
        columns = {"recording_id": arrived["id"], "start": arrived["start"], "end": arrived["end"]}
        for name, value in constants.items():
            columns[name] = pa.repeat(pa.scalar(value, SCHEMA.field(name).type), len(arrived))
        return pa.table([columns[name] for name in SCHEMA.names], SCHEMA)

    def _select_unknown(self, owner: ListOwner, behind: pa.Table) -> pa.Table:
        """Select the rows behind the cursor that are not loaded; none where the destination does not tell."""
        if not len(behind):
            return behind
        known = self._loaded.find_ids(str(owner))
        # rather none than wrong ones: a late arrival that is none would call for a longer lookback
        if known is None:
            return behind.slice(0, 0)
        return behind.filter(pc.invert(pc.is_in(behind["id"], known)))
