"""Erasure needs an archive: the same fixtures as the archive's own tests."""

from __future__ import annotations

from archiving import bucket, loaded_database, locked, prepare, s3

__all__ = ["bucket", "loaded_database", "locked", "prepare", "s3"]
