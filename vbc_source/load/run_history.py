"""How the runs of a pipeline on this machine ended: a failed run cannot always say so in the destination.

One small file for each pipeline in dlt's data folder. A run that was killed is noticed by the next one, or by
`vbc status`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import dlt
from filelock import FileLock

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
        running: Id of the process that runs now; 0 for none.
        began: When it started.
    """

    succeeded: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    last_success: float = 0
    last_failure: float = 0
    last_error: str = ""
    running: int = 0
    began: float = 0

    def fail(self, when: float, error: str) -> RunHistory:
        """Return the history after a failed run."""
        counts = {"failed": self.failed + 1, "failed_in_a_row": self.failed_in_a_row + 1}
        return replace(self, **counts, last_failure=when, last_error=error, running=0)

    def succeed(self, when: float) -> RunHistory:
        """Return the history after a run that ended well."""
        return replace(self, succeeded=self.succeeded + 1, failed_in_a_row=0, last_success=when, running=0)

    def settle(self) -> RunHistory:
        """Count a run whose process is gone as failed."""
        if not self.running or _is_alive(self.running):
            return self
        return self.fail(self.began, KILLED)


def read_run_history(pipeline: str) -> RunHistory:
    """Read what is known of a pipeline's runs on this machine."""
    return _read(_locate(pipeline)).settle()


@contextmanager
def record_run(pipeline: str) -> Iterator[None]:
    """Record how the work inside ends."""
    path = _locate(pipeline)
    _update(path, lambda history: replace(history.settle(), running=os.getpid(), began=time.time()))
    try:
        yield
    except BaseException as error:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _update(path, lambda history: history.fail(time.time(), text.splitlines()[0][:300]))
        raise
    _update(path, lambda history: history.succeed(time.time()))


def _locate(pipeline: str) -> Path:
    folder = Path(dlt.current.run_context().data_dir) / "vbc_runs"
    return folder / f"{hashlib.sha256(pipeline.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> RunHistory:
    try:
        return RunHistory(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # no file yet, or not one of ours
        return RunHistory()


def _update(path: Path, change: Callable[[RunHistory], RunHistory]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(change(_read(path)))))
        draft.replace(path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)  # another error: it is another user's process
    return True
