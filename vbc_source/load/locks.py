"""One process at a time works on a pipeline: two in one working folder destroy each other's packages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dlt
from filelock import FileLock, Timeout

from vbc_source.errors import VbcError

log = logging.getLogger(__name__)

LOCK_SECONDS = 600


def find_lock(name: str, thread_local: bool = True) -> FileLock:
    """The lock of a pipeline; threads share one that is not `thread_local`."""
    folder = Path(dlt.current.run_context().data_dir) / "vbc_locks"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return FileLock(folder / f"{digest}.lock", thread_local=thread_local)


@contextmanager
def hold_pipeline_lock(name: str) -> Iterator[None]:
    """Keep the other processes that work on a pipeline out.

    Raises:
        VbcError: another process holds it for too long.
    """
    lock = find_lock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("another vbc process works on pipeline %s; waiting for it", name)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise VbcError(
                f"another vbc process has worked on pipeline {name} for {LOCK_SECONDS} s; let it end, or use "
                "another --pipeline"
            ) from None
    try:
        yield
    finally:
        lock.release()


def is_locked(name: str) -> bool:
    """Whether another process works on a pipeline just now."""
    try:
        with find_lock(name).acquire(timeout=0):
            return False
    except Timeout:
        return True
