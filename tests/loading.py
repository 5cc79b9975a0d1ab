"""Loads from an emulated gateway, and says what should have been loaded."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import dlt
import duckdb
import pytest
from dlt.common.pipeline import LoadInfo
from in_process import run_in_process

from vbc_source import VbcCredentials, vbc_source
from vbc_source.emulator import Gateway
from vbc_source.load.destinations import Target, open_destination

LOGIN = {
    "client_id": "demo-client",
    "client_secret": "demo-secret",
    "username": "demo",
    "password": "demo-password",
}
# a fault for which the client logs in again, each time after a longer wait for other processes of this user
TOKEN_REJECTED = pytest.param("token-invalid", marks=pytest.mark.slow)
COLUMNS = (
    "id",
    "call_direction",
    "call_id",
    "caller_id",
    "cnam",
    "dnis",
    "download_url",
    "duration",
    "start",
    "end",
    "file_name",
    "file_size_in_bytes",
)


def still_gateway(**options: Any) -> Gateway:
    """A gateway whose clock stands still: no call ends, and so none appears, while a test looks."""
    now = time.time()
    return Gateway(clock=lambda: now, **options)


def credentials(**changed: str) -> VbcCredentials:
    login = VbcCredentials()
    login.update({**LOGIN, **changed})
    return login


def open_pipeline(name: str = "test") -> dlt.Pipeline:
    # by its whole path: DuckDB takes two files of one relative name for one, where the first is still open
    database = dlt.destinations.duckdb(str(Path.cwd() / f"{name}_db.duckdb"))
    return dlt.pipeline(name, destination=database, dataset_name="vbc_data")


def open_target(
    pipeline: str = "vbc", destination: str = "duckdb", dataset: str = "vbc_data"
) -> dlt.Pipeline:
    """Open a pipeline to the destination that the commands would use."""
    target = Target(pipeline, destination, dataset)
    return dlt.pipeline(pipeline, destination=open_destination(target), dataset_name=dataset)


def load(pipeline: dlt.Pipeline, url: str, *resources: str, **settings: Any) -> LoadInfo:
    """Load company recordings, or other resources."""
    source = vbc_source(credentials=credentials(), base_url=url, **settings)
    return pipeline.run(source.with_resources(*resources or ("company_recordings",)))


def load_all(pipeline: dlt.Pipeline, url: str, **settings: Any) -> LoadInfo:
    return pipeline.run(vbc_source(credentials=credentials(), base_url=url, **settings))


_clients = WeakKeyDictionary[dlt.Pipeline, Any]()


def query(pipeline: dlt.Pipeline, sql: str) -> list[tuple[Any, ...]]:
    if not isinstance(pipeline, dlt.Pipeline):  # an `Extraction`
        opened = pipeline.sql_client()
    elif not (opened := _clients.get(pipeline)):
        opened = _clients[pipeline] = pipeline.sql_client()  # each new one resolves its configuration
    with opened as client:
        return list(client.execute_sql(sql) or [])


def instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    if text.endswith("Z"):
        text = text[:-1] + "+0000"
    form = "%Y-%m-%dT%H:%M:%S.%f%z" if "." in text else "%Y-%m-%dT%H:%M:%S%z"
    return datetime.strptime(text, form).astimezone(timezone.utc)


def expected_recordings(gateway: Gateway) -> list[tuple[Any, ...]]:
    """What the table should hold, column by column, as read from the emulator's own JSON."""
    rows = []
    for recording in gateway.company.all():
        row = {name: recording.get(name) for name in COLUMNS}
        row["id"] = int(row["id"])
        for name in ("caller_id", "dnis", "call_id"):
            row[name] = None if row[name] is None else str(row[name])
        row["start"], row["end"] = instant(row["start"]), instant(row["end"])
        rows.append(("549825", *row.values()))
    return sorted(rows, key=lambda row: row[1])


def expected_children(gateway: Gateway, name: str, kind: type) -> list[tuple[Any, ...]]:
    return sorted(
        ("549825", int(recording["id"]), position, kind(value))
        for recording in gateway.company.all()
        for position, value in enumerate(recording.get(name) or [])
        if value not in (None, {})
    )


def assert_equal(pipeline: dlt.Pipeline, gateway: Gateway, less: frozenset[int] = frozenset()) -> None:
    """Every column and child row is what the emulator holds; `less` are ids that have vanished since."""
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    left = f"NOT IN ({', '.join(map(str, less or [-1]))})"
    found = query(
        pipeline,
        f"SELECT account_id, {names} FROM company_recordings WHERE id {left} ORDER BY account_id, id",
    )
    assert [*map(_utc, found)] == expected_recordings(gateway)
    for child, column, kind in (("extensions", "extension", str), ("rule_ids", "rule_id", int)):
        table = f"company_recordings__{child}"
        sql = f"SELECT account_id, recording_id, position, {column} FROM {table} WHERE recording_id {left}"
        found, expected = sorted(query(pipeline, sql)), expected_children(gateway, child, kind)
        assert (set(found) ^ set(expected), len(found)) == (set(), len(expected))


def _utc(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(cell.astimezone(timezone.utc) if isinstance(cell, datetime) else cell for cell in row)


def environment(url: str, folder: Path, **changed: str) -> dict[str, str]:
    """The environment of a `vbc` process that works in `folder` against `url`."""
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in {**LOGIN}.items()}
    return {
        **os.environ,
        **login,
        "SOURCES__VBC__BASE_URL": url,
        "DLT_DATA_DIR": str(folder / "dlt"),
        **changed,
    }


def vbc(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from vbc_source.cli import main; main()", *arguments]


def run_vbc(folder: Path, url: str, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, in the process of the test: starting one takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run_in_process(*arguments, **environment(url, folder, **changed))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def start_vbc(folder: Path, url: str, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as a user does."""
    return subprocess.run(
        vbc(*arguments),
        cwd=folder,
        env=environment(url, folder, **changed),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def read_database(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "vbc.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()
