"""Files that were archived before their length was recorded are measured in the bucket."""

from __future__ import annotations

import dlt
import pytest
from archiving import FolderBucket, Prepare, S3Bucket, key_of, make_gateway
from loading import query

from vbc_source.audio import archive_audio, ledger, missing_durations


def change(pipeline: dlt.Pipeline, sql: str) -> None:
    with pipeline.sql_client() as client:
        client.execute_sql(sql)


@pytest.mark.slow
def test_a_ledger_of_a_version_without_lengths_gets_them(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    pipeline = site.load()
    with pytest.MonkeyPatch.context() as patch:
        older = {name: kind for name, kind in ledger.COLUMNS.items() if name != "audio_duration"}
        patch.setattr(ledger, "COLUMNS", older)
        patch.setattr(archive_audio, "measure_missing", lambda _: 0)
        assert site.archive().stored == 2
    assert site.archive().measured == 2
    assert query(pipeline, "SELECT count(*) FROM recording_audio WHERE audio_duration > 0") == [(2,)]


@pytest.mark.slow
def test_files_without_a_length_are_measured_in_the_bucket_a_part_in_each_run(
    prepare: Prepare, bucket: FolderBucket | S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway(6)
    site = prepare(gateway, bucket=bucket.url)
    pipeline = site.load()
    assert (site.archive().stored, site.archive().measured) == (6, 0)
    columns = "recording_id, uri, sha256, size_bytes, call_id, fetched_at, attempts, audio_duration"
    rows = f"SELECT {columns} FROM recording_audio ORDER BY recording_id"
    before = query(pipeline, rows)
    assert all(row[-1] > 0 for row in before)
    change(pipeline, "UPDATE recording_audio SET audio_duration = NULL WHERE recording_id < 1005")
    # of the six: one is gone from the bucket, one has other bytes there
    first, second, *_ = gateway.company.all()[::-1]
    bucket.delete(f"recordings/{key_of(first)}")
    bucket.write(f"recordings/{key_of(second)}", bytes(int(second["file_size_in_bytes"])))
    fetches = len(site.fetches())
    monkeypatch.setattr(missing_durations, "MOST_BYTES", 2100)  # of one file
    runs = [site.archive().measured for _ in range(3)]
    assert sum(runs) <= 3
    monkeypatch.setattr(missing_durations, "MOST_BYTES", 1 << 30)
    assert site.archive().measured + sum(runs) == 3
    assert site.archive().measured == 0
    after = query(pipeline, rows)
    broken = {int(first["id"]), int(second["id"])}
    assert after == [(*row[:-1], None if row[0] in broken else row[-1]) for row in before]
    assert len(site.fetches()) == fetches
