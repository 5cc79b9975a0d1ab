"""The windows of a backfill, each loaded with a pipeline of its own, side by side in processes.

The tables are created before. A worker is a process: dlt keeps its state and its settings for each process.

Windows are half open here, unlike the API's: a window owns what starts before its end, and what starts at the
end belongs to its neighbour. So two windows that are loaded at the same time never write the same row.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from multiprocessing.connection import Connection, wait
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.backfills.owners import resolve_self
from vbc_source.config import VbcConfig, load_config
from vbc_source.errors import SettingsError, VbcError
from vbc_source.extract.refusals import Refusals
from vbc_source.load.destinations import Target, destination_kind
from vbc_source.load.failures import explaining
from vbc_source.load.parts import APPENDING, hold_part
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.schema.columns import INSTANT
from vbc_source.tenants import current_tenant, hold_tenant
from vbc_source.warehouse.completeness import find_unproven
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import SECOND, Window, floor_second, format_instant, parse_instant

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # for a window whose worker died, or whose load failed in the database


class WindowTask(TypedDict):
    """A window to load, as JSON.

    Attributes:
        key: A short name, the same for the same window.
        start: Its first instant, ISO.
        end: The instant after its last, ISO.
        resources: Which resources to read.
    """

    key: str
    start: str
    end: str
    resources: list[str]


class WindowResult(WindowTask):
    """A loaded window, as JSON.

    Attributes:
        rows: Rows of the window by resource.
        requests: List requests sent.
        seconds: How long it took.
        gaps: Spans of it that do not add up.
        refused: What the API user may not read of it; empty where that is all.
    """

    rows: dict[str, int]
    requests: int
    seconds: float
    gaps: list[str]
    refused: str


def cut_windows(start: datetime, end: datetime, now: datetime, days: float) -> list[Window]:
    """Cut a span, including its last second, into windows of `days` days; nothing later than now."""
    # half open, so a second later than asked; nothing later than now, as that proves nothing yet
    first, last = floor_second(start), min(floor_second(end) + SECOND, floor_second(now))
    windows = []
    while first < last:
        cut = min(first + timedelta(days=days), last)
        windows.append(Window(first, cut))
        first = cut
    return windows


def window_key(window: Window) -> str:
    """Return a short name, the same for the same window; fit to be part of a dataset's name."""
    return f"{window.start:%Y%m%d}_{hashlib.sha256(str(window).encode()).hexdigest()[:8]}"


def make_task(window: Window, resources: list[str]) -> WindowTask:
    """Make the task of loading a window."""
    start, end = format_instant(window.start), format_instant(window.end)
    return WindowTask(key=window_key(window), start=start, end=end, resources=resources)


def window_of(task: WindowTask) -> Window:
    """Return the window of a task."""
    return Window(parse_instant(task["start"]), parse_instant(task["end"]))


def load_window(target: Target, task: WindowTask, share: int = 1) -> WindowResult:
    """Load a window; repeating it changes nothing.

    Args:
        target: Where to load; `prepare_backfill` has created the tables there.
        task: The window.
        share: How many windows are loaded at the same time: each gets that part of the request budget.

    Returns:
        Rows, requests, gaps and refusals of the window, as values that JSON can hold.

    Raises:
        VbcError: The load failed; nothing of the window counts as proven then. Lists that the API user may
            not read stop nothing: `refused` of the result names them.
    """
    window, resources = window_of(task), task["resources"]
    with explaining():
        config = load_config()
    budget = divide_budget(config, share)
    source = make_source(resources, start_date=window.start, end_date=window.end, **budget)
    filters = {name: _OwnRows(window, datetime.now(timezone.utc)) for name in resources}
    for name, own in filters.items():
        # it runs before `ChildTables`, so the rows of lists come and go with their recordings
        source.resources[name].add_map(own)
    requests, seconds, gaps, refusals = 0, 0.0, list[str](), Refusals()
    with hold_part(target, task["key"]) as pipeline:
        # a lake gets a window again only where it is not proven, since it cannot replace rows
        appends = destination_kind(pipeline.destination) in APPENDING
        loaded = LoadedTables(target, locked=True)
        if not appends or find_unproven(loaded, resolve_self(config, loaded), [window], resources):
            result = run_pipeline(pipeline, source, task["key"], refusals)
            requests, seconds, gaps = result.requests, result.seconds, list(result.gaps)
    rows = {name: own.rows for name, own in filters.items()}
    refused = refusals.describe()
    return WindowResult(**task, rows=rows, requests=requests, seconds=seconds, gaps=gaps, refused=refused)


