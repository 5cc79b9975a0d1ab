"""Locks that keep two processes from loading the same rows, or from sharing a pipeline's working folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import dlt
from filelock import FileLock, Timeout

from vbc_source.dlt_internals import DatabaseException
from vbc_source.errors import VbcError
from vbc_source.private_files import make_private_folder

log = logging.getLogger(__name__)

WAIT_SECONDS = 600
# keepalives: a lock whose holder vanished with its machine is released after two minutes, not after two hours
_POSTGRES_SETTINGS = (
    f"SET lock_timeout = '{WAIT_SECONDS}s'",
    "SET tcp_keepalives_idle = 60",
    "SET tcp_keepalives_interval = 20",
    "SET tcp_keepalives_count = 3",
)


def pipeline_lock(pipeline: str, *, thread_local: bool = True) -> FileLock:
    """Return a pipeline's file lock on this machine; threads share one that is not `thread_local`."""
    folder = make_private_folder(Path(dlt.current.run_context().data_dir) / "vbc_locks")
    digest = hashlib.sha256(pipeline.encode()).hexdigest()[:16]
    return FileLock(folder / f"{digest}.lock", mode=0o600, thread_local=thread_local)


@contextmanager
def hold_pipeline_lock(pipeline: str) -> Iterator[None]:
    """Keep other processes away from a pipeline: two in one working folder destroy each other's packages."""
    lock = pipeline_lock(pipeline)
    try:
        with suppress(Timeout):
            lock.acquire(timeout=0)
        if not lock.is_locked:
            log.warning("another vbc process works on pipeline %s; waiting for it", pipeline)
            lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise VbcError(
            f"another vbc process has worked on pipeline {pipeline} for {WAIT_SECONDS} s; let it end, "
            "or use another --pipeline"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_locked(pipeline: str) -> bool:
    """Return whether another process works on a pipeline now."""
    try:
        with pipeline_lock(pipeline).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def hold_dataset_lock(pipeline: dlt.Pipeline, window: str = "") -> Iterator[None]:
    """Hold a Postgres dataset for a load, on whatever machine; other destinations are left alone.

    A merge deletes rows and inserts them again. Two merges of the same row at once do not see each other's
    insert, and the row is there twice. The advisory lock ends with its connection. Windows of a backfill
    share the dataset's lock, since they write different rows, but one window is never loaded by two.
    """
    dataset = f"vbc {pipeline.dataset_name}"
    windows = [("", f"{dataset} {window}")] if window else []
    with _hold_in_postgres(pipeline, [*windows, ("_shared" if window else "", dataset)]):
        yield


@contextmanager
def hold_chain_lock(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Hold the chain of custody of a pipeline in Postgres, on whatever machine; others are left alone.

    Two machines that both read the same newest event would fork the chain.
    """
    with _hold_in_postgres(pipeline, [("", f"vbc {pipeline.dataset_name} custody {pipeline.pipeline_name}")]):
        yield


@contextmanager
def _hold_in_postgres(pipeline: dlt.Pipeline, locks: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Hold advisory locks, in their order: each `_shared` or empty, and its name."""
    destination = pipeline.destination
    if destination is None or not destination.destination_type.endswith(".postgres"):
        yield
        return
    with pipeline.sql_client() as client:
        try:
            for setting in _POSTGRES_SETTINGS:
                client.execute_sql(setting)
            for shared, name in locks:
                client.execute_sql(f"SELECT pg_advisory_lock{shared}(%s)", _lock_number(name))
        except DatabaseException as error:
            raise VbcError(
                f"dataset {pipeline.dataset_name} is locked: another vbc process has loaded into it for "
                f"{WAIT_SECONDS} s, or the database failed"
            ) from error
        yield


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
