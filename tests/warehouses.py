"""Destinations to test with: how each is set up, and how what it holds is read back, in one form."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from loading import open_target

from vbc_source.lakes.tables import read_table
from vbc_source.load.destinations import Target

POSTGRES = "postgresql://postgres:any@127.0.0.1:5432/test"
CURRENT_ROWS = Path(__file__).parents[1] / "docs" / "current_rows.sql"
KEYS = {  # of each table; what follows them is compared
    "company_recordings": ("account_id", "id"),
    "company_recordings__extensions": ("account_id", "recording_id", "position"),
    "company_recordings__rule_ids": ("account_id", "recording_id", "position"),
    "user_recordings": ("account_id", "user_id", "id"),
    "user_recordings__extensions": ("account_id", "user_id", "recording_id", "position"),
    "user_recordings__rule_ids": ("account_id", "user_id", "recording_id", "position"),
    "export_jobs": ("account_id", "user_id", "id"),
    "users": ("account_id", "id"),
    "users__extensions": ("account_id", "user_id", "position"),
    "users__contact_numbers": ("account_id", "user_id", "position"),
    "extensions": ("account_id", "extension"),
}
OWN = ("_dlt_load_id", "is_empty")  # columns that say how a row came, not what it holds

Row = dict[str, Any]
Tables = dict[str, list[Row]]


def has_postgres() -> bool:
    try:
        socket.create_connection(("127.0.0.1", 5432), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Warehouse:
    """A destination that is set up in the environment, and a dataset of its own there."""

    name: str
    destination: str
    table_format: str = ""
    dataset: str = field(default_factory=lambda: f"vbc_{uuid.uuid4().hex[:8]}")

    @property
    def target(self) -> Target:
        """Where the commands would load."""
        return Target("vbc", self.destination, self.dataset)

    def open(self) -> dlt.Pipeline:
        """Open the pipeline, as every command does."""
        return open_target("vbc", self.destination, self.dataset)

    def read(self) -> Tables:
        """The rows that count, of all tables; of files, by the queries in the docs."""
        pipeline = self.open()
        if self.destination != "filesystem":
            with pipeline.sql_client() as client:
                return {table: _select(client, table) for table in KEYS}
        with duckdb.connect() as connection:
            for table, key in KEYS.items():
                rows = read_table(pipeline.destination_client(), table)
                if self.table_format == "delta" and "position" not in key:  # replaced, as the docs say
                    assert rows.select(key).group_by(key).aggregate([]).num_rows == len(rows)
                connection.register(table, rows)
            connection.execute(CURRENT_ROWS.read_text())
            return {table: connection.sql(f"FROM {table}_now").to_arrow_table().to_pylist() for table in KEYS}


def _select(client: Any, table: str) -> list[Row]:
    with client.execute_query(f"SELECT * FROM {client.make_qualified_table_name(table)}") as cursor:
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def digest(tables: Tables) -> dict[str, str]:
    """A checksum of each table: of all columns that hold values of the API, ordered by the key."""
    return {table: _digest(rows, KEYS[table]) for table, rows in tables.items()}


def _digest(rows: list[Row], key: tuple[str, ...]) -> str:
    values = sorted((tuple(row[name] for name in key), _canonical(row)) for row in rows)
    keys = [key for key, _ in values]
    assert len(set(keys)) == len(keys), "a key is there twice"
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _canonical(row: Row) -> str:
    cells = {name: _plain(value) for name, value in row.items() if name not in OWN}
    if "gone_at" in cells:  # when that was found out differs from run to run
        cells["gone_at"] = cells["gone_at"] is not None
    # a column that has not come to a destination yet is null
    return json.dumps({name: value for name, value in sorted(cells.items()) if value is not None})


def _plain(value: Any) -> Any:
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value


def describe(tables: Tables, other: Tables) -> str:
    """Where two loads differ, for the message of a failure."""
    for table, rows in tables.items():
        mine, theirs = ({_canonical(row) for row in rows} for rows in (rows, other[table]))
        if mine != theirs:
            return f"{table}: {sorted(mine - theirs)[:3]} against {sorted(theirs - mine)[:3]}"
    return "the same"


NAMES = ("duckdb", "postgres", "parquet", "s3", "delta", "iceberg")
Serve = Callable[[], Any]


@contextmanager
def set_up(
    name: str, monkeypatch: pytest.MonkeyPatch, s3: Callable[[], dict[str, str]]
) -> Iterator[Warehouse]:
    """Set a destination up in the environment; what it holds is removed at the end.

    Args:
        name: one of `NAMES`.
        monkeypatch: sets the environment.
        s3: makes a bucket and gives its settings.
    """
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    if name == "duckdb":
        yield Warehouse(name, "duckdb")
    elif name == "postgres":
        if not has_postgres():
            pytest.skip("no PostgreSQL at 127.0.0.1:5432")
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
        warehouse = Warehouse(name, "postgres")
        try:
            yield warehouse
        finally:
            drop(warehouse)
    else:
        settings = s3() if name == "s3" else {"DESTINATION__FILESYSTEM__BUCKET_URL": os.path.abspath("lake")}
        for setting, value in settings.items():
            monkeypatch.setenv(setting, value)
        table_format = name if name in ("delta", "iceberg") else ""
        if table_format:
            monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", table_format)
        yield Warehouse(name, "filesystem", table_format)


def drop(warehouse: Warehouse) -> None:
    """Remove what a database holds; files go with the test's folder."""
    if warehouse.destination == "filesystem":
        return
    with warehouse.open().sql_client() as client:
        for dataset in (client.dataset_name, client.staging_dataset_name, f"{client.dataset_name}_models"):
            with client.with_alternative_dataset_name(dataset):
                if client.has_dataset():
                    client.drop_dataset()
