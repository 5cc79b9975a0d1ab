"""Loads a part of a backfill by a pipeline of its own.

Loads side by side that share a working folder or a staging dataset lose rows, silently (dlt issue
4297). So each part has both for itself, and the tables are made before.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.config import VbcConfig, load_config
from vbc_source.errors import SettingsError
from vbc_source.load.database_lock import find_kind
from vbc_source.load.failures import explaining
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.load.sync import open_pipeline, open_source, run_pipeline
from vbc_source.schema.columns import INSTANT
from vbc_source.warehouse.coverage import name_window
from vbc_source.warehouse.proven import find_left
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window, format_instant, read_instant

APPENDING = ("filesystem",)  # destinations where what is loaded again is there again


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backfill goes.

    Attributes:
        pipeline: name of the pipeline that loads what is new; those of the windows begin with it.
        destination: where to.
        dataset: into which dataset.
    """

    pipeline: str = "vbc"
    destination: str = "duckdb"
    dataset: str = "vbc"


class WindowTask(TypedDict):
    """A window to load: its name, its first instant, the one behind its last, and what to read in it."""

    key: str
    start: str
    end: str
    resources: list[str]


class WindowResult(WindowTask):
    """What became of a window: the rows that are its own, by resource, and what that took."""

    rows: dict[str, int]
    requests: int
    seconds: float


def make_task(window: Window, resources: list[str]) -> WindowTask:
    """Write a window down."""
    start, end = format_instant(window.start), format_instant(window.end)
    return WindowTask(key=name_window(window), start=start, end=end, resources=resources)


def read_window(task: WindowTask) -> Window:
    """Read which window a task is about."""
    return Window(read_instant(task["start"]), read_instant(task["end"]))


def load_window(target: Target, task: WindowTask, share: int = 1) -> WindowResult:
    """Load a window; once more changes nothing.

    Args:
        target: where to; `prepare` has made the tables there.
        task: which one.
        share: how many windows are loaded at once. Each sends its part of what the settings allow.

    Raises:
        VbcError: what stopped it; nothing of the window counts as proven then.
    """
    window, resources = read_window(task), task["resources"]
    config = load_config()
    source = open_source(window.start, window.end, resources, **divide_budget(config, share))
    own = {name: _Own(window.end) for name in resources}
    for name, keep in own.items():
        source.resources[name].add_map(keep)
    requests, seconds = 0, 0.0
    with open_part(target, task["key"]) as pipeline:
        appends = find_kind(pipeline) in APPENDING
        if not appends or find_left(LoadedTables(pipeline, ""), config, [window], resources):
            outcome = run_pipeline(pipeline, source, task["key"])
            requests, seconds = outcome.requests, outcome.seconds
    return WindowResult(
        **task, rows={name: keep.rows for name, keep in own.items()}, requests=requests, seconds=seconds
    )


class _Own:
    """Keeps what begins before the end of a window; its neighbour brings what begins there.

    The API is asked for both bounds, so that no fraction of a second is lost between the two. But two
    that merge the same row at once would leave it there twice.
    """

    def __init__(self, end: datetime) -> None:
        self._end = pa.scalar(end, INSTANT)
        self.rows = 0

    def __call__(self, table: pa.Table) -> pa.Table:
        if "start" not in table.column_names:
            return table  # a ledger
        own = table.filter(pc.fill_null(pc.less(table["start"], self._end), True))
        self.rows += len(own)
        return own


def limit_workers(config: VbcConfig, workers: int) -> int:
    """Return how many workers can share the request budget."""
    return min(workers, config.requests_per_minute or workers)


def divide_budget(config: VbcConfig, share: int) -> dict[str, int]:
    """Divide the settings' limits among processes.

    Raises:
        SettingsError: There are more processes than requests in a minute.
    """
    budget, divided = config.requests_per_minute, {"max_concurrency": max(1, config.max_concurrency // share)}
    if budget is None:
        return divided
    if budget < share:
        raise SettingsError(
            f"{share} workers cannot share {budget} requests a minute (requests_per_minute): "
            f"use {budget} workers at most"
        )
    return divided | {"requests_per_minute": budget // share}


@contextmanager
def open_part(target: Target, key: str) -> Iterator[dlt.Pipeline]:
    """Open a pipeline for one part of a backfill, and leave nothing of it behind but what is loaded.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    name = f"{target.pipeline}_{key}"
    with hold_pipeline_lock(name), explaining():
        # whatever a killed one has left is worth nothing: the window is read anew
        pipeline = open_pipeline(name, target.destination, target.dataset).drop()
        pipeline.destination.config_params["staging_dataset_name_layout"] = f"%s_stg_{key}"
        pipeline.config.restore_from_destination = False  # it has no state to read or to write
        with LoadedTables(pipeline, target.pipeline).take_turn():
            yield pipeline
            if find_kind(pipeline) not in APPENDING:
                _drop_staging(pipeline)
        pipeline.deactivate()
        shutil.rmtree(pipeline.working_dir, ignore_errors=True)


def _drop_staging(pipeline: dlt.Pipeline) -> None:
    client: Any
    with pipeline.destination_client() as client, client.with_staging_dataset():
        if client.is_storage_initialized():
            client.drop_storage()
