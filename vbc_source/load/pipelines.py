"""Open dlt pipelines, always under the lock of their name: opening one writes into its working folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dlt
from dlt.extract import DltSource

from vbc_source.dlt_internals import intercepted_signals, was_signal_received
from vbc_source.lakes.tables import check_format, is_lake, name_format, other_format
from vbc_source.load.destinations import Target, destination_kind, open_destination
from vbc_source.load.destinations.duckdb import check_dataset_name, remove_half_made
from vbc_source.load.destinations.postgres import ADBC
from vbc_source.load.failures import check_installed, explaining
from vbc_source.load.locks import hold_pipeline_lock

PACKAGES_KEPT = 10  # of completed loads, without their rows
# in dlt's local state; the names are those of earlier versions
_LOCATION, _FORMAT = "vbc_place", "vbc_table_format"


@contextmanager
def hold_pipeline(target: Target, *, fresh: bool = False, **options: Any) -> Iterator[dlt.Pipeline]:
    """Open a pipeline for this process alone.

    dlt keeps a pipeline's state by its name alone. Where the same name loaded elsewhere before, that local
    state is dropped, and the state in the destination counts; `fresh` drops it in any case. The options go to
    the destination factory.
    """
    with hold_pipeline_lock(target.pipeline), explaining():
        pipeline, config = _open(target, options)
        _remove_leftovers(pipeline)
        destination: Any = pipeline.destination
        location = f"{target.destination} {target.dataset} {config}"
        # `none` where the destination has only one
        table_format = name_format(destination)
        local: Any = pipeline.state["_local"]
        if local.get(_LOCATION, location) != location:
            pipeline = pipeline.drop()
        elif (before := local.get(_FORMAT, table_format)) != table_format:
            raise other_format(before, table_format)
        elif fresh:
            pipeline = pipeline.drop()
        # after a drop, which removes these marks, too
        pipeline.set_local_state_val(_LOCATION, location)
        pipeline.set_local_state_val(_FORMAT, table_format)
        with _kept_private(pipeline):
            yield pipeline


@contextmanager
def hold_fresh_pipeline(target: Target, **options: Any) -> Iterator[dlt.Pipeline]:
    """Open a pipeline without local state, and leave none behind: what a killed run left is worth nothing."""
    with hold_pipeline_lock(target.pipeline), explaining():
        pipeline = _open(target, options)[0].drop()
        # dlt also stores state only where this is set
        pipeline.config.restore_from_destination = False
        with _kept_private(pipeline):
            yield pipeline


@contextmanager
def _kept_private(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Close the working folder to other users, and remove what dlt keeps of completed loads.

    dlt keeps every package, and its rows unless `[load] delete_completed_jobs` is set: names and numbers in
    the clear, growing with every run. A few packages stay, without rows, for `dlt pipeline … load-package`.
    """
    with suppress(OSError):  # another user's folder, or a file system without modes
        Path(pipeline.working_dir).chmod(0o700)
    try:
        yield
    finally:
        keep_rows = dlt.config.get("load.delete_completed_jobs", bool) is False
        completed = Path(pipeline.working_dir) / "load" / "loaded"
        if not keep_rows and completed.is_dir():
            # load ids are moments: in their order, the newest come last
            packages = sorted(completed.iterdir())
            for package in packages[:-PACKAGES_KEPT]:
                shutil.rmtree(package, ignore_errors=True)
            for package in packages[-PACKAGES_KEPT:]:
                shutil.rmtree(package / "completed_jobs", ignore_errors=True)


def _remove_leftovers(pipeline: dlt.Pipeline) -> None:
    """Remove rows that a killed run has left behind, and that dlt neither loads nor removes.

    A run that is killed while it extracts leaves a folder with a random name; the next run reads its rows
    again. One that is killed when a package is normalized leaves the extracted copy too: dlt 1.31 normalizes
    it anew in every run, and fails, since it is there already.
    """
    folder = Path(pipeline.working_dir)
    for place in (folder / "normalize").glob("*"):
        if place.name != "extracted" and place.is_dir():
            shutil.rmtree(place)
    for extracted in (folder / "normalize" / "extracted").glob("*"):
        if (folder / "load" / "normalized" / extracted.name).is_dir():
            shutil.rmtree(extracted)


@contextmanager
def keep_connected(pipeline: dlt.Pipeline) -> Iterator[Any]:
    """Keep a connection to a DuckDB file open during a load, which opens several.

    Opening a file takes longer than a small query, and DuckDB writes everything out when the last one closes.
    Yields the connection's SQL client; None with other destinations.
    """
    if destination_kind(pipeline.destination) == "duckdb":
        with pipeline.sql_client() as client:
            yield client
    else:
        yield None


@contextmanager
def keep_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if SIGINT or SIGTERM arrived meanwhile.

    dlt takes both signals over while it normalizes and loads, so that jobs in progress end. It ignores one
    that arrives after its last check, and a command that loads several times would go on with the next load.
    """
    with intercepted_signals():
        yield
        if was_signal_received():
            raise KeyboardInterrupt


def adopt_stored_schema(pipeline: dlt.Pipeline, source: DltSource) -> None:
    """Give a source the tables and columns that other pipelines have loaded into the dataset.

    Readers take the newest schema of a name for what is there: one with fewer tables would hide the rest.
    """
    name = source.schema.name
    stored = dlt.dataset(pipeline.destination, pipeline.dataset_name, name).schema
    known = pipeline.schemas[name].tables if name in pipeline.schemas else {}
    if not known.keys() >= set(stored.data_table_names()):
        source.schema = stored


def _open(target: Target, options: dict[str, Any]) -> tuple[dlt.Pipeline, Any]:
    """Open a pipeline; return the configuration of its destination too, which takes dlt long to resolve."""
    destination = open_destination(target, **options)
    if destination_kind(destination) == "postgres":
        # before requests are sent: dlt looks for this driver only when it normalizes rows
        check_installed(ADBC)
    pipeline = dlt.pipeline(target.pipeline, destination=destination, dataset_name=target.dataset)
    if pipeline.default_schema_name not in (None, *pipeline.schemas.list_schemas()):
        # a run was killed while it removed this folder; the destination's state counts
        pipeline = pipeline.drop()
    client: Any = pipeline.destination_client()
    config = client.config
    if is_lake(pipeline):
        check_format(client, name_format(destination))
    if destination_kind(destination) == "duckdb":
        check_dataset_name(config.credentials.database, target.dataset)
        remove_half_made(Path(config.credentials.database))
    return pipeline, config
