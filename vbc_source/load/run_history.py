"""How the runs of a pipeline on this machine ended: a failed run cannot always say so in the destination.

One small file for each pipeline and dataset in dlt's data folder. A run holds a lock on a file of its own for
as long as it works. A run that was killed has lost its lock, which the next run or `vbc status` notices. A
process id would not do, because every container has a process 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import dlt
from filelock import FileLock, Timeout

from vbc_source.load.destinations import Target
from vbc_source.printable import escape_controls
from vbc_source.private_files import make_private_folder, write_private_file
from vbc_source.tenants import name_own_tables

KILLED = "it was killed, or the machine stopped"


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What is known of a pipeline's runs on this machine; times in seconds since 1970, 0 for never.

    Attributes:
        succeeded: Runs that ended well.
        failed: Runs that did not.
        failed_in_a_row: Failed runs since the last one that ended well.
        last_success: When a run last ended well.
        last_failure: When a run last failed.
        last_error: Why it failed.
        running: Id of the process that runs now, on its machine or in its container; 0 for none.
        began: When it started.
        run: Random name of the file that the running process locks.
    """

    succeeded: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    last_success: float = 0
    last_failure: float = 0
    last_error: str = ""
    running: int = 0
    began: float = 0
    run: str = ""

    def start(self, run: str, when: float) -> RunHistory:
        """Return the history while a run works."""
        return replace(self, running=os.getpid(), began=when, run=run)

    def fail(self, when: float, error: str) -> RunHistory:
        """Return the history after a failed run."""
        counts = {"failed": self.failed + 1, "failed_in_a_row": self.failed_in_a_row + 1}
        return replace(self, **counts, last_failure=when, last_error=error, running=0, run="")

    def succeed(self, when: float) -> RunHistory:
        """Return the history after a run that ended well."""
        return replace(
            self, succeeded=self.succeeded + 1, failed_in_a_row=0, last_success=when, running=0, run=""
        )

    def count_killed(self, folder: Path) -> RunHistory:
        """Count a run that has lost its lock as failed."""
        if not self.running or _is_locked(folder / f"{self.run}.run"):
            return self
        return self.fail(self.began, KILLED)


def read_run_history(target: Target) -> RunHistory:
    """Read what is known of the runs of a pipeline into a dataset, on this machine."""
    path = _locate(target)
    return _read(path).count_killed(path.parent)


@contextmanager
def record_run(target: Target) -> Iterator[None]:
    """Record how the work inside ends."""
    path = _locate(target)
    make_private_folder(path.parent)
    run = uuid.uuid4().hex
    lock = FileLock(path.parent / f"{run}.run", mode=0o600)
    # before the entry that names it: an entry whose lock is free counts as a killed run
    with lock:
        _update(path, lambda history: history.count_killed(path.parent).start(run, time.time()))
        try:
            yield
        # also Ctrl-C and SystemExit: a run that was interrupted did not end well
        except BaseException as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            message = escape_controls(name_own_tables(text.splitlines()[0]))[:300]
            _update(path, lambda history: history.fail(time.time(), message))
            raise
        else:
            _update(path, lambda history: history.succeed(time.time()))
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)


def _locate(target: Target) -> Path:
    folder = Path(dlt.current.run_context().data_dir) / "vbc_runs"
    name = json.dumps([target.pipeline, target.destination, target.dataset])
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> RunHistory:
    try:
        return RunHistory(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # no file yet, or not one of ours
        return RunHistory()


def _update(path: Path, change: Callable[[RunHistory], RunHistory]) -> None:
    # read, changed and written under one lock: of two runs that end at once, none may be lost
    with FileLock(path.with_suffix(".lock"), mode=0o600):
        write_private_file(path, json.dumps(asdict(change(_read(path)))))


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, mode=0o600).acquire(timeout=0):
            path.unlink(missing_ok=True)  # its run was killed
            return False
    except Timeout:
        return True
    except OSError:  # a data folder that this user may only read
        return False
