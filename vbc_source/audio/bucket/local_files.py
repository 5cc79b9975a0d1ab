"""Files below a local folder. A name is always that of a whole file, whose bytes are on the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vbc_source.audio.bucket.objects import HEAD_BYTES, Content
from vbc_source.durable_files import fsync, make_folder

BUFFER_BYTES = 1 << 20  # of each thread; larger ones leave the processor's cache
DRAFT_SECONDS = 86_400  # after which a draft belongs to no running process
DRAFTS = ".incoming"  # folder of files before they get their names
_local = threading.local()


class LocalFiles:
    """The files below a folder, by key; raises OSError."""

    def __init__(self, root: str) -> None:
        self._root = root

    def locate(self, key: str) -> Path:
        """Return the path of a file."""
        return Path(f"{self._root}/{key}")

    def put(self, path: Path, key: str) -> None:
        """Move a file to its name; from another file system by a draft, so that the name is always whole."""
        target = self.locate(key)
        try:
            folder = target.parent.stat()
        except FileNotFoundError:
            make_folder(Path(self._root))
            target.parent.mkdir(parents=True, exist_ok=True)
            folder = target.parent.stat()
        # readable by those who can read the folder: the spool, where it comes from, is private
        path.chmod(folder.st_mode & 0o666)
        # bytes before the name: after a crash the name could be that of an empty file
        fsync(path)
        try:
            path.replace(target)
        except OSError as error:
            # tried, since it cannot be predicted: two mounts of one volume have the same device number
            if error.errno != errno.EXDEV:
                raise
            self._copy(path, target)

    def put_bytes(self, data: bytes, key: str) -> None:
        """Write a small file."""
        with self._draft() as draft:
            draft.write_bytes(data)
            self.put(draft, key)

    def sync(self, keys: Iterable[str]) -> None:
        """Write the names of files to the disk, also that some are gone: once for each of their folders."""
        folders = {folder for key in keys for folder in self.locate(key).parents}
        for folder in folders:
            if folder.is_relative_to(self._root):
                with suppress(FileNotFoundError):
                    fsync(folder)

    def read(self, key: str) -> Content:
        """Read a file to its end."""
        if not hasattr(_local, "buffer"):
            _local.buffer = memoryview(bytearray(BUFFER_BYTES))
        buffer: memoryview = _local.buffer
        digest, size, head = hashlib.sha256(), 0, b""
        # unbuffered, into the same memory: nothing is copied, and hashlib lets other threads run
        with self.locate(key).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                head = head or bytes(buffer[: min(count, HEAD_BYTES)])
                digest.update(buffer[:count])
                size += count
        return Content(size, digest.hexdigest(), head)

    def read_part(self, key: str, start: int, stop: int) -> bytes:
        """Read some bytes of a file, and no more."""
        with self.locate(key).open("rb", buffering=0) as file:  # a buffer would read ahead
            file.seek(start)
            return file.read(stop - start)

    def keep_beside(self, key: str, name: str) -> None:
        """Give a file a second name, or copy it where the file system has no links."""
        source, target = self.locate(key), self.locate(name)
        try:
            # a repair replaces the first name by a rename, which leaves the bytes of a link alone
            os.link(source, target)
        except OSError:
            self._copy(source, target)

    def remove_stale_drafts(self) -> None:
        """Remove drafts that killed runs left behind at least a day ago."""
        for draft in (Path(self._root) / DRAFTS).glob("*"):
            with suppress(OSError):
                if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                    draft.unlink()

    def _copy(self, path: Path, target: Path) -> None:
        with self._draft() as draft:
            shutil.copyfile(path, draft)
            with suppress(OSError):  # some mounts have no modes
                draft.chmod(path.stat().st_mode)
            fsync(draft)
            draft.replace(target)

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """Give the path of a file beside the others, which is removed unless it gets another name."""
        draft = Path(self._root) / DRAFTS / uuid.uuid4().hex
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
        finally:
            with suppress(OSError):
                draft.unlink()
