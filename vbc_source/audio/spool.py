"""The spool: files that are being received, in a private folder. Room is left free on its disk."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType

from vbc_source.errors import VbcError
from vbc_source.load.failures import DISK_FULL
from vbc_source.private_files import open_private

RESERVED_BYTES = 100_000_000  # left free on the disk, for the destination, logs and others
CHECK_BYTES = 16 << 20  # bytes that are written between two looks at the disk


class NoRoom(VbcError):
    """Raised when the disk of the spool has no room for a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no space in {folder}: free some, or move dlt's data folder (DLT_DATA_DIR) to a larger disk"
        )


def measure_room(folder: Path) -> int:
    """Return how many bytes a file in a folder may have; negative if the disk is full without it."""
    return shutil.disk_usage(folder).free - RESERVED_BYTES


class SpoolFile:
    """A private file that is written while there is room; raises NoRoom."""

    def __init__(self, path: Path) -> None:
        self._folder, self._unchecked = path.parent, 0
        self._file = os.fdopen(open_private(path), "wb")

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # writes what is buffered: a full disk may show itself only here
            self._file.close()
        except OSError as fault:
            if error is None:
                self._fail(fault)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._unchecked += len(chunk)
        if self._unchecked >= CHECK_BYTES:
            self._unchecked = 0
            if measure_room(self._folder) < 0:
                raise NoRoom(self._folder)
        try:
            self._file.write(chunk)
        except OSError as fault:
            self._fail(fault)

    def _fail(self, fault: OSError) -> None:
        # EFBIG: a limit of the process (`ulimit -f`), or of the file system
        if fault.errno in (*DISK_FULL, errno.EFBIG):
            raise NoRoom(self._folder) from None
        raise fault
