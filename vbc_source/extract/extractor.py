"""One run over the lists of an endpoint: what to read, in which order, and what goes to dlt.

Every account's list, and every user's, has a cursor of its own in dlt's state. State moves behind the
rows it speaks of, so it is loaded with them or not at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.endpoints import Endpoint
from vbc_source.config import SELF
from vbc_source.extract.access import AccessLog
from vbc_source.extract.arrivals import ArrivalLog
from vbc_source.extract.checkpoint import Checkpoint
from vbc_source.extract.completeness import ProvenWindow
from vbc_source.extract.lists import ListOwner, ListReader, ReadTask, RequestPool, resolve
from vbc_source.extract.parallel import ParallelReader, TaskEnd
from vbc_source.extract.state import CursorState
from vbc_source.extract.tables import TableBuilder, make_scan_windows, make_user_access
from vbc_source.schema.columns import INSTANT
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest
from vbc_source.windows import Window, format_instant

log = logging.getLogger(__name__)

TABLE_ROWS = 20_000  # rows of several users that go to dlt together: few large tables are faster
RUN_SECONDS = 300.0  # a run of bounded size ends after so long, so that a kill costs no more than that


@dataclass(frozen=True, slots=True)
class _Batch:
    """A proven window's rows; `digest` tells them from others where they are all that was asked for."""

    asked: ListOwner
    place: ListOwner
    rows: pa.Table
    proof: ProvenWindow[PageRows]
    digest: str


