"""Says now and then how far a long work has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

SECONDS = 5.0  # between two words


class Progress:
    """Counts files and bytes.

    Args:
        files: how many there are to do.
        size: how many bytes, as far as that is known.
        clock: seconds that never run backwards.
    """

    def __init__(self, files: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.files, self.bytes = 0, 0
        self._all_files, self._all_bytes = files, size
        self._clock = clock
        self._began = self._told = clock()

    def count(self, size: int) -> None:
        """Count a file that is done, and say how far the work has come if that was not said lately."""
        self.files, self.bytes = self.files + 1, self.bytes + size
        if self._clock() - self._told >= SECONDS:
            self._told = self._clock()
            log.info("%s", self.describe())

    def describe(self) -> str:
        """Files, bytes, rate, time left."""
        seconds = max(self._clock() - self._began, 0.001)
        left = max(self._all_files - self.files, 0) * seconds / max(self.files, 1)
        return (
            f"audio: {self.files:,} of {self._all_files:,} files, {write_size(self.bytes)} of "
            f"{write_size(self._all_bytes)}, {write_size(self.bytes / seconds)}/s, {_write_time(left)} left"
        )


def write_size(size: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _write_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