class _OwnRows:
    """Keeps the rows that start before the end of a window, and counts those that start in it.

    The API is asked for both bounds, so that no fraction of a second between two windows is lost. But two
    loads that merge the same row at the same time would leave it there twice. A row that starts in no window
    (no readable `start`, or one in the future) is kept, and not counted.
    """

    def __init__(self, window: Window, now: datetime) -> None:
        self._start, self._end = pa.scalar(window.start, INSTANT), pa.scalar(window.end, INSTANT)
        self._now = pa.scalar(now, INSTANT)
        self.rows = 0

    def __call__(self, table: pa.Table) -> pa.Table:
        if "start" not in table.column_names:
            return table  # a ledger, such as scan_windows
        starts = table["start"]
        before = pc.less(starts, self._end)
        inside = pc.and_(before, pc.greater_equal(starts, self._start))
        self.rows += pc.sum(inside).as_py() or 0
        # a comparison with a missing `start` is null, and a filter drops the row of a null
        return table.filter(pc.fill_null(pc.or_(before, pc.greater(starts, self._now)), True))


def limit_workers(config: VbcConfig, workers: int) -> int:
    """Return how many workers can share the request budget."""
    return min(workers, config.requests_per_minute or workers)


def divide_budget(config: VbcConfig, share: int) -> dict[str, int]:
    """Divide the settings' limits among processes, which may run on several machines.

    Raises:
        SettingsError: There are fewer requests a minute than processes.
    """
    budget, divided = config.requests_per_minute, {"max_concurrency": max(1, config.max_concurrency // share)}
    if budget is None:
        return divided
    if budget < share:
        raise SettingsError(
            f"{share} workers cannot share {budget} requests a minute (requests_per_minute): "
            f"use {budget} workers at most"
        )
    return divided | {"budget_share": share}


Load = Callable[[Target, WindowTask, int], WindowResult]


def load_windows(
    target: Target, tasks: Sequence[WindowTask], workers: int, load: Load = load_window
) -> Iterator[WindowResult]:
    """Load windows, `workers` at the same time, and yield each when it is done; one worker is this process.

    Where a window cannot be loaded, those in progress are stopped; the next backfill loads them again.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield load(target, task, 1)
        return
    crew = [_Worker(target, workers, load) for _ in range(workers)]
    try:
        yield from _work_through(deque((task, 1) for task in tasks), crew)
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process that loads one window after another."""

    def __init__(self, target: Target, share: int, load: Load) -> None:
        # with the tenant, since a spawned process does not know which one was chosen here
        self._arguments = (target, share, load, current_tenant())
        self.task: WindowTask | None = None
        self.attempt = 0
        self._start()

    def _start(self) -> None:
        # spawned, not forked: a fork would copy threads' locks, and connections that two processes then use
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_pipe, *self._arguments))
        self._process.start()
        child_pipe.close()  # else the end of the process would not close the pipe here

    def give(self, task: WindowTask, attempt: int) -> None:
        """Start loading a window."""
        self.task, self.attempt = task, attempt
        self.pipe.send(task)

    def take(self) -> WindowResult | Exception:
        """Return the window's result; a process that died is replaced."""
        self.task = None
        try:
            return self.pipe.recv()  # type: ignore[no-any-return] # it is what `_serve` sends
        except (EOFError, ConnectionError):
            self.stop()
            self._start()
            return VbcError("its worker process was killed")

    def stop(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work_through(todo: deque[tuple[WindowTask, int]], crew: Sequence[_Worker]) -> Iterator[WindowResult]:
    while True:
        for worker in crew:
            if worker.task is None and todo:
                worker.give(*todo.popleft())
        busy = {worker.pipe: worker for worker in crew if worker.task is not None}
        if not busy:
            return
        # a process that dies closes its end of the pipe, which ends this wait as well
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index] # wait() returns what it was given
            task, attempt = worker.task, worker.attempt
            result = worker.take()
            if not isinstance(result, Exception):
                yield result
            elif task is not None:
                todo.append(retry_window(task, attempt, result))


def retry_window(task: WindowTask, attempt: int, error: Exception) -> tuple[WindowTask, int]:
    """Return the window and the number of its next attempt.

    Raises:
        VbcError: It is not worth another, or has had all of them; the message says which window it is.
    """
    text = f"the window {task['start']}/{task['end']}: {error}"
    # a failed load and a dead worker are plain VbcErrors; classes derived from it name a setting, a right, or
    # a gateway that was retried already
    if type(error) is not VbcError or attempt >= MAX_ATTEMPTS:
        raise VbcError(text) from None
    log.warning("%s; it is loaded again", text)
    return task, attempt + 1


def _serve(pipe: Connection, target: Target, share: int, load: Load, tenant: str | None) -> None:
    """Load the windows that are sent, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first ends the others
    while True:
        try:
            task: Any = pipe.recv()
        except (EOFError, ConnectionError):
            return
        result: WindowResult | Exception
        try:
            with hold_tenant(tenant):
                result = load(target, task, share)
        except Exception as error:
            # an exception class with arguments of its own may not survive pickling
            result = (VbcError if type(error) is VbcError else RuntimeError)(str(error))
        pipe.send(result)
