"""Load rows of a ledger: a table that records what was done, with a dlt schema of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import dlt
import pyarrow as pa
from dlt.extract import DltSource

from vbc_source.load.pipelines import keep_connected

AUDIO_SCHEMA = "vbc_audio"  # of recording_audio and recording_deletions
VERIFY_SCHEMA = "vbc_verify"  # of recording_tombstones

Disposition = Literal["append", "merge"]


def make_schema(columns: dict[str, pa.DataType], required: Sequence[str]) -> pa.Schema:
    """Make an Arrow schema whose required columns hold no nulls."""
    return pa.schema([pa.field(name, kind, name not in required) for name, kind in columns.items()])


def load_rows(
    pipeline: dlt.Pipeline,
    name: str,
    table: pa.Table,
    disposition: Disposition,
    key: Sequence[str] = (),
    schema: str = AUDIO_SCHEMA,
) -> None:
    """Load rows of a ledger, after what an earlier load left pending.

    The dlt schema is the ledger's own, so that neither the source's schema nor its state is touched. The
    caller holds the lock of the pipeline.
    """

    @dlt.source(name=schema)
    def ledgers() -> Any:
        return dlt.resource([table], name=name, primary_key=tuple(key), write_disposition=disposition)

    source: DltSource = ledgers()
    with keep_connected(pipeline):
        if pipeline.has_pending_data:
            pipeline.run()
        pipeline.run(source)
