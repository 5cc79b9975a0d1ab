"""An archive whose objects are all locked: what is blocked is named, nothing is lost, and nothing claimed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from archiving import ERASE_SHORT, LOCKED, Prepare, S3Bucket, key_of, make_gateway, sound_of
from checking import check, flip
from in_process import run_in_process
from loading import query
from plans import ERASE, apply_plan, lose_file, make_plan

from vbc_source import forget, rebuild_ledger
from vbc_source.audio.sidecars.sidecar import sidecar_key

pytestmark = pytest.mark.slow
SETTING = "SOURCES__VBC__AUDIO__"
LOCKS = {
    "governance": LOCKED,
    "compliance": {**LOCKED, f"{SETTING}OBJECT_LOCK_MODE": "COMPLIANCE"},
    "legal-hold": {f"{SETTING}LEGAL_HOLD": "true"},
}
NUMBER = "12025550177"
SHORT, CALLER, DAMAGED, HIDDEN = range(1000, 1002), 1002, 1003, 1004
AUDIO = "SELECT recording_id, version, status, sha256 FROM recording_audio ORDER BY 1, 2"


def list_versions(bucket: S3Bucket) -> set[tuple[str, str]]:
    """Return all objects with their versions."""
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    return {(item["Key"], item["VersionId"]) for page in pages for item in page.get("Versions", [])}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_block_what_they_must_and_nothing_else(
    prepare: Prepare,
    s3_server: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lock: str,
) -> None:
    bucket = S3Bucket(s3_server, locks=True)
    for name, value in {**bucket.settings(), **LOCKS[lock]}.items():
        monkeypatch.setenv(name, value)
    reason = "is under a legal hold of the bucket" if lock == "legal-hold" else "is locked until"
    gateway = make_gateway(6)
    for id_ in SHORT:
        gateway.company.change(id_, duration=5_000)
    gateway.company.change(CALLER, caller_id=NUMBER)
    site = prepare(gateway, bucket=bucket.url)
    pipeline = site.load(shared=True)
    with pipeline.sql_client() as sql:
        sql.execute_sql(f"UPDATE company_recordings SET caller_id = '{NUMBER}' WHERE id = {CALLER}")
    rows = {row["id"]: row for row in gateway.company.all()}
    keys = {id_: f"recordings/{key_of(row)}" for id_, row in rows.items()}
    sounds = {id_: sound_of(gateway, row) for id_, row in rows.items()}
    assert site.archive().stored == 6
    stored, ledger = list_versions(bucket), query(pipeline, AUDIO)

    make_plan(site, ERASE_SHORT)
    done = apply_plan(site)
    assert (done.deleted, done.erased, done.blocked, done.failed, done.ok) == (2, 0, 2, 0, False)
    for id_ in SHORT:
        assert f"company recording {id_} stays in the archive: its object {reason}" in caplog.text
    again = apply_plan(site)
    assert (again.done, again.erased, again.blocked, again.ok) == (2, 0, 2, False)

    left = forget(number=NUMBER, bucket_url=site.bucket, apply=True)
    assert [(item.recording_id, reason in item.reason) for item in left.blocked] == [(CALLER, True)]
    assert (left.copies.vbc, left.copies.objects, left.copies.rows, left.ok) == (0, 0, 0, False)
    assert gateway.company.find(str(CALLER))
    assert query(pipeline, "SELECT status, vbc, objects, rows, blocked FROM erasures") == [
        ("left", 0, 0, 0, 1)
    ]
    assert query(pipeline, f"SELECT count(*) FROM company_recordings WHERE caller_id = '{NUMBER}'") == [(1,)]
    assert query(pipeline, AUDIO) == ledger
    assert stored <= list_versions(bucket)
    assert {id_: bucket.read(key) for id_, key in keys.items()} == sounds
    assert (check(site).ok, check(site, remote=True).ok) == (True, True)

    # whoever may write can cover and hide what is locked, and fixity brings it to light again
    bucket.write(keys[DAMAGED], flip(sounds[DAMAGED]))
    bucket.delete(keys[HIDDEN])
    found = check(site)
    assert (found.damaged, found.missing) == ((DAMAGED,), (HIDDEN,))
    assert check(site, repair=True).repaired == (DAMAGED, HIDDEN)
    assert {id_: bucket.read(key) for id_, key in keys.items()} == sounds
    assert stored <= list_versions(bucket)

    with pipeline.sql_client() as sql:
        sql.execute_sql("DROP TABLE recording_audio")
    rebuilt = rebuild_ledger(bucket_url=site.bucket)
    assert (rebuilt.files, rebuilt.rows, rebuilt.ok) == (6, 6, True)
    assert (rebuilt.damaged, rebuilt.missing, rebuilt.unknown, rebuilt.erased) == ((), (), (), ())
    assert query(pipeline, AUDIO) == ledger
    assert check(site).ok
    assert stored <= list_versions(bucket)


def test_the_same_plan_continues_when_a_legal_hold_is_lifted(
    prepare: Prepare, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = S3Bucket(s3_server, locks=True)
    for name, value in {**bucket.settings(), **LOCKS["legal-hold"]}.items():
        monkeypatch.setenv(name, value)
    site = prepare(make_gateway(2), bucket=bucket.url)
    pipeline = site.load()
    assert site.archive().stored == 2
    make_plan(site, ERASE)
    assert apply_plan(site).blocked == 2
    held = {(key, version) for key, version in list_versions(bucket) if "/date=" in key}
    for key, version in held:
        place = {"Bucket": bucket.name, "Key": key, "VersionId": version}
        bucket.client.put_object_legal_hold(**place, LegalHold={"Status": "OFF"})
    done = apply_plan(site)
    assert (done.done, done.erased, done.blocked, done.ok) == (2, 2, 0, True)
    assert not [key for key, _ in list_versions(bucket) if key.endswith((".mp3", "/1000.json", "/1001.json"))]
    assert [status for _, _, status, _ in query(pipeline, AUDIO)] == ["erased"] * 2


@pytest.mark.parametrize("locked", [1, 2])
def test_a_lock_of_one_version_keeps_all_of_them(
    prepare: Prepare, s3_server: str, monkeypatch: pytest.MonkeyPatch, locked: int
) -> None:
    """A hold of one file holds the recording: its other files are what it is compared with."""
    bucket = S3Bucket(s3_server, locks=True)
    for name, value in bucket.settings().items():
        monkeypatch.setenv(name, value)
    site = prepare(make_gateway(1), bucket=bucket.url)
    pipeline = site.load()
    site.archive()
    site.gateway.company.change(1000, file_size_in_bytes=3000)
    site.load()
    site.archive()
    first = f"recordings/{key_of(site.gateway.company.all()[0])}"
    keys = [first, first.replace(".mp3", ".v2.mp3")]
    until = datetime.now(timezone.utc) + timedelta(days=30)
    retention: Any = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    bucket.client.put_object_retention(Bucket=bucket.name, Key=keys[locked - 1], Retention=retention)
    assert run_in_process("recordings", "delete", "1000", "--yes").exit_code == 0
    lose_file(pipeline, version=3)
    make_plan(site, ERASE)
    done = apply_plan(site)
    assert (done.erased, done.blocked, done.ok) == (0, 1, False)
    assert {*keys, *map(sidecar_key, keys)} <= bucket.list_keys()
    assert [status for _, _, status, _ in query(pipeline, AUDIO)] == ["stored", "stored", "missing"]
