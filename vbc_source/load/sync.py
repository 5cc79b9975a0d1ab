"""One run of a pipeline: finish what an earlier run left, read what is new, say what was done."""

from __future__ import annotations

import ctypes
import gc
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.pipeline import ExtractInfo
from dlt.extract import DltSource

from vbc_source.errors import SettingsError, UsageError
from vbc_source.load.database_lock import clear_half_made, find_kind, hold_database
from vbc_source.load.destinations import choose_destination, describe_format
from vbc_source.load.duckdb import loading_fast
from vbc_source.load.failures import explaining
from vbc_source.load.lean_imports import keep_imports_lean
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.source import vbc_source

log = logging.getLogger(__name__)

PLACE = "vbc_place"  # in dlt's local state: where this pipeline loaded last
FORMAT = "vbc_table_format"  # and as what
SELDOM = (100_000, 20, 20)  # as gc.set_threshold takes it
M_MMAP_THRESHOLD = -3  # glibc's name for it; larger blocks are given back when they are freed
M_ARENA_MAX = -8  # likewise; else each thread has a heap of its own, and keeps what it freed
ROWS_PER_RUN = 250_000  # recordings loaded at once, so that memory stays bounded whatever the backlog


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a run did.

    Attributes:
        recordings: how many were read and proven complete; those of the lookback count again.
        windows: in how many windows.
        users: how many users' own lists were read to their end.
        requests: how many list requests that took.
        forbidden: accounts and users that may not be read and were left out.
        not_found: users that the API does not know any more.
        finished_earlier: load packages of an earlier, failed run that were loaded first.
        seconds: how long it took.
    """

    recordings: int
    windows: int
    users: int
    requests: int
    forbidden: tuple[str, ...]
    not_found: tuple[str, ...]
    finished_earlier: int
    seconds: float


def open_pipeline(name: str, destination: str, dataset: str) -> dlt.Pipeline:
    """Open a pipeline; DuckDB without configured credentials is `vbc.duckdb` in this folder."""
    keep_imports_lean()
    with explaining():
        pipeline = dlt.pipeline(name, destination=choose_destination(destination), dataset_name=dataset)
        if find_kind(pipeline) == "duckdb":
            config: Any = pipeline.destination_client().config
            clear_half_made(Path(config.credentials.database))
        return pipeline


@contextmanager
def hold_pipeline(name: str, destination: str, dataset: str) -> Iterator[dlt.Pipeline]:
    """Open a pipeline for one process alone: two in one working folder destroy each other's packages.

    dlt keeps a pipeline's state by its name alone. Where the same name loaded elsewhere before, that
    state is put aside, and what the destination itself holds counts.

    Raises:
        VbcError: another process holds it for too long.
    """
    with hold_pipeline_lock(name), explaining():
        yield _settle(open_pipeline(name, destination, dataset), f"{destination} {dataset}")


def _settle(pipeline: dlt.Pipeline, place: str) -> dlt.Pipeline:
    place, table_format = f"{place} {pipeline.destination_client().config}", describe_format(pipeline)
    if _recall(pipeline, PLACE, place) != place:
        pipeline = pipeline.drop()
    elif (before := _recall(pipeline, FORMAT, table_format)) != table_format:
        raise SettingsError(
            f"this dataset was begun with table_format {before}, not {table_format}: set it back, or choose "
            "another --dataset"
        )
    pipeline.set_local_state_val(PLACE, place)
    pipeline.set_local_state_val(FORMAT, table_format)
    return pipeline


def _recall(pipeline: dlt.Pipeline, name: str, otherwise: str) -> Any:
    try:
        return pipeline.get_local_state_val(name)
    except KeyError:
        return otherwise


def open_source(
    start_date: datetime | None, end_date: datetime | None, resources: Sequence[str] = (), **settings: Any
) -> DltSource:
    """Make the source from configuration; the arguments override it where given.

    Raises:
        VbcError: a setting is missing or malformed; the message names it.
    """
    given = {"start_date": start_date, "end_date": end_date, **settings}
    if not dlt.config.get("sources.vbc.rows_per_run"):
        given["rows_per_run"] = ROWS_PER_RUN
    with explaining():
        source = vbc_source(**{name: value for name, value in given.items() if value})
    unknown = [name for name in resources if name not in source.resources]
    if unknown:
        raise UsageError(f"no such resource: {', '.join(unknown)}; there is {', '.join(source.resources)}")
    return source.with_resources(*resources) if resources else source


def run_pipeline(pipeline: dlt.Pipeline, source: DltSource, window: str = "") -> SyncResult:
    """Load pending packages of an earlier run, then what is new, in runs of bounded size.

    Args:
        pipeline: where to load.
        source: what to read; it knows between its runs which lists it has come to.
        window: which window of a backfill this is; empty for a run of another kind.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    began = time.monotonic()
    found: list[dict[str, Any]] = []  # what each resource of each run has counted
    _give_memory_back()
    with explaining(), _collecting_seldom():
        pipeline.sync_destination()
        if not pipeline.default_schema_name:
            _continue_schema(pipeline, source)
        pending = len(pipeline.list_extracted_load_packages()) + len(pipeline.list_normalized_load_packages())
        if pending:
            with hold_database(pipeline, window):
                pipeline.run()
        unfinished = list(source.selected_resources)
        while unfinished:
            counts = _count(pipeline.extract(source.with_resources(*unfinished)))
            _trim()
            pipeline.normalize()
            with hold_database(pipeline, window), loading_fast(pipeline):
                pipeline.load()
            _trim()
            found += counts.values()
            unfinished = [name for name, counted in counts.items() if counted.get("unfinished")]
    return SyncResult(
        recordings=_sum(found, "recordings"),
        windows=_sum(found, "windows"),
        users=_sum(found, "users"),
        requests=_sum(found, "requests"),
        forbidden=_unite(found, "forbidden"),
        not_found=_unite(found, "not_found"),
        finished_earlier=pending,
        seconds=time.monotonic() - began,
    )


def _continue_schema(pipeline: dlt.Pipeline, source: DltSource) -> None:
    """Have a source know the columns that others, such as windows of a backfill, have loaded."""
    stored = dlt.dataset(pipeline.destination, pipeline.dataset_name, source.schema.name).schema
    if stored.data_table_names():
        source.schema = stored


def _sum(found: Sequence[dict[str, Any]], name: str) -> int:
    return sum(counted.get(name, 0) for counted in found)


def _unite(found: Sequence[dict[str, Any]], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(title for counted in found for title in counted.get(name, ())))


def _give_memory_back() -> None:
    """Have freed pages returned to the system: the allocators' defaults keep a third more."""
    if not gc.get_freeze_count():
        gc.freeze()  # what was imported stays: looking through it again and again takes time
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError):  # elsewhere than on glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 256 * 1024)
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Have Python look for rings of objects seldom: it takes a thirtieth of a sync, and `_trim` looks."""
    usual = gc.get_threshold()
    if not 0 < usual[0] < SELDOM[0]:  # it does not look, or seldom enough
        yield
        return
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _trim() -> None:
    """Give back what the step before has left: dlt leaves rings of objects that hold tables."""
    gc.collect()
    with suppress(OSError, AttributeError):  # elsewhere than on glibc
        ctypes.CDLL(None).malloc_trim(0)


def _count(info: ExtractInfo) -> dict[str, dict[str, Any]]:
    """What each resource has counted; a copy, since its next run counts in the same place."""
    return {
        name: dict(metrics.custom_metrics or {})
        for steps in info.metrics.values()
        for step in steps
        for name, metrics in step["resource_metrics"].items()
    }
