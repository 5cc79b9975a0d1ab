"""Keeps other loads away from a dataset while one writes, as far as the destination has the means."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dlt
from dlt.destinations.exceptions import DatabaseException

from vbc_source.errors import VbcError

WAIT_SECONDS = 600
DUCKDB_BYTES = 3 * 4096  # its headers: a smaller file is no database yet
# a holder that vanished with its machine is noticed after two minutes, not after two hours
_SETTINGS = (
    f"SET lock_timeout = '{WAIT_SECONDS}s'",
    "SET tcp_keepalives_idle = 60",
    "SET tcp_keepalives_interval = 20",
    "SET tcp_keepalives_count = 3",
)


def find_kind(pipeline: dlt.Pipeline) -> str:
    """The type of a destination, whatever name it was given: `postgres`."""
    return pipeline.destination.destination_type.rsplit(".", 1)[-1]


def clear_half_made(database: Path) -> None:
    """Remove a DuckDB file that a kill left half made: it holds nothing yet, and DuckDB refuses it for ever.

    Whatever else is in a file stays, and so does one that another process is making just now; on Windows,
    where an open file cannot be removed, all do.
    """
    with suppress(OSError):
        if database.is_file() and database.stat().st_size < DUCKDB_BYTES:
            with database.open("rb+") as file:
                if sys.platform != "win32":  # there, nobody can remove what is open
                    import fcntl

                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DuckDB does
                made = file.read()
                if made[8:12] == b"DUCK" or not any(made):
                    database.unlink()


@contextmanager
def hold_database(pipeline: dlt.Pipeline, window: str = "") -> Iterator[None]:
    """Hold a dataset for a load.

    A merge deletes rows and inserts them anew. Two that write the same row at once do not see each
    other's, and it is there twice. In Postgres, whoever loads therefore holds a lock of the database,
    on whatever machine it runs, and which ends with its connection. Windows of a backfill share it,
    since they write different rows, but the same window is never loaded by two.

    Args:
        pipeline: what loads.
        window: the window of a backfill; empty for a load that may write any row.

    Raises:
        VbcError: others have held it for too long.
    """
    if find_kind(pipeline) != "postgres":
        yield
        return
    with pipeline.sql_client() as client:
        dataset = f"vbc {pipeline.dataset_name}"
        try:
            for setting in _SETTINGS:
                client.execute_sql(setting)
            if window:
                client.execute_sql("SELECT pg_advisory_lock(%s)", _number(f"{dataset} {window}"))
                client.execute_sql("SELECT pg_advisory_lock_shared(%s)", _number(dataset))
            else:
                client.execute_sql("SELECT pg_advisory_lock(%s)", _number(dataset))
        except DatabaseException as error:
            raise VbcError(
                f"dataset {pipeline.dataset_name} could not be held for a load: another vbc process has "
                f"loaded into it for {WAIT_SECONDS} s, or the database failed"
            ) from error
        yield


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
