"""Run a pipeline: load what an earlier run left, then what is new, in loads of bounded size."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dlt
from dlt.extract import DltSource

from vbc_source.api.endpoints import COMPANY, ON_DEMAND
from vbc_source.api.turns import take_turns
from vbc_source.config import check_names, has_setting
from vbc_source.errors import UsageError
from vbc_source.extract.refusals import Refusals, collect_refusals
from vbc_source.extract.state import PROGRESS_MARK
from vbc_source.lakes.tables import is_lake
from vbc_source.load.compaction import compact_when_due
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import hold_dataset_lock, open_turns
from vbc_source.load.pipelines import adopt_stored_schema, hold_pipeline, keep_connected, keep_interrupts
from vbc_source.load.run_history import record_run
from vbc_source.load.stored_states import remove_old_states
from vbc_source.source import vbc_source

ROWS_PER_RUN = 250_000  # recordings in one load: bounds memory and what a kill costs, whatever the backlog


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did.

    Attributes:
        recordings: Recordings read and proven complete; those of the lookback are counted each time.
        loaded: Rows of recordings sent to the destination; none where the lookback has brought nothing new.
        windows: Windows they were read in.
        users: Users whose own lists were read to the end.
        requests: List requests sent.
        forbidden: Accounts and users left out because the API user may not read them.
        not_found: Users left out because the API no longer knows them.
        finished_earlier: Load packages of an earlier, failed run that were loaded first.
        gaps: Windows that were read and do not add up; what VBC lists of them is loaded.
        stopped_after: Requests after which `max_requests` ended it; None where it read all that was due.
        left: Lists that it left to the next run then.
        seconds: How long it took.
        ok: Whether everything that was read is proven complete.
        call_logs: Legs of calls read; those of the lookback are counted each time.
    """

    recordings: int
    loaded: int
    windows: int
    users: int
    requests: int
    forbidden: tuple[str, ...]
    not_found: tuple[str, ...]
    finished_earlier: int
    seconds: float
    gaps: tuple[str, ...] = ()
    ok: bool = True
    stopped_after: int | None = None
    left: int = 0
    call_logs: int = 0

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        lines = []
        if self.finished_earlier:
            lines.append(f"Loaded {self.finished_earlier} package(s) that an earlier run had left.")
        lines.append(
            f"{self.recordings:,} recordings read{' and proven complete' if self.ok else ''} in "
            f"{self.windows} window(s), the own lists of {self.users} user(s) included, "
            f"{self.requests} list request(s), {self.seconds:.1f} s."
        )
        if self.call_logs:
            lines.append(f"{self.call_logs:,} legs of calls read.")
        for reason, titles in (("forbidden", self.forbidden), ("no longer known", self.not_found)):
            if titles:
                lines.append(f"Left out, {reason}: {', '.join(titles)}.")
        if self.stopped_after is not None:
            lines.append(
                f"Stopped after {self.stopped_after:,} requests; {self.left:,} lists left: the next run "
                "continues with them."
            )
        return [*lines, *(f"KNOWN GAP: {gap}." for gap in self.gaps)]


def sync(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
    resources: Sequence[str] = (),
    fresh: bool = False,
    max_requests: int | None = None,
) -> SyncResult:
    """Load what is new, with settings from dlt's configuration.

    Args:
        target: Where to load.
        start_date: Oldest `start` to read; overrides the setting.
        end_date: Newest `start` to read: a backfill of a fixed span, without state.
        resources: Names of the resources to load; all unless given.
        fresh: Drop the pipeline's working folder first. For workers that do not share a disk: what a killed
            run left there may be older than what another worker has loaded since.
        max_requests: Stop after about this many requests; the next run continues there. Not with `end_date`:
            there is no state to continue from.

    Returns:
        What was read and loaded. What could not be read is in `forbidden`, `not_found` and `gaps`.

    Raises:
        UsageError: `max_requests` was given with `end_date`.
        VbcError: The run failed; the message names the reason, and what to change. The next run continues.
    """
    if max_requests is not None and end_date is not None:
        raise UsageError("--max-requests needs state to continue from; a run with --end-date has none")
    source = make_source(resources, start_date=start_date, end_date=end_date, max_requests=max_requests)
    # recorded first: a run that waits in vain for the pipeline has failed, too
    with record_run(target), hold_pipeline(target, fresh=fresh) as pipeline:
        result = run_pipeline(pipeline, source)
        if is_lake(pipeline):
            compact_when_due(target)
        return result


