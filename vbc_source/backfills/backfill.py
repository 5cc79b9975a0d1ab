"""A backfill in windows: prepare, plan, load each window, finish.

Each step takes and returns what JSON can hold, so that a scheduler may run it anywhere; `vbc backfill` and
the Airflow DAG call the same four.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from vbc_source.backfills.owners import resolve_self
from vbc_source.backfills.window_load import (
    WindowResult,
    WindowTask,
    cut_windows,
    limit_workers,
    load_windows,
    make_task,
    window_of,
)
from vbc_source.config import load_config
from vbc_source.errors import UsageError, VbcError
from vbc_source.extract.refusals import Refusals
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.load.parts import APPENDING, hold_part
from vbc_source.load.progress import write_time
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.source import empty_tables
from vbc_source.warehouse.completeness import KEYS, count_rows, find_unproven
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window, check_order

log = logging.getLogger(__name__)

SHORTEST_DAYS, LONGEST_DAYS = 1 / 24, 36_525.0  # of a window
# destinations that take loads side by side; the others get one loader
SIDE_BY_SIDE = ("postgres", "redshift", "snowflake", "bigquery", "databricks", "mssql", "filesystem")


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """What a backfill loaded.

    Attributes:
        windows: Windows that were loaded.
        rows: Rows that the destination holds of them, by resource.
        requests: List requests sent.
        gaps: Spans that were read and do not add up; what VBC lists of them is loaded.
        refused: What the API user may not read; the rest is loaded.
        ok: Whether all that was asked for could be read, and is proven complete.
    """

    windows: int
    rows: dict[str, int]
    requests: int
    gaps: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    ok: bool = True

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        rows = ", ".join(f"{count:,} {name}" for name, count in self.rows.items())
        loaded = f"{self.windows} window(s) loaded, which hold {rows or 'nothing'}."
        refused = (f"NOT ALLOWED: {text}." for text in self.refused)
        return [loaded, *(f"KNOWN GAP: {gap}." for gap in self.gaps), *refused]


def backfill(
    target: Target,
    start: datetime,
    end: datetime,
    days: float = 30,
    *,
    workers: int = 1,
    resources: Sequence[str] = (),
    report: Callable[[str], None] = log.info,
) -> BackfillResult:
    """Load what is not proven complete of a span, on this machine; run it again to continue where it stopped.

    Args:
        target: Where to load.
        start: Oldest `start` to read.
        end: Newest `start` to read.
        days: Length of a window in days, fractions included.
        workers: Windows to load at the same time, where the destination allows that.
        resources: Names of the resources to load; all unless given.
        report: Receives lines for the user.

    Returns:
        What was loaded; `ok` says whether all of it was read and is proven complete.

    Raises:
        UsageError: `start` is after `end`, or `days` is less than an hour, or more than a hundred years.
        VbcError: The backfill failed; windows that were loaded until then stay.
    """
    check_order(start, end)
    check_days(days)
    # a second backfill would plan the same windows; `vbc sync` has a lock of its own
    with hold_pipeline_lock(f"{target.pipeline}_backfill"):
        with explaining():
            config, kind = load_config(), LoadedTables(target).kind
        if kind not in SIDE_BY_SIDE and workers > 1:
            report(f"{kind} takes one loader: the windows are loaded one after another.")
        workers = limit_workers(config, workers) if kind in SIDE_BY_SIDE else 1
        refusals = Refusals()
        names = prepare_backfill(target, end, resources, refusals)
        tasks = plan_backfill(target, start, end, days, names)
        report(f"{len(tasks)} window(s) are not proven complete, {min(workers, len(tasks))} at once.")
        results: list[WindowResult] = []
        started, rows = time.monotonic(), 0
        for result in load_windows(target, tasks, workers):
            results.append(result)
            rows += sum(result["rows"].values())
            left = write_time((len(tasks) / len(results) - 1) * (time.monotonic() - started))
            text = f"{len(results):,} of {len(tasks):,} windows, {rows:,} recordings"
            log.info("backfill: %s, %s left", text, left)
        finished = finish_backfill(target, results)
        refused = tuple(dict.fromkeys(filter(None, (refusals.describe(), *finished.refused))))
        return replace(finished, refused=refused, ok=finished.ok and not refused)


def check_days(days: float) -> None:
    """Refuse windows that are too long, and windows so short that their list would fill the memory."""
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        raise UsageError(f"a window is an hour (0.042 days) to a hundred years long, not {days:g} days")


def prepare_backfill(
    target: Target, end: datetime, resources: Sequence[str] = (), refusals: Refusals | None = None
) -> list[str]:
    """Create the tables, and load the lists that have no windows: users, extensions, export jobs.

    Args:
        target: Where to load.
        end: End of the backfill.
        resources: Names of the resources to load; all unless given.
        refusals: Receives what the API user may not read, which is only logged unless given.

    Returns:
        The names of the resources that have windows.

    Raises:
        VbcError: A load failed. A refused login is found here, before many workers try it.
    """
    source = make_source(resources, end_date=end)
    windowed = [name for name in KEYS if name in source.selected_resources]
    if not windowed:
        raise UsageError(f"a backfill reads {' or '.join(KEYS)}: name at least one of them")
    others = [name for name in source.selected_resources if name not in KEYS]
    with hold_part(target, "init") as pipeline:
        # before windows are loaded side by side: dlt would create the same tables in each of them at once
        run_pipeline(pipeline, empty_tables(windowed))
        if others:
            found = Refusals() if refusals is None else refusals
            run_pipeline(pipeline, source.with_resources(*others), refusals=found)
            if refusals is None and (text := found.describe()):
                log.warning("%s", text)
    return windowed


def plan_backfill(
    target: Target, start: datetime, end: datetime, days: float, resources: Sequence[str]
) -> list[WindowTask]:
    """Return the windows that are not proven complete for each of their lists.

    Args:
        target: Where to load; `prepare_backfill` has created the tables there.
        start: Oldest `start` to read.
        end: Newest `start` to read; what is later than now is left out.
        days: Length of a window in days, fractions included.
        resources: Names of the resources that have windows, as `prepare_backfill` returns them.

    Returns:
        The windows, oldest first, as values that JSON can hold.

    Raises:
        UsageError: `start` is after `end`, or `days` is less than an hour, or more than a hundred years.
        VbcError: The destination could not be queried.
    """
    check_order(start, end)
    check_days(days)
    with explaining():
        loaded = LoadedTables(target)
        config = resolve_self(load_config(), loaded)
    # beyond the bounds of the filters nothing is read, so no window there could ever be proven
    narrowed = [config.filters_of(name).narrow(Window(start, end)) for name in resources]
    spans = [span for span in narrowed if span]
    first, last = (
        min((span.start for span in spans), default=end),
        max((span.end for span in spans), default=start),
    )
    windows = cut_windows(first, last, datetime.now(timezone.utc), days) if spans else []
    unproven = find_unproven(loaded, config, windows, resources)
    log.info("%d of %d windows are to be loaded", len(unproven), len(windows))
    return [make_task(window, names) for window, names in unproven]


def finish_backfill(target: Target, results: Sequence[WindowResult]) -> BackfillResult:
    """Count what the destination holds of the windows that were loaded.

    Args:
        target: Where they were loaded.
        results: What `load_window` returned for each window.

    Returns:
        The sum of the results; `ok` says whether all of it was read and is proven complete.

    Raises:
        VbcError: A window lacks rows that were read, or holds some twice.
    """
    loaded, rows = LoadedTables(target), dict[str, int]()
    for name in KEYS:
        windows = [result for result in results if name in result["resources"]]
        counts = count_rows(loaded, name, [window_of(result) for result in windows])
        for index, result in enumerate(windows):
            (copies, distinct), read = counts.get(index, (0, 0)), result["rows"][name]
            repeated = 0 if loaded.kind in APPENDING else copies - distinct
            # more than were read are right: a sync may have loaded late ones meanwhile
            if distinct < read or repeated:
                raise VbcError(
                    f"{name} of the window {result['start']}/{result['end']}: {read:,} rows were read, "
                    f"{distinct:,} are in the destination, {repeated:,} of them twice; load the window again"
                )
            rows[name] = rows.get(name, 0) + distinct
    gaps = tuple(gap for result in results for gap in result.get("gaps", ()))  # of an earlier version: none
    requests = sum(result["requests"] for result in results)
    refused = tuple(dict.fromkeys(filter(None, (result.get("refused", "") for result in results))))
    return BackfillResult(len(results), rows, requests, gaps, refused, ok=not (gaps or refused))
