"""A backfill in windows: prepare, plan, load each window, finish.

Every step takes and gives what JSON can write, so that a scheduler may run each anywhere; `vbc backfill`
and the Airflow DAG call the same four.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TypedDict

from vbc_source.backfills.window_load import (
    APPENDING,
    Target,
    WindowResult,
    WindowTask,
    limit_workers,
    load_window,
    make_task,
    open_part,
    read_window,
)
from vbc_source.backfills.workers import load_windows
from vbc_source.config import load_config
from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.database_lock import find_kind
from vbc_source.load.failures import explaining
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.load.progress import WindowProgress
from vbc_source.load.sync import open_pipeline, open_source, run_pipeline
from vbc_source.source import empty_tables
from vbc_source.warehouse.coverage import cut_windows
from vbc_source.warehouse.proven import KEYS, count_rows, find_left
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window

__all__ = [
    "BackfillResult",
    "Target",
    "WindowResult",
    "WindowTask",
    "backfill",
    "finish",
    "load_window",
    "plan",
    "prepare",
]

log = logging.getLogger(__name__)

# destinations that take loads side by side; the others get one loader
SIDE_BY_SIDE = ("postgres", "redshift", "snowflake", "bigquery", "databricks", "mssql", "filesystem")


class BackfillResult(TypedDict):
    """What a backfill has loaded: windows, their rows by resource, and list requests."""

    windows: int
    rows: dict[str, int]
    requests: int


def backfill(
    target: Target,
    start: datetime,
    end: datetime,
    days: float,
    *,
    workers: int,
    resources: Sequence[str] = (),
    tell: Callable[[str], None],
) -> BackfillResult:
    """Load what is not proven complete of a span, on this machine; again, to go on where it stopped.

    Args:
        target: where to.
        start: the oldest `start` to read.
        end: the newest.
        days: how long a window is.
        workers: windows to load at once, where the destination allows that.
        resources: those wanted; all unless given.
        tell: prints a line.

    Raises:
        VbcError: what stopped it; windows that were loaded until then stay.
    """
    with hold_pipeline_lock(f"{target.pipeline}_backfill"):
        kind = find_kind(open_pipeline(target.pipeline, target.destination, target.dataset))
        if kind not in SIDE_BY_SIDE and workers > 1:
            tell(f"{kind} takes one loader: the windows are loaded one after another.")
        workers = limit_workers(load_config(), workers) if kind in SIDE_BY_SIDE else 1
        tasks = plan(target, start, end, days, prepare(target, end, resources))
        tell(f"{len(tasks)} window(s) are not proven complete, {min(workers, len(tasks))} at once.")
        done: list[WindowResult] = []
        progress = WindowProgress(len(tasks))
        for each in load_windows(target, tasks, workers):
            done.append(each)
            progress.count(sum(each["rows"].values()))
        return finish(target, done)


def prepare(target: Target, end: datetime, resources: Sequence[str] = ()) -> list[str]:
    """Make the tables, and load the lists that have no windows: users, extensions, export jobs.

    Args:
        target: where to.
        end: of the backfill.
        resources: those wanted; all unless given.

    Returns:
        The resources that have windows.

    Raises:
        VbcError: what stopped it. A login that is refused is found out here, before many try it.
    """
    source = open_source(None, end, resources)
    windowed = [name for name in KEYS if name in source.selected_resources]
    if not windowed:
        raise SettingsError(f"a backfill reads {' or '.join(KEYS)}: name at least one of them")
    others = [name for name in source.selected_resources if name not in KEYS]
    with open_part(target, "init") as pipeline:
        run_pipeline(pipeline, empty_tables(windowed))
        if others:
            run_pipeline(pipeline, source.with_resources(*others))
    return windowed


def plan(
    target: Target, start: datetime, end: datetime, days: float, resources: Sequence[str]
) -> list[WindowTask]:
    """Say which windows are left: those that are not proven complete for each of their lists.

    A proof counts for what was older than the lookback when it was read: in what was younger, later
    recordings may have appeared since.

    Args:
        target: where to; `prepare` has made the tables there.
        start: the oldest `start` to read.
        end: the newest; what is later than now is left out.
        days: how long a window is.
        resources: those that have windows, as `prepare` gives them.

    Raises:
        VbcError: the destination could not be asked.
    """
    with explaining():
        config = load_config()
    whole = config.api_filters.narrow(Window(start, end))
    windows = cut_windows(whole.start, whole.end, datetime.now(timezone.utc), days) if whole else []
    with open_part(target, "plan") as pipeline:
        left = find_left(LoadedTables(pipeline, ""), config, windows, resources)
    log.info("%d of %d windows are left to be loaded", len(left), len(windows))
    return [make_task(window, names) for window, names in left]


def finish(target: Target, done: Sequence[WindowResult]) -> BackfillResult:
    """Count what the destination holds of the windows that were loaded.

    Raises:
        VbcError: a window lacks rows that were read, or holds some twice.
    """
    tally = BackfillResult(windows=len(done), rows={}, requests=sum(each["requests"] for each in done))
    with open_part(target, "plan") as pipeline:
        loaded, appends = LoadedTables(pipeline, ""), find_kind(pipeline) in APPENDING
        for name in KEYS:
            mine = [each for each in done if name in each["resources"]]
            found = count_rows(loaded, name, [read_window(each) for each in mine])
            for place, each in enumerate(mine):
                copies, rows = found.get(place, (0, 0))
                _check(name, each, rows, 0 if appends else copies - rows)
                tally["rows"][name] = tally["rows"].get(name, 0) + rows
    return tally


def _check(name: str, done: WindowResult, rows: int, again: int) -> None:
    read = done["rows"][name]
    if rows < read or again:
        raise VbcError(
            f"{name} of the window {done['start']}/{done['end']}: {read:,} rows were read, {rows:,} are "
            f"there, {again:,} of them again; load the window once more"
        )
