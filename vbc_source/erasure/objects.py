"""The objects of recordings in the bucket: all versions of their files, sidecars, and lines of manifests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from vbc_source.audio.bucket import Bucket, BucketFailed, ObjectLocked
from vbc_source.audio.exports.run import UNMATCHED
from vbc_source.audio.formats import FORMATS
from vbc_source.audio.sidecars.sidecar import SIDECAR_EXTENSION, sidecar_key
from vbc_source.audio.sidecars.storage import remove_lines
from vbc_source.erasure.journal import ErasedRecording
from vbc_source.errors import InvalidContent
from vbc_source.recordings import EPOCH, Recording


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """The objects of a recording; `reason` says why they cannot be erased."""

    keys: tuple[str, ...]
    reason: str = ""


class ObjectCopies:
    """The objects of one erasure."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._listed: dict[str, frozenset[str]] = {}

    def find(
        self, recording: ErasedRecording, uris: Iterable[str], shared: Collection[str], *, shares_id: bool
    ) -> FoundObjects:
        """Find the objects of a recording: named by the ledger, or like it in its folder.

        Args:
            recording: The recording.
            uris: The addresses of its files in the ledger.
            shared: Addresses that the ledger names for other recordings too.
            shares_id: Whether another user has a recording with the same id.
        """
        # those that a killed run has found: the ledger may have lost its rows since
        keys = set(recording.keys)
        for uri in uris:
            key = self._bucket.key_of(uri)
            if key is None:
                return FoundObjects((), f"its file is in another bucket than {self._bucket.url}")
            if uri in shared:
                return FoundObjects((), "the ledger names its file for another recording too")
            keys |= {key, sidecar_key(key)}
        folder, pattern = _describe(recording, shares_id)
        keys |= {f"{folder}/{name}" for name in self._list(folder) if pattern.fullmatch(name)}
        present = tuple(key for key in sorted(keys) if self._is_there(key))
        for key in present:
            # before anything is erased: a lock of one object keeps all copies of the recording
            if lock := self._bucket.find_lock(key):
                return FoundObjects(present, lock)
        return FoundObjects(present)

    def _is_there(self, key: str) -> bool:
        path = PurePosixPath(key)
        # a listing has no versions that are hidden behind a delete marker
        return path.name in self._list(str(path.parent)) or not self._bucket.is_erased(key)

    def _list(self, folder: str) -> Collection[str]:
        if folder not in self._listed:
            self._listed[folder] = frozenset(self._bucket.list_sizes(folder))
        return self._listed[folder]

    def erase(self, recording: ErasedRecording) -> tuple[int, str]:
        """Erase the objects of a recording; return how many there were, and why one is left."""
        erased = 0
        try:
            # lines first: a manifest that cannot be read leaves the files where they are, for another try
            for folder in sorted({str(PurePosixPath(key).parent) for key in recording.keys}):
                remove_lines(self._bucket, folder, {PurePosixPath(key).name for key in recording.keys})
            for key in recording.keys:
                self._bucket.erase(key)
                erased += 1
            self._bucket.sync(map(self._bucket.uri, recording.keys))
        except (BucketFailed, InvalidContent, ObjectLocked) as error:
            return erased, f"an object could not be erased: {error}"
        return erased, ""

    def has_unmatched(self) -> bool:
        """Return whether there are files of exports that belong to no recording."""
        return bool(self._bucket.list_sizes(UNMATCHED))


def _describe(recording: ErasedRecording, shares_id: bool) -> tuple[str, re.Pattern[str]]:
    """Return the folder of a recording, and which names there are of its files and what is beside them."""
    start = datetime.fromisoformat(recording.start) if recording.start else EPOCH
    named = Recording(
        recording.account_id,
        recording.recording_type,
        recording.user_id,
        recording.recording_id,
        start,
        download_url=None,
        size_bytes=None,
        shared_id=shares_id,
    )
    # a name without a user may be another user's file, where both have the id
    stem = re.escape(named.file("x").removesuffix(".x"))
    extensions = "|".join(audio.extension for audio in FORMATS)
    # after the name of a file: damaged bytes of it that a repair has kept
    return named.folder, re.compile(rf"{stem}(?:\.v\d+)?\.(?:{SIDECAR_EXTENSION}|(?:{extensions})(?:\..*)?)")
