"""Rows of `erasures` and `erased_recordings`: what was erased and when, and what must not be loaded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

import dlt
import pyarrow as pa

from vbc_source.api.endpoints import CALL_LOGS, RECORDING_ENDPOINTS
from vbc_source.erasure.journal import ErasedLeg, ErasedRecording, ErasureJournal
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.schema.erased import (
    ERASED,
    ERASED_KEY,
    ERASED_SCHEMA,
    ERASURE_KEY,
    ERASURE_SCHEMA,
    ERASURES,
)

PLACES = ("vbc", "objects", "rows", "local_files")


def load_erasure(
    pipeline: dlt.Pipeline,
    journal: ErasureJournal,
    subject_hash: str,
    kind: str,
    status: str,
    blocked: int,
    now: datetime,
) -> None:
    """Load the row of an erasure: `running` before anything is erased, `done` or `left` at its end."""
    row = {
        "erasure_id": journal.erasure_id,
        "subject_hash": subject_hash,
        "kind": kind,
        "status": status,
        "recordings": len(journal.recordings),
        **{place: journal.counts.get(place, 0) for place in PLACES},
        "blocked": blocked,
        "began_at": datetime.fromisoformat(journal.began_at),
        "ended_at": None if status == "running" else now,
        "version": version("vbc-source"),
    }
    _load(pipeline, ERASURES, pa.Table.from_pylist([row], ERASURE_SCHEMA), ERASURE_KEY)


def load_erased(
    pipeline: dlt.Pipeline,
    journal: ErasureJournal,
    recordings: Sequence[ErasedRecording],
    legs: Sequence[ErasedLeg],
    now: datetime,
) -> None:
    """Load what must not come back, although VBC may list it: before its rows are deleted."""
    rows = [
        {**row, "erasure_id": journal.erasure_id, "erased_at": now} for row in _make_rows(recordings, legs)
    ]
    if rows:
        _load(pipeline, ERASED, pa.Table.from_pylist(rows, ERASED_SCHEMA), ERASED_KEY)


def _make_rows(recordings: Iterable[ErasedRecording], legs: Iterable[ErasedLeg]) -> Iterator[dict[str, Any]]:
    for row in recordings:
        yield _make_row(
            row.account_id,
            RECORDING_ENDPOINTS[row.recording_type].name,
            row.user_id,
            str(row.recording_id),
            row.start,
        )
    for leg in legs:
        yield _make_row(leg.account_id, CALL_LOGS.name, "", leg.leg, leg.start)


def _make_row(account: str, resource: str, user: str, row_id: str, start: str | None) -> dict[str, Any]:
    return {
        "account_id": account,
        "resource": resource,
        "user_id": user,
        "row_id": row_id,
        "start": datetime.fromisoformat(start) if start else None,
    }


def _load(pipeline: dlt.Pipeline, name: str, table: pa.Table, key: Sequence[str]) -> None:
    with explaining():
        # merged: a run that is continued loads the same rows again
        load_rows(pipeline, name, table, "merge", key)
