"""Scenarios of lakes, for `benchmarks.operations`: many small loads, then what a user waits for."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.operations import Figure, measure_time, scenario, work_in_folder

QUERY = 'SELECT count(*), count(DISTINCT id), max("start"), max(cnam) FROM company_recordings'
REPETITIONS = 5  # of each figure; the quickest counts
SLOWER = 1.5  # than a fresh lake, at most


@scenario("lake-parquet")
def measure_parquet(options: argparse.Namespace) -> Iterator[Figure]:
    """Many loads of one new recording into plain parquet files: query, status and sync, and bytes."""
    yield from _measure("parquet", options)


@scenario("lake-delta")
def measure_delta(options: argparse.Namespace) -> Iterator[Figure]:
    """The same into Delta tables."""
    yield from _measure("delta", options)


@scenario("lake-iceberg")
def measure_iceberg(options: argparse.Namespace) -> Iterator[Figure]:
    """The same into Iceberg tables."""
    yield from _measure("iceberg", options)


def _measure(table_format: str, options: argparse.Namespace) -> Iterator[Figure]:
    from vbc_source import Target, sync
    from vbc_source.emulator import Emulator, Gateway

    name = f"lake-{table_format}"
    gateway = Gateway(recordings=options.rows)
    gc.freeze()  # each sync collects garbage: it would go through the gateway's recordings, too
    settings = {
        "DESTINATION__FILESYSTEM__KEEP_HOURS": "0",  # thirty days pass within an hour here
        **({} if table_format == "parquet" else {"DESTINATION__FILESYSTEM__TABLE_FORMAT": table_format}),
    }
    with Emulator(gateway) as url, work_in_folder(**settings) as folder:
        os.environ |= {
            "SOURCES__VBC__BASE_URL": url,
            "DESTINATION__FILESYSTEM__BUCKET_URL": str(folder / "lake"),
        }
        grown, fresh = Target("grown", "filesystem", "grown"), Target("fresh", "filesystem", "fresh")
        sync(grown)
        for _ in range(options.loads):
            gateway.company.add()
            sync(grown)
        sync(fresh)
        times = _time_in_turns((grown, fresh), gateway, sync)
        for what in times[grown]:
            now, before = min(times[grown][what]), min(times[fresh][what])
            yield Figure(name, f"{what}, fresh lake", before, "s")
            yield Figure(name, f"{what}, after {options.loads:,} small loads", now, "s", SLOWER * before)
        yield Figure(name, "fresh lake", _read_size(folder / "lake" / "fresh"), "MB")
        yield Figure(name, "lake after the small loads", _read_size(folder / "lake" / "grown"), "MB")


def _time_in_turns(targets: Sequence[Any], gateway: Any, sync: Any) -> dict[Any, dict[str, list[float]]]:
    """Return the seconds of a query of all rows, of status, and of a sync that finds one new recording."""
    from vbc_source import read_status
    from vbc_source.warehouse.queries import LoadedTables

    whats = ("query", "status", "sync of one new recording")
    times: dict[Any, dict[str, list[float]]] = {target: {what: [] for what in whats} for target in targets}
    for _ in range(REPETITIONS):
        for target in targets:  # in turns: what else the machine does meets both
            query, status, load = times[target].values()
            with measure_time(query):
                LoadedTables(target).query(QUERY)
            with measure_time(status):
                read_status(target, datetime.now(timezone.utc))
            gateway.company.add()
            with measure_time(load):
                sync(target)
    return times


def _read_size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
