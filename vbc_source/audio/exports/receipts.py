"""Receipts of exports that are archived completely, so that no zip is downloaded twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from vbc_source.audio.bucket import Bucket, FolderListings
from vbc_source.private_files import make_private_folder, write_private_file


class ExportReceipts:
    """A small file for each export, with the keys and sizes of its files in the bucket."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self._folder, self._bucket = folder, bucket

    def write(self, job_id: str, sizes: Mapping[str, int]) -> None:
        """Record that an export is archived completely, with keys and sizes in bytes of its files."""
        # before the receipt: after a crash of the machine it must not outlast the files
        self._bucket.sync(map(self._bucket.uri, sizes))
        make_private_folder(self._folder)
        write_private_file(self._locate(job_id), json.dumps(dict(sizes)))

    def read(self, job_id: str) -> Mapping[str, int] | None:
        """Return the files of an export if all of them are still in the bucket, else None."""
        path = self._locate(job_id)
        try:
            sizes = {str(key): int(size) for key, size in json.loads(path.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return None
        folders = FolderListings(self._bucket)
        if all(folders.has(key, size) for key, size in sorted(sizes.items())):
            return sizes
        with suppress(OSError):
            path.unlink()
        return None

    def _locate(self, job_id: str) -> Path:
        # hashed: the id is typed by a user and may be anything
        identity = json.dumps([self._bucket.url, job_id]).encode()
        return self._folder / f"{hashlib.sha256(identity).hexdigest()[:32]}.json"
