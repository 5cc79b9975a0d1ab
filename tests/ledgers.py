"""Writes what an archive would have written."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import dlt
import pyarrow as pa

from vbc_source.audio.ledger import COLUMNS, LEDGER
from vbc_source.load.ledgers import load_rows, make_schema
from vbc_source.recordings import RECORDING_KEY
from vbc_source.schema.names import AUDIO_SCHEMA as SCHEMA


def archive(pipeline: dlt.Pipeline, *, stored: int, failed: int) -> None:
    """Have so many files failed, then so many others, and one of those that had failed before, stored."""
    now = datetime(2025, 6, 1, tzinfo=timezone.utc)

    def rows(numbers: range, status: str, moment: datetime) -> pa.Table:
        made = [
            {
                **dict.fromkeys(COLUMNS),
                "account_id": "549825",
                "recording_type": "company",
                "user_id": "",
                "recording_id": number,
                "status": status,
                "attempts": 1,
                "fetched_at": moment,
            }
            for number in numbers
        ]
        return pa.Table.from_pylist(made, make_schema(COLUMNS, RECORDING_KEY))

    ledger = dlt.pipeline(
        f"{pipeline.pipeline_name}_{SCHEMA}",
        destination=pipeline.destination,
        dataset_name=pipeline.dataset_name,
    )
    load_rows(ledger, LEDGER, rows(range(failed + 1), "failed", now), "merge", RECORDING_KEY)
    later = now + timedelta(days=1)
    load_rows(ledger, LEDGER, rows(range(failed, failed + stored), "stored", later), "merge", RECORDING_KEY)
