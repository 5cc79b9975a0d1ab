"""Write a BagIt bag (RFC 8493): files with manifests that `sha256sum -c` checks. All of it is private."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from vbc_source.durable_files import fsync
from vbc_source.errors import UsageError
from vbc_source.private_files import make_private_folder, open_private

DECLARATION = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


class Written(NamedTuple):
    """Size in bytes and SHA-256 of a file as it was written."""

    size: int
    sha256: str


class Bag:
    """A bag that is being written; it is one when `close` has written its manifests."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: --out needs a new or an empty folder")
        self.folder = make_private_folder(folder, setting="--out")
        self._files: dict[str, Written] = {}

    @property
    def files(self) -> int:
        """Number of files below `data`."""
        return len(self._files)

    def add(self, name: str, chunks: Iterable[bytes]) -> Written:
        """Write a file below `data`. Its path has no percent sign, which a manifest would have to encode."""
        path = f"data/{name.replace('%', '_')}"
        if path in self._files:
            raise ValueError(f"{path} is there already")
        self._files[path] = self._write(path, chunks)
        return self._files[path]

    def close(self, now: datetime, **info: str) -> None:
        """Write the manifests and what describes the bag."""
        # RFC 8493, section 2.2.2: octets and files of the payload, which show an incomplete copy at once
        octets = sum(written.size for written in self._files.values())
        fields = {
            "Bag-Software-Agent": f"vbc-source {version('vbc-source')}",
            "Bagging-Date": now.astimezone(timezone.utc).strftime("%Y-%m-%d"),
            "Payload-Oxum": f"{octets}.{len(self._files)}",
            **info,
        }
        tags = {
            "bag-info.txt": "".join(f"{name}: {value}\n" for name, value in fields.items()),
            "bagit.txt": DECLARATION,
            "manifest-sha256.txt": _write_manifest(self._files),
        }
        # the manifests are written last: a folder that a kill has left is no bag. RFC 8493, section 2.2.1:
        # the tag manifest names the other tag files, not itself.
        written = {name: self._write(name, [text.encode()]) for name, text in tags.items()}
        self._write("tagmanifest-sha256.txt", [_write_manifest(written).encode()])
        for folder in (self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())):
            fsync(folder)

    def _write(self, name: str, chunks: Iterable[bytes]) -> Written:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(open_private(path), "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            fsync(path)
        except BaseException:
            path.unlink(missing_ok=True)  # a part of a file is no evidence
            raise
        return Written(size, digest.hexdigest())


def _write_manifest(files: dict[str, Written]) -> str:
    return "".join(f"{written.sha256}  {name}\n" for name, written in sorted(files.items()))