class Extractor:
    """One run of a resource.

    Args:
        endpoint: of which lists.
        reader: what to read with.
        progress: of the round that this run belongs to; kept up here.
        learn: told which account `self` is.
    """

    def __init__(
        self, endpoint: Endpoint, reader: ListReader, progress: Checkpoint, learn: Callable[[str], None]
    ) -> None:
        self._endpoint, self._reader, self._learn = endpoint, reader, learn
        self._round = progress
        self._config = reader.config
        self._now, self._deadline = datetime.now(timezone.utc), time.monotonic() + RUN_SECONDS
        self._span = self._config.fixed_window(self._now, dlt.current.interval)
        # a backfill neither reads nor writes state
        state = dlt.current.resource_state() if self._span is None else {}
        self._cursors = CursorState(state, self._config.api_filters.label if endpoint.windowed else "")
        self._done, self._reached = progress.recall(self._cursors.round)
        self._metrics = dlt.current.resource_metrics()
        self._metrics.clear()  # a source that runs again keeps those of the run before
        self._access = AccessLog(
            endpoint,
            skip_forbidden=self._config.skip_forbidden,
            # as many as may fail side by side, twice: a few broken lists do not hold back the rest
            most_failures=2 * self._config.max_concurrency + 1,
            cursors=self._cursors if self._span is None else None,
            metrics=self._metrics,
            now=self._now,
        )
        self._arrivals = ArrivalLog(endpoint, self._cursors, self._now, self._config.lookback, self._reached)
        self._tables = TableBuilder(endpoint, dlt.current.source_schema(), self._config.pii_policy)
        self._pending: list[_Batch] = []
        self._owners: dict[ListOwner, ListOwner] = {}  # of the rows: as whom they were asked for
        self._before: dict[ListOwner, pa.Array] = {}  # ids of the window before
        self._again: list[ReadTask] = []
        self._known: set[ListOwner] = set()  # what is asked for as `self` and was resolved
        self._rows_name = "recordings" if endpoint.windowed else "jobs"
        self._most = self._config.rows_per_run if self._span is None else None
        self._progressed = False

    def read(self, histories: Sequence[ReadTask]) -> Iterator[Any]:
        """Read lists side by side, and yield tables."""
        todo = self._plan(histories)
        while todo and not self._is_over():
            yield from self._read_round(todo)
            todo, self._again = self._again, []
        yield from self._flush()
        self._close(histories)

    def _read_round(self, todo: list[ReadTask]) -> Iterator[Any]:
        moved: set[ListOwner] = set()
        for history, item in self._read_ahead(todo):
            if isinstance(item, TaskEnd):
                if item.complete or history.place in self._done:
                    self._end(history, item.error)
            elif history.place not in moved and not self._take(history, item):
                moved.add(history.place)
            if self._is_due():
                yield from self._flush()
            if self._access.hopeless:
                return
            if self._is_over():
                self._session.end()

    def _read_ahead(
        self, todo: list[ReadTask]
    ) -> Iterator[tuple[ReadTask, ProvenWindow[PageRows] | TaskEnd]]:
        threads = self._config.max_concurrency
        with RequestPool(threads) as session:

            def scan(history: ReadTask) -> Iterator[ProvenWindow[PageRows]]:
                return self._reader.scan(self._endpoint, history, self._now, session)

            self._session = session
            ahead = ParallelReader(scan, threads, session.stop, self._reader.client.close, session.ending)
            yield from ahead.read(todo)

    def _plan(self, histories: Sequence[ReadTask]) -> list[ReadTask]:
        """Put lists without a cursor first, then those that the last round did not come to."""
        planned = [self._plan_one(history) for history in histories if history.place not in self._done]
        todo = [history for history in planned if history]
        unread = set(self._cursors.unread)
        todo.sort(key=lambda history: bool(unread) and str(history.place) not in unread)
        if self._endpoint.windowed:
            todo.sort(key=lambda history: self._cursors.find(history.expected) is not None)
        return todo

    def _plan_one(self, history: ReadTask) -> ReadTask | None:
        place, config = history.place, self._config
        expected = history.expected or self._cursors.expect(str(place), place.is_self)
        if not self._endpoint.windowed:
            return replace(history, expected=expected)
        window = self._span or None
        if self._span is None:
            first = config.first_start(self._now)
            window = self._cursors.plan(expected, first, self._now, config.lookback)
            if window and place in self._reached:
                window = Window(max(window.start, self._reached[place]), window.end)
        window = config.api_filters.narrow(window)
        return replace(history, expected=expected, window=window) if window else None

    def _take(self, history: ReadTask, proof: ProvenWindow[PageRows]) -> bool:
        """Take a proven window in; False where `self` is another list than was planned for."""
        place = resolve(history.place, proof)
        if place is None:
            log.warning("self has no %s yet, and the gateway does not say who it is", self._endpoint.name)
            return True
        if history.place.account == SELF:
            self._learn(place.account)
        if self._owners.setdefault(place, history.place) != history.place:
            self._remember(history, place)
            self._count(requests=proof.requests)
            return True  # asked for by its number and as `self`: one of them brings it
        if self._remember(history, place) and not self._is_expected(history, place):
            log.info("self is %s now: reading its own history", place)
            moved = self._plan_one(replace(history, expected=str(place)))
            self._again += [moved] if moved else []
            return False
        rows, whole = self._build(place, proof), history.window in (proof.window, None)
        told = digest(rows, self._endpoint.shape.id_column) if whole and self._span is None else ""
        self._pending.append(_Batch(history.place, place, rows, proof, told))
        if history.window is None or proof.window.end >= history.window.end:  # they come oldest first
            self._done.add(history.place)
        self._count(**{"windows": 1, "requests": proof.requests, self._rows_name: proof.total_items})
        return True

    def _remember(self, history: ReadTask, place: ListOwner) -> bool:
        """Keep which list `self` is; says whether it is found out just now."""
        if not history.place.is_self or history.place in self._known or self._span is not None:
            return False
        self._known.add(history.place)
        self._cursors.remember(str(history.place), str(place))
        return True

    def _is_expected(self, history: ReadTask, place: ListOwner) -> bool:
        return self._cursors.find(str(place)) == self._cursors.find(history.expected)

    def _count(self, **numbers: int) -> None:
        for name, number in numbers.items():
            self._metrics[name] = self._metrics.get(name, 0) + number

    def _build(self, place: ListOwner, proof: ProvenWindow[PageRows]) -> pa.Table:
        key = {"account_id": place.account, **({"user_id": place.user} if place.user else {})}
        table = self._tables.build([page.rows for page in proof.pages], key)
        if not self._endpoint.windowed:
            return table
        # neighbours share a second: what the window before brought is not sent twice
        before = self._before.get(place)
        self._before[place] = table["id"].combine_chunks()
        if before is None or not pc.any(known := pc.is_in(table["id"], before)).as_py():
            return table  # as it is: a filter copies
        return table.filter(pc.invert(known))

    def _end(self, history: ReadTask, error: Exception | None) -> None:
        """Note that a list was read to its end, or why it was not."""
        if any(again.place == history.place for again in self._again):
            return
        if error is None:
            self._access.allow(history)
            self._count(users=int(self._endpoint.windowed and self._endpoint.per_user))
        if error is None or self._access.judge(history, error):
            self._done.add(history.place)
            self._progressed = True

    def _is_due(self) -> bool:
        """Whether what is there should go to dlt."""
        most = TABLE_ROWS if self._endpoint.per_user else 0
        return bool(self._pending) and sum(len(batch.rows) for batch in self._pending) >= most

    def _is_over(self) -> bool:
        """Whether this run has read as much as one run may, or will not get any further."""
        if self._access.hopeless:
            return True
        full = self._metrics.get(self._rows_name, 0) >= (self._most or 0) or time.monotonic() > self._deadline
        # what the lookback reads again is no progress: a run that ended there would end there for ever
        return self._most is not None and full and self._progressed

    def _flush(self) -> Iterator[Any]:
        batches, self._pending = self._pending, []
        # what a run finds as it was loaded already, as most do in the lookback, is not loaded again
        news = [batch for batch in batches if not batch.digest or batch.digest != self._recall(batch)]
        if news:
            yield pa.concat_tables([batch.rows for batch in news], promote_options="default")
        if batches and self._endpoint.windowed:
            if self._span is None:
                yield from self._arrivals.write((batch.asked, batch.place, batch.rows) for batch in news)
            proofs = [(batch.place, batch.proof) for batch in batches]
            yield make_scan_windows(self._endpoint, proofs, self._config.api_filters.label)
            self._move_cursors(batches)
            self._reached |= {batch.asked: batch.proof.window.end for batch in batches}
        for batch in news if self._span is None else ():
            self._cursors.note(str(batch.place), batch.digest)
        if batches:
            self._report(batches[-1])
        if rows := self._access.take_rows():
            yield make_user_access(rows)

    def _recall(self, batch: _Batch) -> str:
        return self._cursors.recall(str(batch.place))

    def _move_cursors(self, batches: Sequence[_Batch]) -> None:
        """Take over the newest `start` of each list that is not in the future."""
        for batch in batches if self._span is None else ():
            starts = batch.rows["start"]
            newest = pc.max(starts.filter(pc.less_equal(starts, pa.scalar(self._now, INSTANT)))).as_py()
            name, first = str(batch.place), self._config.first_start(self._now)
            before = self._cursors.find(name)
            self._cursors.move(name, [newest] if newest else [], first, self._now)
            self._progressed = self._progressed or before != self._cursors.find(name)

    def _close(self, histories: Sequence[ReadTask]) -> None:
        """End the run: the round is over, or it goes on in the next run, or something has failed.

        Raises:
            VbcError: a list could not be read, and there is nothing new to be loaded before that is said.
        """
        left = [history.place for history in histories if history.place not in self._done]
        if self._access.failed and (self._most is None or not self._progressed):
            self._access.check()
        unfinished = self._access.failed or (bool(left) and self._is_over())
        self._metrics["unfinished"] = int(unfinished)
        if self._span is None:
            mark = self._now.isoformat() if unfinished else ""
            self._round.done, self._round.reached, self._round.mark = self._done, self._reached, mark
            self._cursors.leave(map(str, left) if unfinished else (), mark)

    def _report(self, batch: _Batch) -> None:
        log.info(
            "%s: %s %s proven complete, %s up to %s, %s requests",
            self._endpoint.name,
            f"{self._metrics[self._rows_name]:,}",
            self._rows_name,
            f"user {batch.place.user}" if batch.place.user else f"account {batch.place.account}",
            format_instant(batch.proof.window.end),
            f"{self._metrics['requests']:,}",
        )
