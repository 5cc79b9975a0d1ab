"""Files that survive a crash of the machine: their bytes are on the disk, and their names too.

A name is an entry of a folder, which is written to the disk apart from the file. `replace_file` writes both
for one file. Where many files are moved, `fsync` is called once for each of their folders, before anything
says that they are stored.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

# some mounts cannot write a folder to the disk, and a folder may be closed to readers
_IMPOSSIBLE = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)


def fsync(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    is_folder = path.is_dir()
    # Windows opens no folders
    if is_folder and os.name != "posix":
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not is_folder or error.errno not in _IMPOSSIBLE:
            raise


def replace_file(draft: Path, path: Path) -> None:
    """Move a file that is written completely to its name, replacing the file that has that name."""
    # in this order: a name that reaches the disk before the bytes is an empty file after a crash
    fsync(draft)
    draft.replace(path)
    fsync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing."""
    # found out before they are made: each new folder is an entry of the one above it
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        fsync(place.parent)
