"""Locks that keep two processes from loading the same rows, or from sharing a pipeline's working folder."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import dlt
from filelock import FileLock, Timeout

from vbc_source.dlt_internals import DatabaseException
from vbc_source.errors import VbcError
from vbc_source.private_files import make_private_folder

log = logging.getLogger(__name__)

WAIT_SECONDS = 600
SINGLE_PROCESS = ("duckdb",)  # destinations that one process at a time may open
TURN_SECONDS = 10  # of one try, after which a client that is closed gives up
# Locks are those of a transaction: a pooler that shares connections, such as PgBouncer with `pool_mode =
# transaction`, would leave one of a session with a connection that others get next.
_POSTGRES_BEGIN = (
    "ROLLBACK",
    "BEGIN ISOLATION LEVEL READ COMMITTED",  # while it is idle, it keeps no vacuum from its work
    # no `SET`: older servers do not have each of them. `statement_timeout` would end the wait for a lock
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN "
    "('idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')",
    # keepalives: a lock whose holder vanished with its machine is released after two minutes, not two hours
    "SET LOCAL tcp_keepalives_idle = 60",
    "SET LOCAL tcp_keepalives_interval = 20",
    "SET LOCAL tcp_keepalives_count = 3",
)
_LOCK_TIMEOUT = "55P03"  # Postgres' code of a lock that was not granted in time


def pipeline_lock(pipeline: str, *, thread_local: bool = True) -> FileLock:
    """Return a pipeline's file lock on this machine; threads share one that is not `thread_local`."""
    folder = make_private_folder(Path(dlt.current.run_context().data_dir) / "vbc_locks")
    digest = hashlib.sha256(pipeline.encode()).hexdigest()[:16]
    return FileLock(folder / f"{digest}.lock", mode=0o600, thread_local=thread_local)


@contextmanager
def hold_pipeline_lock(pipeline: str) -> Iterator[None]:
    """Keep other processes away from a pipeline: two in one working folder destroy each other's packages.

    Raises:
        VbcError: Another process holds it for longer than `WAIT_SECONDS`.
    """
    lock = pipeline_lock(pipeline)
    try:
        # without waiting at first, so that a wait is announced before it begins
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


def hold_database(pipeline: str, kind: str) -> AbstractContextManager[None]:
    """Keep the source's pipeline out of a database that admits one process; other destinations are free."""
    return hold_pipeline_lock(pipeline) if kind in SINGLE_PROCESS else nullcontext()


def can_lock() -> bool:
    """Return whether locks can be made: not on a read-only disk, where no pipeline can work either."""
    folder = Path(dlt.current.run_context().data_dir)
    return os.access(next(place for place in (folder, *folder.absolute().parents) if place.exists()), os.W_OK)


def is_pipeline_locked(pipeline: str) -> bool:
    """Return whether another process works on a pipeline now."""
    if not can_lock():
        return False
    try:
        with pipeline_lock(pipeline).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def hold_dataset_lock(pipeline: dlt.Pipeline, window: str = "") -> Iterator[None]:
    """Hold a Postgres dataset for a load, on whatever machine; other destinations are left alone.

    A merge deletes rows and inserts them again. Two merges of the same row at once do not see each other's
    insert, and the row is there twice. The advisory lock ends with its connection at the latest. Windows of a
    backfill share the dataset's lock, since they write different rows, but one window is never loaded by two.
    """
    # the window's lock first: who waits for that holds none of the dataset meanwhile, and lets a sync load
    windows = [("", f" {window}")] if window else []
    with _hold_in_postgres(pipeline, [*windows, ("_shared" if window else "", "")]):
        yield


@contextmanager
def hold_chain_lock(pipeline: dlt.Pipeline) -> Iterator[None]:
    """Hold the chain of custody of a pipeline in Postgres, on whatever machine; others are left alone.

    Two machines that both read the same newest event would fork the chain.
    """
    with _hold_in_postgres(pipeline, [("", f" custody {pipeline.pipeline_name}")]):
        yield


@contextmanager
def _hold_in_postgres(pipeline: dlt.Pipeline, locks: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Hold advisory locks, in their order: each `_shared` or empty, and what follows the dataset's name."""
    if not _is_postgres(pipeline.destination):
        yield
        return
    # a connection of its own, open and idle while dlt loads by others: the locks end with its transaction
    with pipeline.sql_client() as client:
        try:
            _begin(client, WAIT_SECONDS)
            for shared, ending in locks:
                # the schema's name: `Vbc-Data` and `vbc_data` are one dataset to dlt
                number = _lock_number(f"vbc {client.dataset_name}{ending}")
                client.execute_sql(f"SELECT pg_advisory_xact_lock{shared}(%s)", number)
        except DatabaseException as error:
            raise VbcError(
                f"dataset {pipeline.dataset_name} is locked: another vbc process has loaded into it for "
                f"{WAIT_SECONDS} s, or the database failed"
            ) from error
        yield


@contextmanager
def open_turns(destination: Any, make_client: Callable[[], Any]) -> Iterator[PostgresTurns | None]:
    """Give turns to processes that log in as one user and use one Postgres; None for other destinations.

    `make_client` makes an SQL client, which is opened before the first login. A turn ends with the context.
    """
    if not _is_postgres(destination):
        yield None
        return
    with ExitStack() as stack:
        yield PostgresTurns(make_client(), stack)


class PostgresTurns:
    """Turns by an advisory lock of Postgres."""

    def __init__(self, sql_client: Any, stack: ExitStack) -> None:
        self._client, self._stack = sql_client, stack
        self._lock = threading.Lock()
        self._is_open = self._is_broken = False
        self._held: str | None = None  # `_shared`, or empty where it is held alone

    def is_held(self, *, alone: bool) -> bool:
        """Return whether this process holds the lock; with `alone`, whether exclusively."""
        return self._held is not None and not (alone and self._held)

    def hold(self, login: str, *, alone: bool) -> bool:
        """Try for some seconds to hold the lock of a login; returns whether it may help to try again.

        A process that wants it alone gives up its shared lock first: two of them would wait for each other.
        """
        with self._lock:
            if self._is_broken or self.is_held(alone=alone):
                return False
            number = _lock_number(f"vbc login {login}")
            try:
                if not self._is_open:
                    self._stack.enter_context(self._client)
                    self._is_open = True
                # from here on nothing is held: `_begin` ends the transaction, and with it the shared lock
                self._held = None
                _begin(self._client, TURN_SECONDS)
                kind = "" if alone else "_shared"
                self._client.execute_sql(f"SELECT pg_advisory_xact_lock{kind}(%s)", number)
            except Exception as error:  # dlt passes some errors of the driver on as they are
                if getattr(getattr(error, "dbapi_exception", None), "pgcode", None) == _LOCK_TIMEOUT:
                    return True
                # a run without turns can still log in, as where no database is shared
                self._is_broken = True
                log.warning("logins take no turns, since the database failed: %s", error)
                return False
            self._held = kind
            return False


def _begin(client: Any, seconds: int) -> None:
    """Begin a transaction in which locks are waited for; it ends, with its locks, as the client is closed."""
    for statement in (*_POSTGRES_BEGIN, f"SET LOCAL lock_timeout = '{seconds}s'"):
        client.execute_sql(statement)


def _is_postgres(destination: Any) -> bool:
    return destination is not None and bool(destination.destination_type.endswith(".postgres"))


def _lock_number(name: str) -> int:
    # Postgres takes a signed number of 64 bits in place of a name
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
