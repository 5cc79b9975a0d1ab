"""Log from time to time how far a long task has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

SECONDS = 5.0  # between two log lines


class Progress:
    """Counts files and bytes."""

    def __init__(
        self, files: int, size: int, clock: Callable[[], float] = time.monotonic, task: str = "audio"
    ) -> None:
        self.files, self.bytes, self._task = 0, 0, task
        self._all_files, self._all_bytes = files, size
        self._clock = clock
        self._started = self._logged = clock()

    def count(self, size: int) -> None:
        """Count a processed file, and log the progress unless that was done just now."""
        self.files, self.bytes = self.files + 1, self.bytes + size
        if self._clock() - self._logged >= SECONDS:
            self._logged = self._clock()
            log.info("%s", self.describe())

    def describe(self) -> str:
        """Return files, bytes, rate and time left."""
        seconds = max(self._clock() - self._started, 0.001)
        left = max(self._all_files - self.files, 0) * seconds / max(self.files, 1)
        return (
            f"{self._task}: {self.files:,} of {self._all_files:,} files, {write_size(self.bytes)} of "
            f"{write_size(self._all_bytes)}, {write_size(self.bytes / seconds)}/s, {write_time(left)} left"
        )


def write_size(size: float) -> str:
    """Format a number of bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def write_time(seconds: float) -> str:
    """Format a number of seconds for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 120 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
