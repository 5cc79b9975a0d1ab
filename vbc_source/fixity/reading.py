"""Read objects to their end, or ask the store for their checksum."""

from __future__ import annotations

import threading

from vbc_source.audio.bucket import Bucket
from vbc_source.fixity.judging import Found


class ObjectReader:
    """Reads objects of a bucket; thread-safe.

    With `remote`, the store's own checksum counts where it has one of the whole object; `read_instead` counts
    the objects that had to be read, since it has none.
    """

    def __init__(self, bucket: Bucket, *, remote: bool) -> None:
        self._bucket, self._remote = bucket, remote and bucket.s3 is not None
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
        content = self._bucket.read(key)
        return Found(content.size, content.sha256) if content else None
