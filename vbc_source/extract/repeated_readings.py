"""Which row of `scan_windows` a reading that brought nothing new takes: the one that says least. Pure.

A list that rests is read again and again from the same second on. Each reading proves what the one before
proved, and more, so they share two rows that are replaced in turn. One row would not do: until its load is
complete the new proof does not count, and the old one, which does, would be gone.

Readings that brought rows keep rows of their own, and windows that merely touch are not joined: a row says
when all of its window was read, from which the models derive when a recording was first loaded, and how old a
proof is. And with a longer lookback less of each window counts, so that a joined one would prove too much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone

from vbc_source.extract.destination_lookup import StoredReading
from vbc_source.extract.lists import ListOwner
from vbc_source.windows import Window, format_instant

EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


def name_list(resource: str, owner: ListOwner, window: Window, filters: str) -> str:
    """Return a name for a list from a second on, short enough for a key."""
    text = "\n".join((resource, str(owner), filters, format_instant(window.start)))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def name_rows(name: str) -> tuple[str, str]:
    """Return the keys of the two rows that repeated readings share."""
    return f"{name}-a", f"{name}-b"


def choose_row(name: str, stored: Mapping[str, StoredReading]) -> StoredReading:
    """Return the row to replace: never the newest one of a complete load."""
    rows = [stored.get(id_) or StoredReading(id_, False, EARLIEST, 0, 0, 0) for id_ in name_rows(name)]
    return min(rows, key=lambda row: (row.is_complete, row.scanned_at))
