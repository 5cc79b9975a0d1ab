"""The tables of erasures: what was erased, without whom it was about. Pure.

Extraction leaves out what `erased_recordings` names, so that nothing returns that VBC still lists.
"""

from __future__ import annotations

import pyarrow as pa

from vbc_source.schema.columns import INSTANT

DATABASES = ("duckdb", "postgres")  # in which `vbc forget` erases, beside lakes
ERASURES, ERASED = "erasures", "erased_recordings"
ERASURE_KEY = ("erasure_id",)
ERASED_KEY = ("account_id", "resource", "user_id", "row_id")
ERASURE_SCHEMA = pa.schema(
    [
        pa.field("erasure_id", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("subject_hash", "kind", "status")),
        *(
            pa.field(name, pa.int64())
            for name in ("recordings", "vbc", "objects", "rows", "local_files", "blocked")
        ),
        *(pa.field(name, INSTANT) for name in ("began_at", "ended_at")),
        pa.field("version", pa.string()),
    ]
)
ERASED_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ERASED_KEY),
        pa.field("start", INSTANT),
        pa.field("erasure_id", pa.string()),
        pa.field("erased_at", INSTANT),
    ]
)
