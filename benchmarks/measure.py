"""Run a command and measure it. Imports little: a child process inherits its parent's peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measurement of a process.

    Attributes:
        status: Exit status; negative for the signal that ended it.
        seconds: Wall time.
        cpu_seconds: User and system time of the process and its children.
        peak_bytes: Peak resident memory of all processes together; shared memory counts for each.
        output: Its stdout.
        errors: The last lines of its stderr.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str
    errors: str


def run(
    command: Sequence[str | Path], environ: Mapping[str, str], folder: Path, timeout: float
) -> Measurement:
    """Run a command in a folder and measure it; kill it after the timeout."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        child = subprocess.Popen(
            command, cwd=folder, env=environ, stdout=output, stderr=errors, start_new_session=True
        )
        watch = _Watch(child.pid, timeout)
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
        output.seek(0)
        errors.seek(0)
        return Measurement(
            status=child.returncode,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=max(usage.ru_maxrss * 1024, watch.peak_bytes),
            output=output.read(),
            errors="\n".join(errors.read().splitlines()[-15:]),
        )


class _Watch(threading.Thread):
    """Sample the memory of a process and its children, and kill them after the timeout."""

    def __init__(self, pid: int, timeout: float) -> None:
        super().__init__(daemon=True)
        self._pid, self._deadline = pid, time.monotonic() + timeout
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            pids = _list_tree(self._pid)
            if len(pids) > 1:  # the kernel reports the peak of a single process itself
                self.peak_bytes = max(self.peak_bytes, sum(map(_read_resident, pids)))
            if time.monotonic() > self._deadline:
                os.killpg(self._pid, signal.SIGKILL)  # the session that this run started
                return

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()


def _list_tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _list_tree(int(child)))]


def _read_resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