def make_source(resources: Sequence[str] = (), **settings: Any) -> DltSource:
    """Make the source from dlt's configuration; settings override it, except where they are None.

    Raises:
        SettingsError: A setting is missing or malformed.
        UsageError: There is no such resource.
    """
    with explaining():
        check_names()
        if not has_setting("rows_per_run"):
            # for the commands alone, which repeat a run until all is read; in a user's pipeline it runs once
            settings = {"rows_per_run": ROWS_PER_RUN, **settings}
        source = vbc_source(**{name: value for name, value in settings.items() if value is not None})
    unknown = [name for name in resources if name not in source.resources]
    if unknown:
        raise UsageError(f"no such resource: {', '.join(unknown)}; choose from {', '.join(source.resources)}")
    return source.with_resources(*resources) if resources else source


def run_pipeline(
    pipeline: dlt.Pipeline, source: DltSource, window: str = "", refusals: Refusals | None = None
) -> SyncResult:
    """Load pending packages of an earlier run, then what is new; the caller holds the pipeline's lock.

    The source remembers between its runs which lists it has read. `window` is the key of a backfill's window.
    What the API user may not read is put into `refusals`; without them, it is raised when the rest is loaded.
    """
    started = time.monotonic()
    metrics: list[dict[str, Any]] = []
    newest: list[dict[str, Any]] = []  # of the last extraction
    loaded, refused = 0, Refusals() if refusals is None else refusals
    with explaining(), open_turns(pipeline.destination, pipeline.sql_client) as turns, take_turns(turns):
        # another machine may have loaded since: dlt takes a newer state from the destination
        pipeline.sync_destination()
        if not pipeline.default_schema_name:
            adopt_stored_schema(pipeline, source)
        pending = _load_pending(pipeline, window)
        unfinished = list(source.selected_resources)
        while unfinished and not any("spent" in counts for counts in newest):
            before = _read_states(pipeline, source)
            # without the dataset's lock: others may load while this run reads
            with collect_refusals(refused):
                newest = _read_metrics(pipeline.extract(source.with_resources(*unfinished)))
            metrics += newest
            gc.collect()  # dlt leaves reference cycles that hold Arrow tables
            with keep_interrupts():
                loaded += _count_recordings(pipeline.normalize())
            with hold_dataset_lock(pipeline, window), keep_connected(pipeline), keep_interrupts():
                pipeline.load()
                remove_old_states(pipeline)
            after = _read_states(pipeline, source)
            unfinished = [
                # a mark that this run did not touch is another run's: a backfill writes no state
                name
                for name in unfinished
                if PROGRESS_MARK in after.get(name, {}) and after[name] != before.get(name)
            ]
        # last, so that the rest is loaded by then
        if refusals is None:
            refused.check()
    return _make_result(
        metrics,
        newest if unfinished else [],
        loaded=loaded,
        finished_earlier=pending,
        seconds=time.monotonic() - started,
    )


def _load_pending(pipeline: dlt.Pipeline, window: str) -> int:
    """Load the packages that an earlier run left; return how many there were."""
    pending = len(pipeline.list_extracted_load_packages()) + len(pipeline.list_normalized_load_packages())
    if pending:
        with hold_dataset_lock(pipeline, window), keep_interrupts():
            pipeline.run()  # with a package pending, dlt loads that and extracts nothing
    return pending


def _make_result(
    metrics: Sequence[dict[str, Any]], stopped: Sequence[dict[str, Any]], **counts: Any
) -> SyncResult:
    """Add up the counts of all extractions; `stopped` are those of the last one if lists are left to read."""
    totals = {
        name: sum(found.get(name, 0) for found in metrics)
        for name in ("recordings", "call_logs", "windows", "users", "requests")
    }
    left_out = {
        reason: tuple(dict.fromkeys(title for found in metrics for title in found.get(reason, ())))
        for reason in ("forbidden", "not_found", "gaps")
    }
    return SyncResult(
        **{**totals, **left_out, **counts},
        ok=not left_out["gaps"],
        stopped_after=max((found.get("spent", 0) for found in stopped), default=None),
        left=sum(found.get("left", 0) for found in stopped),
    )


def _read_states(pipeline: dlt.Pipeline, source: DltSource) -> dict[str, Any]:
    """Return the state of each resource."""
    sources: Any = pipeline.state.get("sources", {})
    return dict(sources.get(source.name, {}).get("resources", {}))


def _count_recordings(info: Any) -> int:
    """Count the recordings in the load packages of one normalization."""
    counts = info.row_counts if info else {}
    return sum(counts.get(table, 0) for table in (COMPANY.name, ON_DEMAND.name))


def _read_metrics(info: Any) -> list[dict[str, Any]]:
    """Copy what each resource has counted: its next run counts in the same place."""
    steps = [step for steps in info.metrics.values() for step in steps]
    return [dict(found.custom_metrics or {}) for step in steps for found in step["resource_metrics"].values()]
