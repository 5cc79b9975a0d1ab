"""The backlog, queried in real destinations."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
import pytest
from loading import open_target, query
from warehouses import POSTGRES, has_postgres

from vbc_source.audio.backlog import Backlog
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import AudioLedger, LedgerRow, make_ledger_row
from vbc_source.load.destinations import Target
from vbc_source.recordings import Recording
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(
    params=["duckdb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("postgres", "filesystem"))]
)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A destination, and a new dataset there."""
    name, dataset = request.param, f"vbc_{uuid.uuid4().hex[:8]}"
    if name == "postgres" and not has_postgres():
        pytest.skip("no Postgres at 127.0.0.1:5432")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", os.path.abspath("lake"))
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "CRITICAL")
    yield name, dataset
    if name == "postgres":
        with open_target("vbc", name, dataset).sql_client() as sql:
            sql.drop_dataset()
            with sql.with_staging_dataset():
                sql.drop_dataset() if sql.has_dataset() else None


def load(name: str, dataset: str, tables: dict[str, list[dict[str, Any]]]) -> None:
    @dlt.source(name="vbc")
    def source() -> Any:
        for table, rows in tables.items():
            yield dlt.resource(rows, name=table, columns={"file_size_in_bytes": {"data_type": "bigint"}})

    open_target("vbc", name, dataset).run(
        source(), loader_file_format="parquet" if name == "filesystem" else None
    )


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "account_id": "1",
        "id": number,
        "start": NOW - timedelta(days=number),
        "download_url": f"https://x/{number}",
        "file_size_in_bytes": 100,
        **changes,
    }


def write(ledger: AudioLedger, recording: Recording, status: str, **known: Any) -> LedgerRow:
    done = make_ledger_row(recording, status, known.pop("now", NOW - timedelta(hours=1)), **known)  # type: ignore[arg-type]
    ledger.journal.record(done)
    return done


@pytest.mark.slow
def test_backlog_is_read_page_by_page_oldest_first(place: tuple[str, str]) -> None:
    name, dataset = place
    company = [row(number) for number in range(1, 8)] + [row(8, start=row(7)["start"]), row(9, start=None)]
    company.append(row(1, account_id="o'hara"))
    users = [row(1, user_id="a"), row(1, user_id="b"), row(2, user_id="a")]
    load(name, dataset, {"company_recordings": company, "user_recordings": users})
    pipeline = open_target("vbc_audio", name, dataset)
    loaded = LoadedTables(Target("vbc", name, dataset))

    def left(started_at: datetime = NOW, page: int = 5, **selection: Any) -> list[Recording]:
        return list(Backlog(loaded, RecordingSelection(**selection), 3, started_at, page).read())

    everything = left()
    assert [(one.recording_type, one.account_id, one.user_id, one.recording_id) for one in everything] == [
        ("company", "1", "", 9),
        ("company", "1", "", 7),
        ("company", "1", "", 8),
        *(("company", "1", "", number) for number in (6, 5, 4, 3)),
        ("company", "1", "", 2),
        ("user", "1", "a", 2),
        ("company", "1", "", 1),
        ("company", "o'hara", "", 1),
        ("user", "1", "a", 1),
        ("user", "1", "b", 1),
    ]
    assert [one.shared_id for one in everything].count(True) == 2
    assert everything[1].start == NOW - timedelta(days=7)
    assert (everything[1].size_bytes, everything[1].download_url) == (100, "https://x/7")
    assert Backlog(loaded, RecordingSelection(), 3, NOW).measure() == (13, 1300)
    assert left(types=("user",), since=NOW - timedelta(days=2)) == [
        one for one in everything if one.recording_type == "user"
    ]
    assert [
        one.recording_id for one in left(until=NOW - timedelta(days=7), since=NOW - timedelta(days=9))
    ] == [7, 8]

    journal = Journal(dlt_folder() / "journal")
    ledger = AudioLedger(pipeline, journal, loaded.lock, list)
    by_id = {one.recording_id: one for one in everything if (one.account_id, one.user_id) == ("1", "")}
    write(ledger, by_id[7], "stored", uri="s3://x/7")
    write(ledger, by_id[8], "missing")
    write(ledger, by_id[6], "failed", error="broken")
    write(ledger, replace(by_id[5], attempts=2), "failed", error="broken three times")
    write(ledger, by_id[4], "forbidden", error="no right")
    write(ledger, by_id[3], "failed", error="in this very run", now=NOW)
    ledger.load()
    journal.close()
    ids = [one.recording_id for one in left(types=("company",)) if one.account_id == "1"]
    assert ids == [9, 2, 1, 6, 4]  # failed files come last, those that this run has tried are left out
    assert {one.recording_id: one.attempts for one in left() if one.attempts} == {6: 1, 4: 1}
    assert 3 in {one.recording_id for one in left(started_at=NOW + timedelta(days=1))}
    assert len(left(page=5000)) == len(left(page=2)) == 9


@pytest.mark.slow
def test_ledger_row_is_replaced_by_a_later_one(place: tuple[str, str]) -> None:
    name, dataset = place
    if name == "filesystem":
        pytest.skip("parquet files are only appended to; the backlog reads over it")
    load(name, dataset, {"company_recordings": [row(1)]})
    pipeline = open_target("vbc_audio", name, dataset)
    loaded = LoadedTables(Target("vbc", name, dataset))
    journal = Journal(dlt_folder() / "journal")
    ledger = AudioLedger(pipeline, journal, loaded.lock, list)
    (recording,) = Backlog(loaded, RecordingSelection(), 3, NOW).read()
    for attempts in (0, 1):
        write(ledger, replace(recording, attempts=attempts), "failed", error="broken")
        ledger.load()
    assert journal.rows == []
    journal.close()
    assert query(pipeline, "SELECT status, attempts FROM recording_audio") == [("failed", 2)]


def dlt_folder() -> Any:
    from pathlib import Path

    return Path(os.environ["DLT_DATA_DIR"])
