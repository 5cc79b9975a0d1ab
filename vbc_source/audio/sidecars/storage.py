"""Sidecars and manifests in a bucket. Their content is small, and read and written as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from vbc_source.audio.bucket import Bucket, BucketFailed, ObjectLocked
from vbc_source.audio.sidecars.manifest import (
    LARGEST_MANIFEST,
    manifest_key,
    parse_manifest,
    write_manifest,
)
from vbc_source.audio.sidecars.sidecar import (
    LARGEST_SIDECAR,
    Sidecar,
    parse_sidecar,
    sidecar_key,
    write_sidecar,
)
from vbc_source.errors import InvalidContent


def read_manifest(bucket: Bucket, folder: str) -> dict[str, str] | None:
    """Read a folder's manifest: SHA-256 by file name; None if there is none.

    Raises:
        InvalidContent: It is not a manifest to its last line.
    """
    key = manifest_key(folder)
    body = _read(bucket, key, bucket.size(key), LARGEST_MANIFEST)
    try:
        return None if body is None else parse_manifest(body)
    except ValueError as error:
        raise InvalidContent(f"{bucket.uri(key)} is not readable: {error}") from None


def store_manifest(bucket: Bucket, folder: str, digests: Mapping[str, str]) -> None:
    """Replace a folder's manifest, atomically; where objects are locked, by a new version of it."""
    bucket.put_bytes(write_manifest(digests), manifest_key(folder), "text/plain; charset=utf-8")


def remove_lines(bucket: Bucket, folder: str, names: Collection[str]) -> None:
    """Remove the lines of files from a folder's manifest, and the manifest with its last line.

    Raises:
        InvalidContent: It is not a manifest to its last line; it stays as it is.
        BucketFailed: It cannot be read, written or removed.
    """
    digests = read_manifest(bucket, folder)
    if digests is None or digests.keys().isdisjoint(names):
        return
    kept = {name: digest for name, digest in digests.items() if name not in names}
    if kept:
        store_manifest(bucket, folder, kept)
        return
    key = manifest_key(folder)
    try:
        bucket.erase(key)
    except ObjectLocked:
        bucket.remove(key)  # hidden: its versions stay as long as they are locked
    # `remove` does not say whether it has worked
    if bucket.size(key) is not None:
        raise BucketFailed(f"{bucket.uri(key)} cannot be removed")


def read_sidecar(bucket: Bucket, audio_key: str) -> Sidecar | None:
    """Read the sidecar of an audio file; None if there is none, or it is another file's.

    Raises:
        InvalidContent: It is not a sidecar.
    """
    body = read_sidecar_body(bucket, audio_key, bucket.size(sidecar_key(audio_key)))
    return None if body is None else check_sidecar(bucket, audio_key, body)


def read_sidecar_body(bucket: Bucket, audio_key: str, size: int | None) -> bytes | None:
    """Read the object beside an audio file, of a size in bytes as listed; None if there is none.

    Raises:
        InvalidContent: It is far larger than a sidecar.
    """
    return _read(bucket, sidecar_key(audio_key), size, LARGEST_SIDECAR)


def check_sidecar(bucket: Bucket, audio_key: str, body: bytes) -> Sidecar | None:
    """Parse the sidecar of an audio file; None if it is another file's. Raises InvalidContent."""
    try:
        sidecar = parse_sidecar(body)
    except ValueError as error:
        raise InvalidContent(f"{bucket.uri(sidecar_key(audio_key))}: {error}") from None
    # `1000.mp3` and `1000.wav` would have the same sidecar
    return sidecar if sidecar.audio.file == audio_key.rpartition("/")[2] else None


def store_sidecar(bucket: Bucket, audio_key: str, sidecar: Sidecar) -> str:
    """Store the sidecar of an audio file; return its SHA-256."""
    body = write_sidecar(sidecar)
    bucket.put_bytes(body, sidecar_key(audio_key), "application/json")
    return hashlib.sha256(body).hexdigest()


def _read(bucket: Bucket, key: str, size: int | None, largest: int) -> bytes | None:
    if size is None:
        return None
    if size > largest:
        raise InvalidContent(f"{bucket.uri(key)} has {size:,} bytes: no such file is so large")
    return b"".join(bucket.read_range(key, 0, size))
