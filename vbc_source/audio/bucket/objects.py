"""What is known of an object, and what can go wrong with one."""

from __future__ import annotations

from typing import NamedTuple

from vbc_source.errors import VbcError

HEAD_BYTES = 64  # enough to detect a format


class BucketFailed(VbcError):
    """Raised when the bucket cannot be read, written or listed."""


class KeyTaken(VbcError):
    """Raised when an object cannot be new, as there is one with its key."""


class ObjectLocked(VbcError):
    """Raised when a bucket refuses to delete an object: an object lock, a legal hold, or a missing right."""


class Content(NamedTuple):
    """Size in bytes, SHA-256 in hexadecimal digits, and first bytes of a file."""

    size: int
    sha256: str
    head: bytes


class StoredChecksum(NamedTuple):
    """Size of an object in bytes, and the SHA-256 that its store keeps of the whole, or None."""

    size: int
    sha256: str | None
