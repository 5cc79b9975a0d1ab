"""Scenarios of Postgres, for `benchmarks.operations`."""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dlt
import pyarrow as pa

from benchmarks.contenders import POSTGRES
from benchmarks.fixture import Fixture
from benchmarks.operations import Figure, measure_time, scenario, work_in_folder

CHILD = "company_recordings__"
COPIES = 9  # of the loaded rows, to reach two million


@contextmanager
def make_schema() -> Iterator[str]:
    """Give the name of a schema, and drop what was loaded into it."""
    import psycopg2

    name = f"operations_{uuid.uuid4().hex[:8]}"
    try:
        yield name
    finally:
        connection = psycopg2.connect(POSTGRES)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (name,))
        for (schema,) in cursor.fetchall():
            cursor.execute(f'DROP SCHEMA "{schema}" CASCADE')
        connection.close()


def run_sql(sql: str) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own."""
    import psycopg2

    connection = psycopg2.connect(POSTGRES)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


@scenario("postgres-load")
def measure_load(options: argparse.Namespace) -> Iterator[Figure]:
    """A first load of all rows, against dlt merging the same Arrow rows from memory."""
    from vbc_source import Target, sync

    settings = {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
    with make_schema() as schema, Fixture(options.rows) as gateway, work_in_folder(**settings) as folder:
        import os

        os.environ["SOURCES__VBC__BASE_URL"] = gateway.url
        ours: list[float] = []
        plain: list[float] = []
        with measure_time(ours):
            sync(Target("ours", "postgres", schema), resources=["company_recordings"])
        sync(Target("arrow", "duckdb", "vbc_data"), resources=["company_recordings"])
        tables = read_arrow(str(folder / "vbc.duckdb"))
        with measure_time(plain):
            merge_plainly(tables, f"{schema}_plain")
        yield Figure("postgres-load", f"{options.rows:,} rows by vbc sync", ours[0], "s")
        yield Figure("postgres-load", "dlt merges the same Arrow rows from memory", plain[0], "s")
        yield Figure("postgres-load", "ratio", ours[0] / plain[0], "×", 1.3)


def read_arrow(database: str) -> dict[str, pa.Table]:
    """Read the loaded tables as Arrow."""
    import duckdb

    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {
            name: connection.execute(f"SELECT * FROM vbc_data.{name}").arrow().read_all()
            for name in ("company_recordings", f"{CHILD}extensions", f"{CHILD}rule_ids")
        }


def merge_plainly(tables: dict[str, pa.Table], dataset: str) -> None:
    """Merge tables with dlt's own Postgres destination, with the keys that the source declares."""

    @dlt.source(name="plain")
    def plain() -> Any:
        for name, table in tables.items():
            key = ["account_id", "recording_id", "position"] if CHILD in name else ["account_id", "id"]
            hints: dict[str, Any] = {"merge_key": key[:2]} if CHILD in name else {}
            yield dlt.resource([table], name=name, primary_key=key, write_disposition="merge", **hints)

    destination = dlt.destinations.postgres(POSTGRES, create_indexes=False)
    dlt.pipeline("plain", destination=destination, dataset_name=dataset).run(plain())


@scenario("postgres-new")
def measure_new(options: argparse.Namespace) -> Iterator[Figure]:
    """Five new rows in a table ten times as large: seconds, and rows written."""
    import os

    from vbc_source import Target, sync
    from vbc_source.emulator import Emulator, Gateway

    gateway = Gateway(recordings=20_000)
    settings = {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
    with make_schema() as schema, Emulator(gateway) as url, work_in_folder(**settings):
        os.environ["SOURCES__VBC__BASE_URL"] = url
        target = Target("new", "postgres", schema)
        sync(target, resources=["company_recordings"])
        ((first, last),) = run_sql(f"SELECT min(id), max(id) FROM {schema}.company_recordings")
        copies = -(-options.rows * (COPIES + 1) // 20_000)
        for table, key in (("company_recordings", "id"), (f"{CHILD}extensions", "recording_id")):
            multiply(f"{schema}.{table}", key, last - first + 1, copies)
        run_sql(f"ANALYZE {schema}.company_recordings")
        seconds: list[float] = []
        newest = max(int(recording["id"]) for recording in gateway.company.all())
        for run in range(3):
            for number in range(5):
                gateway.company.add(id=newest + 1 + run * 5 + number)
            before = count_writes(schema)
            with measure_time(seconds):
                sync(target, resources=["company_recordings"])
            written = count_writes(schema) - before
        yield Figure("postgres-new", "5 new rows, the quickest of three runs", min(seconds), "s", 1.8)
        yield Figure("postgres-new", "rows written to company_recordings", written, "rows", 5)


def multiply(table: str, key: str, step: int, copies: int) -> None:
    """Copy rows under other keys, years earlier."""
    names = [
        name
        for (name,) in run_sql(
            "SELECT column_name FROM information_schema.columns WHERE table_schema || '.' || table_name = "
            f"'{table}' ORDER BY ordinal_position"
        )
    ]
    shifts = {key: f'"{key}" - {step}::bigint * n', "start": "\"start\" - INTERVAL '3 years'"}
    values = ", ".join(shifts.get(name, f'"{name}"') for name in names)
    listed = ", ".join(f'"{name}"' for name in names)
    run_sql(
        f"INSERT INTO {table} ({listed}) SELECT {values} FROM {table}, generate_series(1, {copies - 1}) AS n"
    )


def count_writes(schema: str) -> int:
    """Count the rows that were inserted, updated or deleted in the table since it was made."""
    import time

    time.sleep(1.5)  # a backend reports its counters once a second, or when it ends
    ((writes,),) = run_sql(
        "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables "
        f"WHERE schemaname = '{schema}' AND relname = 'company_recordings'"
    )
    return int(writes)
