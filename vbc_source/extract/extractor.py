"""One run over the lists of an endpoint: plan them, read them side by side, write what was read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.api.endpoints import JOBS
from vbc_source.config import SELF
from vbc_source.extract.loaded_rows import LoadedRows
from vbc_source.extract.polling import PolledList, RequestLimit, select_due
from vbc_source.extract.reading.lists import ListOwner, ListReader, ReadTask, resolve
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.refusals import AccessLog
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import make_user_access
from vbc_source.extract.writer import WindowWriter
from vbc_source.schema.pages import PageRows
from vbc_source.windows import Window, format_instant

log = logging.getLogger(__name__)

JOBS_REST = timedelta(days=1)  # of users who never had an export job
OLDEST = datetime.min.replace(tzinfo=timezone.utc)
RUN_SECONDS = 300.0  # a run of bounded size ends after so long, so that a kill costs no more than that


class GapLog:
    """Collects the windows of a run that do not add up."""

    def __init__(self, run: ResourceRun) -> None:
        self._run = run
        # windows, how many more are counted, and whether rows are left out
        self._gaps: dict[ReadTask, list[tuple[Window, int, bool]]] = {}

    def add(self, task: ReadTask, read: ReadWindow[PageRows]) -> None:
        """Add a window that is not proven; windows that touch become one."""
        window, surplus = read.window, read.total_items - read.found
        # rows without a usable id are counted and not loaded, so that their window cannot add up
        unusable = any(page.count > len(page.ids) for page in read.pages)
        gaps = self._gaps.setdefault(task, [])
        if gaps and gaps[-1][0].end == window.start:
            before, counted, left_out = gaps.pop()
            # windows share a second, so that both may have the same recording
            window, surplus = Window(before.start, window.end), max(surplus, counted, key=abs)
            unusable = unusable or left_out
        gaps.append((window, surplus, unusable))

    def report(self) -> None:
        """Log the windows, and put them into the counts of the run."""
        for task, gaps in self._gaps.items():
            for window, surplus, unusable in gaps:
                more = f"{abs(surplus):,} {'more' if surplus > 0 else 'fewer'} than it lists"
                span = f" from {format_instant(window.start)} to {format_instant(window.end)}"
                text = (
                    f"{self._run.endpoint.title} of {task}{span if task.window else ''} do not add up: "
                    f"the API counts {more if surplus else 'differently on each page'}"
                    f"{'; rows without a usable id are left out' if unusable else ''}"
                )
                log.warning("%s; what it lists is loaded", text)
                self._run.metrics.setdefault("gaps", []).append(text)


class ReadPlanner:
    """Plans which lists and windows a run reads, and in which order; time and state are passed in."""

    def __init__(self, run: ResourceRun) -> None:
        self._run, self._cursors = run, run.cursors
        self._progress = self._cursors.read_progress(run.source_id)
        self._unread = self._cursors.unread

    def select(self, tasks: Sequence[ReadTask]) -> list[ReadTask]:
        """Return the lists that are due, and that no earlier run of this source has read to their end."""
        run, names = self._run, self._progress.unread
        rest = run.config.longest_rest
        if names is None and rest and run.endpoint.per_user and run.incremental:
            rest = JOBS_REST if run.endpoint is JOBS else rest
            names = frozenset(select_due(list(map(self._describe_polling, tasks)), run.now, rest))
        return [task for task in tasks if names is None or str(task.owner) in names]

    def _describe_polling(self, task: ReadTask) -> PolledList:
        name, run, cursors = str(task.owner), self._run, self._cursors
        if run.endpoint is JOBS:
            # a company's export is listed under the API user, whose list is read by id once that is known
            own = cursors.expect(f"{task.owner.account}/{SELF}", True)
            is_active = cursors.has_owned(name) or name == own
        else:
            newest = cursors.find(name)
            is_active = newest is not None and run.now - newest <= run.config.active_span
        always = is_active or task.owner.is_self or name in self._unread
        return PolledList(
            name, cursors.find_reading(name), always or bool(cursors.due_gaps(name, run.now, run.now))
        )

    def plan(self, tasks: Sequence[ReadTask]) -> list[ReadTask]:
        """Plan the windows of lists, in this order: those never read, read longest ago, left unread."""
        planned = [task for task in map(self.plan_list, tasks) if task]
        return sorted(planned, key=self._rank)

    def _rank(self, task: ReadTask) -> tuple[bool, datetime, bool]:
        name = str(task.owner)
        read_at = self._cursors.find_reading(name)
        # the list of a user who never recorded has no cursor, although it was read
        is_known = bool(self._cursors.find(task.expected) or read_at or not self._run.endpoint.windowed)
        return is_known, read_at or OLDEST, name not in self._unread

    def plan_list(self, task: ReadTask) -> ReadTask | None:
        """Plan the window of a list; None where there is nothing to read."""
        name, run = str(task.owner), self._run
        expected = task.expected or self._cursors.expect(name, task.owner.is_self)
        if not run.endpoint.windowed:
            return replace(task, expected=expected)
        window, gaps = run.window, tuple[Window, ...]()
        if run.incremental:
            config = run.config
            first, chosen = config.first_start(run.now), config.start is not None
            window = self._cursors.plan(expected, first, run.now, config.lookback, chosen=chosen)
            gaps = self._cursors.due_gaps(expected, window.start, run.now) if window else ()
            if window and (reached := self._progress.reached.get(name)):
                # an earlier run of this source has read the lookback already
                window = Window(max(window.start, reached), window.end)
        window = run.config.filters_of(run.endpoint.name).narrow(window)
        return replace(task, expected=expected, window=window, gaps=gaps) if window else None


class Extractor:
    """One run of a resource."""

    def __init__(
        self,
        run: ResourceRun,
        reader: ListReader,
        access: AccessLog,
        learn: Callable[[str], None],
        requests: RequestLimit,
    ) -> None:
        self._run, self._reader, self._access, self._learn = run, reader, access, learn
        # a run without state has nothing to continue from, so it reads all
        self._request_limit = requests if run.incremental else RequestLimit(None)
        self._planner, self._loaded = ReadPlanner(run), LoadedRows(run)
        self._writer, self._gaps = WindowWriter(run, self._loaded), GapLog(run)
        self._deadline = time.monotonic() + RUN_SECONDS
        self._row_limit = run.config.rows_per_run if run.incremental else None
        self._window_pages: int | None = None
        self._finished: set[ListOwner] = set()
        self._again: dict[ListOwner, ReadTask] = {}  # `self` that turned out to be another list
        self._requested: dict[ListOwner, ListOwner] = {}  # by real owner: as whom the list was requested
        self._owners: dict[ListOwner, ListOwner] = {}  # by list as requested: whose it is
        self._unowned: dict[ListOwner, list[ReadWindow[PageRows]]] = {}  # empty, of a `self` still unknown

    def read(self, tasks: Sequence[ReadTask]) -> Iterator[Any]:
        """Read lists side by side, and yield tables."""
        is_first = self._run.cursors.read_progress(self._run.source_id).unread is None
        self._request_limit.begin(leave_half=is_first and self._run.endpoint is not JOBS)
        selected = self._planner.select(tasks)
        start, now = self._run.config.start, self._run.now
        if self._run.incremental and self._run.endpoint.windowed and start and start > now:
            name = self._run.endpoint.name
            log.warning("start_date %s is in the future: no %s are read", format_instant(start), name)
        todo = self._plan(selected)
        # a second round where `self` turned out to be a list with a history of its own,
        # which only a response tells
        while todo and not self._is_over():
            self._again = {}
            yield from self._read_lists(todo)
            todo = list(self._again.values())
        self._writer.release()
        yield from self._flush()
        self._gaps.report()
        self._close([task.owner for task in selected if task.owner not in self._finished])

    def _plan(self, tasks: Sequence[ReadTask]) -> list[ReadTask]:
        """Plan the windows; cursors that the destination does not support are set back first."""
        planned = self._planner.plan(tasks)
        self._loaded.plan(planned if self._run.incremental else ())
        # what an earlier run of this source has read, it has seen in the destination
        reached = self._run.cursors.read_progress(self._run.source_id).reached
        return self._planner.plan(tasks) if self._loaded.set_cursors_back(list(reached)) else planned

    def _read_lists(self, todo: Sequence[ReadTask]) -> Iterator[Any]:
        threads = self._run.config.max_concurrency
        self._window_pages = self._request_limit.share_pages(min(len(todo), threads))
        # after an interrupt the client is closed, which wakes the threads that wait for the rate limit
        with RequestPool(threads, self._reader.client.close) as pool:
            windows = pool.read(todo, lambda task: self._scan(task, pool))
            for task, item in windows:
                # of a list that is planned again, windows of the old plan still arrive
                if task.owner in self._finished or task.owner in self._again:
                    continue
                if not isinstance(item, Exception):
                    self._access.record_answer()
                    self._take(task, item)
                elif self._access.judge(task, item):
                    self._finished.add(task.owner)
                if self._writer.is_due:
                    yield from self._flush()
                # leaving the pool cancels what is not sent yet; draining it, below,
                # still takes in what was begun
                if self._access.hopeless:
                    return
                if self._is_over():
                    pool.drain()

    def _scan(self, task: ReadTask, pool: RequestPool) -> Generator[ReadWindow[PageRows], None, None]:
        """Read a list, unless the run has used its requests.

        When the requests are used, a list that was begun is read on until its cursor has moved, and at least
        half of its requests were for windows after the cursor. Otherwise the runs of a long history would
        read the lookback again and again.
        """
        if self._request_limit.admit():
            cursor = self._run.cursors.find(task.expected)
            run = self._run
            moved, repeated_requests, new_requests = False, 0, 0
            for read in self._reader.scan(run.endpoint, task, run.now, pool, self._window_pages):
                yield read
                if self._window_pages is None:
                    continue  # no limit, so nothing to count
                moved = moved or _has_newer(cursor, read)
                is_new = cursor is None or read.window.start >= cursor
                repeated_requests += read.requests * (not is_new)
                new_requests += read.requests * is_new
                if self._request_limit.is_over and moved and new_requests >= repeated_requests:
                    return

    def _take(self, task: ReadTask, read: ReadWindow[PageRows]) -> None:
        """Take a window of a list; one without rows or links waits for one that says whose list it is."""
        windows = [*self._unowned.pop(task.owner, ()), read]
        owner = resolve(task.owner, read) or self._owners.get(task.owner)
        if owner is None:
            self._unowned[task.owner] = windows
        elif not self._take_all(task, owner, windows):
            return
        if task.window is None or read.window.end >= task.window.end:  # windows come oldest first
            if owner is None:
                log.warning(
                    "self has no %s yet, and the gateway does not say who it is", self._run.endpoint.name
                )
            self._finish(task)

    def _take_all(self, task: ReadTask, owner: ListOwner, windows: Sequence[ReadWindow[PageRows]]) -> bool:
        """Take windows of an owner's list; returns whether the list is the one that was planned."""
        run = self._run
        self._owners[task.owner] = owner
        if task.owner.account == SELF:
            self._learn(owner.account)
        is_new = owner not in self._requested
        duplicate = self._requested.setdefault(owner, task.owner) != task.owner
        if task.owner.is_self and run.incremental:
            run.cursors.remember(str(task.owner), str(owner))
        if duplicate:  # requested by its number and as `self`: the other one loads it
            run.count(requests=sum(read.requests for read in windows))
        elif is_new and self._is_misplanned(task, owner):
            self._plan_again(task, owner)
            return False
        else:
            for read in windows:
                self._write(task, owner, read)
        return True

    def _write(self, task: ReadTask, owner: ListOwner, read: ReadWindow[PageRows]) -> None:
        run = self._run
        self._writer.add(task, owner, read)
        if run.incremental and run.endpoint is JOBS and read.found:
            run.cursors.record_owner(str(owner))
        counts = {"windows": 1, "requests": read.requests}
        run.count(**counts, **{run.endpoint.shape.collection: read.found})
        if not read.is_proven:
            self._gaps.add(task, read)

    def _finish(self, task: ReadTask) -> None:
        self._access.allow(task)
        self._run.count(users=int(self._run.endpoint.windowed and self._run.endpoint.per_user))
        self._finished.add(task.owner)

    def _is_misplanned(self, task: ReadTask, owner: ListOwner) -> bool:
        """Whether `self` is another list than the one whose cursor was used."""
        cursors = self._run.cursors
        resolved = task.owner.is_self and self._run.incremental
        return resolved and cursors.find(str(owner)) != cursors.find(task.expected)

    def _plan_again(self, task: ReadTask, owner: ListOwner) -> None:
        log.info("self is %s now: reading its own history", owner)
        if planned := self._planner.plan_list(replace(task, expected=str(owner))):
            self._again[task.owner] = planned
        else:
            self._finish(task)

    def _flush(self) -> Iterator[Any]:
        yield from self._writer.flush()
        if rows := self._access.take_rows():
            yield make_user_access(rows)

    @property
    def _progressed(self) -> bool:
        """Whether the next run has less to read.

        Reading the lookback again is no progress: every later run would end at the same place.
        """
        return self._writer.moved_cursors or bool(self._finished)

    def _is_over(self) -> bool:
        """Whether this run has read as much as one run may, or cannot read more."""
        if self._access.hopeless:
            return True
        rows, limit = self._run.metrics.get(self._run.endpoint.shape.collection, 0), self._row_limit
        return limit is not None and self._progressed and (rows >= limit or time.monotonic() > self._deadline)

    def _close(self, left: Sequence[ListOwner]) -> None:
        """End the run: all lists are read, or the next run continues, or something has failed."""
        run = self._run
        if self._access.failed and (self._row_limit is None or not self._progressed):
            self._access.check()
            return  # they are reported at the end; without progress there is none to store
        if run.incremental:
            self._store_readings()
        if self._access.failed or (left and (self._is_over() or self._request_limit.is_over)):
            run.cursors.store_progress(run.source_id, map(str, left), self._writer.reached)
            run.count(left=len(left))
        else:
            run.cursors.clear_progress()
        if self._request_limit.is_spent:
            run.metrics["spent"] = self._request_limit.count_sent()

    def _store_readings(self) -> None:
        """Store when lists were read, where they take turns."""
        config, cursors = self._run.config, self._run.cursors
        if config.longest_rest or config.max_requests:
            cursors.record_readings(map(str, self._finished), self._run.now)
        else:
            cursors.forget_readings()


def _has_newer(cursor: datetime | None, read: ReadWindow[PageRows]) -> bool:
    """Whether a window has rows newer than the cursor: without any, the next run would read the same again.

    Judged by the pages: the table, whose rows move the cursor (`writer`), is built later, in another thread.
    """
    seconds = (second for page in read.pages for second in page.seconds().values() if second is not None)
    newest = max(filter(read.window.holds, seconds), default=None)
    return newest is not None and (cursor is None or newest > cursor.timestamp())
