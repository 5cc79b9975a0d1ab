"""Read objects to their end, as fast as disk and processor allow, or ask the store for their checksum."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from vbc_source.audio.bucket import Bucket, BucketFailed
from vbc_source.fixity.judging import Found

BUFFER_BYTES = 1 << 20  # of each thread; larger ones leave the processor's cache
_local = threading.local()


class ObjectReader:
    """Reads objects of a bucket; thread-safe.

    With `remote`, the store's own checksum counts where it has one of the whole object; `read_instead` counts
    the objects that had to be read, since it has none.
    """

    def __init__(self, bucket: Bucket, *, remote: bool) -> None:
        self._bucket, self._remote = bucket, remote and bucket.is_s3
        self._lock, self.read_instead = threading.Lock(), 0

    def ask(self, key: str, expected: Found) -> Found | None:
        """Return what the store says of an object if that is as expected; None if it is to be read."""
        if not self._remote:
            return None
        stored = self._bucket.read_checksum(key)
        if stored and (stored.size, stored.sha256) == expected:
            return expected
        if stored and stored.sha256 is None:
            with self._lock:
                self.read_instead += 1
        return None  # before something is called damaged, its bytes are read

    def read(self, key: str) -> Found | None:
        """Read an object to its end; None if there is none. Raises BucketFailed."""
        path = self._bucket.path(key)
        if path:
            return _hash_file(path)
        content = self._bucket.read(key)
        return Found(content.size, content.sha256) if content else None


def _hash_file(path: Path) -> Found | None:
    if not hasattr(_local, "buffer"):
        _local.buffer = memoryview(bytearray(BUFFER_BYTES))
    buffer: memoryview = _local.buffer
    digest, size = hashlib.sha256(), 0
    try:
        # unbuffered, into the same memory: nothing is copied, and hashlib lets other threads run
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                size += count
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BucketFailed(f"{path.parent} cannot be read: {error.strerror}") from error
    return Found(size, digest.hexdigest())
