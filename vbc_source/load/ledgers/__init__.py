"""The ledgers: their rows are loaded with who did it, and with events of the chain of custody.

`rows` loads them, `custody` chains them by hash, `batches` lets them wait for one load.
"""

from vbc_source.load.ledgers.batches import BatchedLedger
from vbc_source.load.ledgers.rows import (
    CUSTODY_COLUMNS,
    find_last_event,
    load_rows,
    make_schema,
    read_head,
)

__all__ = [
    "CUSTODY_COLUMNS",
    "BatchedLedger",
    "find_last_event",
    "load_rows",
    "make_schema",
    "read_head",
]
