"""Compact Delta tables with the library `deltalake`."""

from __future__ import annotations

import math
from typing import Any

FILE_BYTES = 16 << 20  # a merge rewrites whole files, so smaller ones cost less


def compact_delta(client: Any, table: str, keep_hours: float) -> int:
    """Join small files, and remove files and log entries that no version of the last hours needs.

    Each step is a commit of its own, or removes what no version refers to: a kill between them costs nothing.
    """
    opened = client.load_open_table("delta", table)
    before = len(opened.file_uris())
    if before > 1:
        opened.optimize.compact(target_size=FILE_BYTES)
    # deltalake refuses less than a week unless that is switched off: `keep_hours` says how long readers need
    # old versions. It takes whole hours, so they are rounded up.
    removed = opened.vacuum(
        retention_hours=math.ceil(keep_hours), dry_run=False, enforce_retention_duration=False
    )
    # before the log is cleaned: its entries may go only when a checkpoint holds what they say
    opened.create_checkpoint()
    opened.cleanup_metadata()
    return before - len(opened.file_uris()) + len(removed)
