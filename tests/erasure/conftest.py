"""Erasure needs an archive: the same fixtures as the archive's own tests."""

from __future__ import annotations

from archiving import bucket, locked, prepare, s3

__all__ = ["bucket", "locked", "prepare", "s3"]
