"""Listings of the bucket's folders, remembered for a while."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import PurePosixPath

from vbc_source.audio.bucket.bucket import Bucket
from vbc_source.audio.sidecars.sidecar import SIDECAR_EXTENSION, is_audio

LISTINGS = 16  # folders to remember: an archive of one busy day has tens of thousands of files


class FolderListings:
    """Cached listings of the audio and sidecars in folders, without what was stored after it. Thread-safe."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._lock = bucket, threading.Lock()
        self._listed: dict[str, Mapping[str, int]] = {}

    def list_sizes(self, folder: str) -> Mapping[str, int]:
        """Return the audio files and sidecars directly below a folder with their sizes in bytes."""
        # recordings come in the order of their days: without the lock, all threads list the same folder
        with self._lock:
            if folder not in self._listed:
                if len(self._listed) >= LISTINGS:
                    del self._listed[next(iter(self._listed))]
                sizes = self._bucket.list_sizes(folder)
                self._listed[folder] = {name: size for name, size in sizes.items() if _is_of_file(name)}
            return self._listed[folder]

    def has(self, key: str, size: int) -> bool:
        """Return whether there is an object with this key and this size in bytes."""
        path = PurePosixPath(key)
        return self.list_sizes(str(path.parent)).get(path.name) == size


def _is_of_file(name: str) -> bool:
    return is_audio(name) or name.endswith(f".{SIDECAR_EXTENSION}")
