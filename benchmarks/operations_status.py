"""Scenarios of `vbc status`, for `benchmarks.operations`: many accounts, many recordings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from benchmarks.contenders import POSTGRES
from benchmarks.operations import Figure, measure_time, scenario, work_in_folder
from benchmarks.operations_postgres import make_schema, run_sql

ACCOUNTS, RECORDINGS = 50, 1_000_000
WINDOWS = 2_000  # of each account: two weeks of one every ten minutes
REPETITIONS = 3  # the quickest counts
LONGEST = 2.0  # seconds

RunSql = Callable[[str], Any]


@scenario("status-duckdb")
def measure_duckdb(_: argparse.Namespace) -> Iterator[Figure]:
    """`vbc status` of fifty accounts with a million recordings in DuckDB."""
    with work_in_folder() as folder:

        def run(sql: str) -> Any:
            import duckdb

            with duckdb.connect(str(folder / "vbc.duckdb")) as connection:
                return connection.execute(sql).fetchall()

        yield from _measure("duckdb", "vbc_data", run)


@scenario("status-postgres")
def measure_postgres(_: argparse.Namespace) -> Iterator[Figure]:
    """The same in Postgres."""
    with make_schema() as schema, work_in_folder(DESTINATION__POSTGRES__CREDENTIALS=POSTGRES):
        yield from _measure("postgres", schema, run_sql)


def _measure(destination: str, dataset: str, run: RunSql) -> Iterator[Figure]:
    from vbc_source import Target, read_status, sync
    from vbc_source.emulator import Emulator, Gateway

    target = Target("status", destination, dataset)
    gateway = Gateway(recordings=100)
    with Emulator(gateway) as url:
        os.environ["SOURCES__VBC__BASE_URL"] = url
        sync(target)
    accounts = [str(int(gateway.main_id) + number) for number in range(ACCOUNTS)]
    os.environ["SOURCES__VBC__ACCOUNT_ID"] = ",".join(accounts)
    _fill(run, dataset)
    seconds: list[float] = []
    for _ in range(REPETITIONS):
        with measure_time(seconds):
            status = read_status(target, datetime.now(timezone.utc))
    counted = sum(item.rows for item in status.lists)
    if (len(status.lists), counted) != (ACCOUNTS, RECORDINGS):
        raise RuntimeError(f"status counts {counted} rows in {len(status.lists)} lists")
    title = f"vbc status, {ACCOUNTS} accounts, {RECORDINGS:,} recordings, {ACCOUNTS * WINDOWS:,} windows"
    yield Figure(f"status-{destination}", title, min(seconds), "s", LONGEST)


def _fill(run: RunSql, dataset: str) -> None:
    """Give each account its part of the recordings, and a window every ten minutes: each behind the last."""
    numbers = "generate_series(0, {last}) AS {name}({name})"
    accounts = numbers.format(last=ACCOUNTS - 1, name="a")
    each = numbers.format(last=RECORDINGS // ACCOUNTS - 1, name="n")
    windows = numbers.format(last=WINDOWS - 1, name="n")
    recordings, proofs = f"{dataset}.company_recordings", f"{dataset}.scan_windows"
    ((account, load),) = run(f"SELECT account_id, _dlt_load_id FROM {proofs} WHERE user_id IS NULL LIMIT 1")
    name = f"CAST({account} + a AS text)"
    began = "date_trunc('second', now())"
    run(f"DELETE FROM {recordings}")
    run(f"DELETE FROM {proofs}")
    run(
        f'INSERT INTO {recordings} (account_id, id, cnam, dnis, "start", "end") '
        f"SELECT {name}, n, 'CALLER ' || n, '1212555' || n, {began} - n * INTERVAL '1 minute', "
        f"{began} - n * INTERVAL '1 minute' + INTERVAL '40 seconds' FROM {accounts} CROSS JOIN {each}"
    )
    run(
        f"INSERT INTO {proofs} (account_id, resource, window_start, window_end, total_items, rows_read, "
        "rows_loaded, is_proven, requests, attempts, scanned_at, _dlt_load_id) "
        f"SELECT {name}, 'company_recordings', {began} - (n + 288) * INTERVAL '10 minutes', "
        f"{began} - n * INTERVAL '10 minutes', 2880, 2880, 2880, true, 3, 1, "
        f"{began} - n * INTERVAL '10 minutes', '{load}' FROM {accounts} CROSS JOIN {windows}"
    )
    if not dataset.startswith("vbc"):
        run(f"ANALYZE {recordings}")
        run(f"ANALYZE {proofs}")
