"""How late recordings arrive: what an incremental run finds for the first time, and where its cursor was.

A recording that begins behind the cursor is found by the lookback alone. How far behind, is how long the
lookback has to be; `vbc verify` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.lists import ListOwner
from vbc_source.extract.state import CursorState
from vbc_source.schema.columns import INSTANT

log = logging.getLogger(__name__)

ARRIVALS = "recording_arrivals"


class ArrivalLog:
    """What one run of a resource finds for the first time.

    Args:
        endpoint: of which lists.
        cursors: where they were read up to.
        now: when the run began.
        lookback: what had ended before that much was not found late, but after a standstill.
        going_on: lists that an earlier run of the same round has begun to read.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cursors: CursorState,
        now: datetime,
        lookback: timedelta,
        going_on: Iterable[ListOwner],
    ) -> None:
        self._endpoint, self._cursors, self._now = endpoint, cursors, now
        self._lookback, self._going_on = lookback, frozenset(going_on)
        self._before: dict[ListOwner, datetime | None] = {}  # the cursors as the run began

    def write(self, found: Iterable[tuple[ListOwner, ListOwner, pa.Table]]) -> Iterator[Any]:
        """Give rows of `recording_arrivals`; to be called before cursors move.

        Args:
            found: rows, with the list that they are of, as it was asked for and by its real name.
        """
        tables = [self._make(place, rows) for asked, place, rows in found if asked not in self._going_on]
        table = pa.concat_tables(tables) if tables else None
        if table:
            hints = dlt.mark.make_hints(
                table_name=ARRIVALS, write_disposition="append", primary_key=(), merge_key=()
            )
            yield dlt.mark.with_hints(table, hints, create_table_variant=True)

    def _make(self, place: ListOwner, rows: pa.Table) -> pa.Table:
        cursor = self._before.setdefault(place, self._cursors.find(str(place)))
        if cursor is None or not len(rows):  # a history that is read for the first time
            return _SCHEMA.empty_table()
        ahead = pc.greater(rows["start"], pa.scalar(cursor, INSTANT))
        recent = pc.greater(rows["end"], pa.scalar(self._now - self._lookback, INSTANT))
        behind = rows.filter(pc.invert(ahead))
        known = self._find_known(place, behind)
        new = [rows.filter(pc.and_(ahead, recent))]
        if known is not None:
            new.append(behind.filter(pc.invert(pc.is_in(behind["id"], known))))
        return self._shape(place, cursor, pa.concat_tables([part.select(_TAKEN) for part in new]))

    def _shape(self, place: ListOwner, cursor: datetime, rows: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {
            "account_id": place.account,
            "resource": self._endpoint.name,
            "user_id": place.user or "",
            "recording_id": rows["id"],
            "start": rows["start"],
            "end": rows["end"],
            "cursor_at": cursor,
            "seen_at": self._now,
        }
        return pa.table(
            [
                pa.repeat(pa.scalar(columns[field.name], field.type), len(rows))
                if not isinstance(columns[field.name], pa.ChunkedArray)
                else columns[field.name]
                for field in _SCHEMA
            ],
            _SCHEMA,
        )

    def _find_known(self, place: ListOwner, rows: pa.Table) -> pa.Array | None:
        """Which of some recordings are loaded already; None where the destination does not say."""
        if not len(rows):
            return pa.array([], pa.int64())
        span = pc.min_max(rows["start"]).as_py()
        try:
            with dlt.current.pipeline().sql_client() as client:
                names = ["id", *self._endpoint.key, "start"]
                id_, *key, start = map(client.escape_column_name, names)
                table = client.make_qualified_table_name(self._endpoint.name)
                whose = " AND ".join(f"{column} = %s" for column in key)
                sql = f"SELECT {id_} FROM {table} WHERE {whose} AND {start} BETWEEN %s AND %s"
                values = [value for value in (place.account, place.user) if value]
                loaded = client.execute_sql(sql, *values, span["min"], span["max"]) or ()
        except Exception as error:  # whatever a destination raises; the recordings themselves are there
            log.info("how late recordings arrive is not known: the destination answered %s", type(error))
            return None
        return pa.array([int(row[0]) for row in loaded], pa.int64())


_TAKEN = ["id", "start", "end"]
_SCHEMA = pa.schema(
    {
        "account_id": pa.string(),
        "resource": pa.string(),
        "user_id": pa.string(),
        "recording_id": pa.int64(),
        "start": INSTANT,
        "end": INSTANT,
        "cursor_at": INSTANT,
        "seen_at": INSTANT,
    }
)
