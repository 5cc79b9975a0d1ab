from __future__ import annotations

from archiving import loaded_database, prepare, s3

__all__ = ["loaded_database", "prepare", "s3"]
