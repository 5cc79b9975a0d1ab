"""What is in folders of a bucket, each listed once as long as it is remembered."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import PurePosixPath

from vbc_source.audio.bucket import Bucket

REMEMBERED = 32


class FolderListings:
    """Listings of a bucket; what is stored after a folder was listed is not in it.

    Args:
        bucket: where files are.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._lock = bucket, threading.Lock()
        self._listed: dict[str, Mapping[str, int]] = {}

    def has(self, key: str, size: int) -> bool:
        """Whether there is an object of that key and that size in bytes."""
        path = PurePosixPath(key)
        return self._list(str(path.parent)).get(path.name) == size

    def _list(self, folder: str) -> Mapping[str, int]:
        with self._lock:  # members come in the order of their days: the others would ask for the same
            if folder not in self._listed:
                if len(self._listed) >= REMEMBERED:
                    del self._listed[next(iter(self._listed))]
                self._listed[folder] = self._bucket.list_sizes(folder)
            return self._listed[folder]
