"""Manifests: one file a folder with the SHA-256 of each file in it, in BagIt's line format. Pure.

`<sha256>  <name>`, sorted by name: in the folder, `sha256sum -c manifest-sha256.txt` checks all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

MANIFEST = "manifest-sha256.txt"
LARGEST_MANIFEST = 64 << 20  # bytes: a day of 300,000 files with their sidecars
# the two spaces, or the mark of a binary file, that sha256sum writes; names have no folder in them
_LINE = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?([^/\\]+)")


def manifest_key(folder: str) -> str:
    """Return the key of a folder's manifest."""
    return f"{folder}/{MANIFEST}"


def write_manifest(digests: Mapping[str, str]) -> bytes:
    """Write a manifest of SHA-256 (hexadecimal) by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def parse_manifest(body: bytes) -> dict[str, str]:
    """Parse a manifest into SHA-256 (hexadecimal, lower case) by file name.

    Raises:
        ValueError: It is not one to its last line, or names a file twice with different hashes.
    """
    digests: dict[str, str] = {}
    for number, name, digest in read_lines(body):
        if not name:
            raise ValueError(f"line {number} is not a SHA-256, two spaces and a file name")
        if digests.setdefault(name, digest) != digest:
            raise ValueError(f"line {number} names a file again, with another SHA-256")
    return digests


def read_lines(body: bytes) -> Iterator[tuple[int, str, str]]:
    """Yield number, file name and SHA-256 of each line; of one that has none, only its number."""
    for number, line in enumerate(body.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match:
            yield number, match[2], match[1].lower()
        elif line.strip():
            yield number, "", ""
