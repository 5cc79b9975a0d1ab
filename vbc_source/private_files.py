"""Folders and files that nobody else on the machine may read: tokens, run histories, locks, receipts."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from vbc_source.durable_files import fsync, make_folder, replace_file
from vbc_source.errors import SettingsError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(folder: Path, *, secrets: bool = False, setting: str = "DLT_DATA_DIR") -> Path:
    """Make a folder of mode 0700, whatever the umask; narrow one that others may read.

    Args:
        folder: The folder.
        secrets: Whether secrets are read from it, so that its group may not write to it either.
        setting: What chooses the folder, for messages.

    Raises:
        SettingsError: The folder cannot be made, belongs to another user, or was open to others' writing:
            what is in it may be theirs.
    """
    try:
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            fsync(folder.parent)
        # a link could lead to a folder that somebody else has prepared
        status = folder.stat(follow_symlinks=False)
        _check_owner(folder, status, stat.S_IWOTH | (stat.S_IWGRP if secrets else 0), setting)
        # narrowed only after the check: what others could write may be theirs already
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            folder.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"cannot write to {folder}: {error.strerror}; set {setting} to a folder of your own"
        ) from error
    return folder


def _check_owner(folder: Path, status: os.stat_result, writable: int, setting: str) -> None:
    if os.name != "posix":
        return
    # a link counts as nobody's
    owner = status.st_uid if not stat.S_ISLNK(status.st_mode) else -1
    if owner != os.geteuid():
        reason = "belongs to another user"
    elif status.st_mode & writable:
        reason = "could be written by other users"
    else:
        return
    raise SettingsError(
        f"{folder} {reason}, so its contents are not trusted: remove it (or chmod 700), or set "
        f"{setting} to a folder of your own"
    )


def write_private_file(path: Path, text: str) -> None:
    """Replace a file atomically by one of mode 0600, which is on the disk then."""
    # a draft of this process alone: other processes may write the file at the same time
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    # opened with its final mode: a chmod afterwards would leave a moment for others to read it
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    replace_file(draft, path)


def open_private(path: Path, flags: int = os.O_TRUNC) -> int:
    """Open a file for writing with mode 0600, whatever the umask; return its descriptor."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    if os.name == "posix":
        os.fchmod(descriptor, 0o600)  # a file that was there before keeps its mode
    return descriptor
