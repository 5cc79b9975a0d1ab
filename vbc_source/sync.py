"""One run of a pipeline: finish what an earlier run left, read what is new, say what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.extract import DltSource

from vbc_source.faults import SettingsError, VbcError
from vbc_source.source import vbc_source

DATABASE = "vbc.duckdb"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        recordings: how many were read and proven complete; those of the lookback count again.
        windows: in how many windows.
        requests: how many list requests that took.
        finished_earlier: load packages of an earlier, failed run that were loaded first.
        seconds: how long it took.
    """

    recordings: int
    windows: int
    requests: int
    finished_earlier: int
    seconds: float


def open_pipeline(name: str, destination: str, dataset: str) -> dlt.Pipeline:
    """Open a pipeline; DuckDB without configured credentials is `vbc.duckdb` in this folder."""
    target: object = destination
    if destination == "duckdb" and not dlt.secrets.get("destination.duckdb.credentials"):
        target = dlt.destinations.duckdb(DATABASE)
    try:
        return dlt.pipeline(name, destination=target, dataset_name=dataset)  # type: ignore[arg-type]
    except Exception as error:
        raise SettingsError(f"the destination {destination!r} cannot be used: {first_line(error)}") from error


def open_source(start_date: datetime | None, end_date: datetime | None) -> DltSource:
    """Make the source from configuration; the dates override it where given.

    Raises:
        VbcError: a setting is missing or malformed; the message names it.
    """
    dates = {"start_date": start_date, "end_date": end_date}
    try:
        return vbc_source(**{name: date for name, date in dates.items() if date})  # type: ignore[arg-type]
    except Exception as error:
        raise explain(error) from error


def run_sync(pipeline: dlt.Pipeline, source: DltSource) -> Outcome:
    """Load pending packages of an earlier run, then what is new.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    began = time.monotonic()
    try:
        pipeline.sync_destination()
        pending = len(pipeline.list_extracted_load_packages()) + len(pipeline.list_normalized_load_packages())
        if pending:
            pipeline.run()
        pipeline.run(source)
    except Exception as error:
        raise explain(error) from error
    counted = {"recordings": 0, "windows": 0, "requests": 0}
    for metrics in _resource_metrics(pipeline):
        counted = {name: number + metrics.get(name, 0) for name, number in counted.items()}
    return Outcome(**counted, finished_earlier=pending, seconds=time.monotonic() - began)


def _resource_metrics(pipeline: dlt.Pipeline) -> Iterator[dict[str, int]]:
    trace = pipeline.last_trace
    info = trace.last_extract_info if trace else None
    for steps in info.metrics.values() if info else ():
        for step in steps:
            for resource in step["resource_metrics"].values():
                yield resource.custom_metrics or {}


def explain(error: BaseException) -> VbcError:
    """Find the reason in a chain of errors; dlt wraps it in what it was doing."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, VbcError):
            return cause
    for cause in chain:
        if isinstance(cause, ConfigurationException):
            return SettingsError(first_line(cause))
    doing = getattr(chain[0], "step", None)
    where = f"{doing} failed: " if doing else ""
    return VbcError(f"{where}{type(chain[-1]).__name__}: {first_line(chain[-1])}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """The first line of an error; further ones may hold data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
