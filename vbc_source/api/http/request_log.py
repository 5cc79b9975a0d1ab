"""When requests were sent in the last minute: by this process, or by all that share a file.

All commands on a machine that use one login at one gateway share a file, so that together they keep
`requests_per_minute`. It holds the moments of the last minute, by the monotonic clock. That clock is the same
for all processes of a machine, and cannot be set; it starts again when the machine does, so moments in its
future are dropped. A process that is killed may have recorded a request that it did not send; its lock is
free at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import dlt
from filelock import FileLock, Timeout

from vbc_source.config import VbcCredentials
from vbc_source.errors import SettingsError
from vbc_source.private_files import make_private_folder, open_private

log = logging.getLogger("vbc_source.api.client")  # users know the client, not this module

# The gateway counts requests when they arrive, and some take longer than others: a second to spare.
MINUTE = 61.0
LOCK_SECONDS, LOCK_POLL = 10.0, 0.02  # the lock is held for less than a millisecond


class OwnLog:
    """The requests of one process; its caller keeps threads apart."""

    def __init__(self) -> None:
        self._sent: deque[float] = deque()

    def find_wait(self, now: float, most: int) -> float:
        """Return how long to wait; nothing is recorded."""
        while self._sent and self._sent[0] + MINUTE - now <= 0:
            self._sent.popleft()
        return _wait(self._sent, now, most)

    def record(self, now: float) -> None:
        """Record a request."""
        self._sent.append(now)


class SharedLog:
    """The requests of all processes that use one file; without it, nothing is shared, and a warning says so.

    `locate` returns the file; it is called for the first request.
    """

    def __init__(self, locate: Callable[[], Path]) -> None:
        self._locate = locate
        self._path: Path | None = None
        self._is_shared = True

    def reserve(self, clock: Callable[[], float], most: int) -> float:
        """Record a request, or return how many seconds to wait before asking again."""
        if self._is_shared:
            try:
                return self._reserve_shared(clock, most)
            except (OSError, SettingsError, Timeout) as error:
                # for good in this process: otherwise each request would wait for the lock again, and warn
                self._is_shared = False
                log.warning(
                    "requests_per_minute holds for this process alone: the file that shares it with other "
                    "vbc processes cannot be used (%s)",
                    error if isinstance(error, SettingsError) else type(error).__name__,
                )
        return 0.0

    def _reserve_shared(self, clock: Callable[[], float], most: int) -> float:
        if self._path is None:
            self._path = self._locate()
            make_private_folder(self._path.parent)
        with FileLock(self._path.with_suffix(".lock"), LOCK_SECONDS, mode=0o600, poll_interval=LOCK_POLL):
            now = clock()  # not before the lock is held: what others recorded meanwhile would lie ahead
            sent = [moment for moment in _read(self._path) if now - MINUTE < moment <= now]
            if seconds := _wait(sent, now, most):
                return seconds
            _write(self._path, [*sent, now])
        return 0.0


def locate_log(base_url: str, credentials: VbcCredentials) -> Path:
    """Return the file that all processes share which use one login at one gateway."""
    # a login without a user name is known by its tokens alone
    login = credentials.identity() or credentials.fingerprint()
    name = hashlib.sha256(f"{base_url}\n{login}".encode()).hexdigest()[:16]
    return Path(dlt.current.run_context().data_dir) / "vbc_budgets" / f"{name}.sent"


def _wait(sent: Sequence[float], now: float, most: int) -> float:
    """Return the seconds until one more request may be sent; `sent` are the moments, in order."""
    return max(0.0, sent[-most] + MINUTE - now) if len(sent) >= most else 0.0


def _write(path: Path, sent: Sequence[float]) -> None:
    """Overwrite the moments in a file; truncated afterwards, so that a kill loses none."""
    content = struct.pack(f"{len(sent)}d", *sent)
    descriptor = open_private(path, 0)
    try:
        os.write(descriptor, content)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)


def _read(path: Path) -> list[float]:
    """Read the moments in a file, in order."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = len(content) // 8
    return sorted(struct.unpack(f"{whole}d", content[: 8 * whole]))
