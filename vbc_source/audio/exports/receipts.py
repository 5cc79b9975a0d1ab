"""Which exports are archived as a whole, so that none is fetched twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.exports.folders import FolderListings


class ExportReceipts:
    """A small file for each export: what of it is in the bucket.

    Args:
        folder: of these files.
        bucket: where the audio is.
    """

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder, self._bucket = folder, bucket

    def write(self, job_id: str, sizes: Mapping[str, int]) -> None:
        """Note that an export is archived as a whole.

        Args:
            job_id: of the export.
            sizes: the keys of its files, with their sizes in bytes.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._locate(job_id).with_suffix(".draft")
        draft.write_text(json.dumps(dict(sizes)))
        draft.replace(self._locate(job_id))

    def read(self, job_id: str) -> Mapping[str, int] | None:
        """Give the files of an export, if all of them are in the bucket still; else None."""
        try:
            sizes = {
                str(key): int(size) for key, size in json.loads(self._locate(job_id).read_text()).items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            return None
        folders = FolderListings(self._bucket)
        if all(folders.has(key, size) for key, size in sorted(sizes.items())):
            return sizes
        with suppress(OSError):
            self._locate(job_id).unlink()
        return None

    def _locate(self, job_id: str) -> Path:
        told = json.dumps([self._bucket.url, job_id]).encode()
        return self._folder / f"{hashlib.sha256(told).hexdigest()[:32]}.json"
