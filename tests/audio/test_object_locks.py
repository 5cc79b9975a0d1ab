"""Objects on S3 get the lock, key, class and tags of the settings, and are stored as safely with them."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from archiving import LOCKED, Prepare, S3Bucket, key_of, make_gateway, sound_of
from loading import query, run_vbc

from vbc_source.audio.bucket import Bucket, KeyTaken
from vbc_source.config import AudioConfig
from vbc_source.errors import SettingsError
from vbc_source.storage import StorageSettings

SETTING = "SOURCES__VBC__AUDIO__"
NOWHERE = "http://127.0.0.1:9"
MODE = {"object_lock_mode": "GOVERNANCE"}
FULL = StorageSettings("GOVERNANCE", 3, None, True, "key-1", "STANDARD_IA", {"team": "a b/c"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"object_lock_mode": "soft", "object_lock_days": 1},
            "object_lock_mode must be GOVERNANCE or COMPLIANCE",
        ),
        (MODE, "object_lock_mode needs object_lock_days or object_lock_until"),
        ({"object_lock_days": 1}, "object_lock_days needs object_lock_mode"),
        ({"object_lock_until": "2030-01-01"}, "object_lock_until needs object_lock_mode"),
        ({**MODE, "object_lock_days": 0}, "object_lock_days must be a whole number from 1 to 36500, not 0"),
        ({**MODE, "object_lock_days": True}, "object_lock_days must be a whole number"),
        ({**MODE, "object_lock_days": 1, "object_lock_until": "2030-01-01"}, "are both set"),
        ({**MODE, "object_lock_until": "soon"}, "object_lock_until must be an ISO date"),
        ({"storage_class": "standard"}, "storage_class must be a name such as STANDARD_IA"),
        ({"storage_class": "DEEP_ARCHIVE"}, "storage_class DEEP_ARCHIVE is not possible"),
        ({"tags": "team"}, "tags must be a table of names and values"),
        ({"tags": {"te?m": "a"}}, "tags: S3 does not allow 'te?m'"),
        ({"tags": {str(number): "a" for number in range(11)}}, "tags has 11 entries; S3 allows 10"),
    ],
)
def test_malformed_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        AudioConfig.from_values(**settings).on_resolved()
    assert message in str(caught.value)


def test_what_only_s3_has_is_refused_elsewhere_and_so_is_a_lock_that_is_over() -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for protocol, hint in (
        ("gs", "Google Cloud"),
        ("abfss", "Azure"),
        ("file", "a folder has none"),
        ("sftp", ""),
    ):
        with pytest.raises(
            SettingsError, match=f"tags in .* works in s3:// buckets alone, not in {protocol}.*{hint}"
        ):
            StorageSettings(tags={"a": "b"}).check_backend(protocol, now)
        StorageSettings().check_backend(protocol, now)
    with pytest.raises(SettingsError, match="object_lock_until is in the past"):
        StorageSettings("COMPLIANCE", None, now).check_backend("s3", now)
    FULL.check_backend("s3", now)


def test_a_wrong_setting_is_one_line(own_folder: Path) -> None:
    command = ("audio", "--bucket-url", str(own_folder / "files"))
    for name, value, message in (
        ("TAGS", "{team", "tags must be a table"),
        (
            "LEGAL_HOLD",
            "true",
            "legal_hold in [sources.vbc.audio] works in s3:// buckets alone, not in file://",
        ),
    ):
        done = run_vbc(own_folder, NOWHERE, *command, **{SETTING + name: value})
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert message in done.stderr


@pytest.mark.slow
def test_every_object_carries_all_of_it_and_nothing_is_replaced_unasked(
    locked: S3Bucket, own_folder: Path
) -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    bucket = Bucket(locked.url, FULL, lambda: now)
    file, large = own_folder / "file", own_folder / "large"
    file.write_bytes(b"small")
    large.write_bytes(bytes(11 << 20))  # more than a part of a multipart upload, in one request nevertheless
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, large)}
    bucket.put(large, "a/large.mp3", "audio/mpeg", hashes[large], new=True)
    bucket.put(file, "a/file.mp3", "audio/mpeg", hashes[file])
    bucket.put_bytes(b"small", "a/1.json", "application/json")
    for name, content_type, stored in (
        ("large.mp3", "audio/mpeg", large),
        ("file.mp3", "audio/mpeg", file),
        ("1.json", "application/json", file),
    ):
        place = {"Bucket": locked.name, "Key": f"recordings/a/{name}"}
        head = locked.client.head_object(**place, ChecksumMode="ENABLED")
        assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
        assert head["ObjectLockRetainUntilDate"] == now + timedelta(days=3)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "key-1")
        assert (head["StorageClass"], head["ContentType"]) == ("STANDARD_IA", content_type)
        assert base64.b64decode(head["ChecksumSHA256"]).hex() == hashes[stored]
        assert locked.client.get_object_tagging(**place)["TagSet"] == [{"Key": "team", "Value": "a b/c"}]

    with pytest.raises(KeyTaken):
        bucket.put(file, "a/large.mp3", "audio/mpeg", hashes[file], new=True)
    assert bucket.size("a/large.mp3") == 11 << 20
    # removing what is locked hides it; what was stored stays as a version, and the name is free again
    bucket.remove("a/large.mp3")
    assert bucket.size("a/large.mp3") is None
    assert set(bucket.list_sizes("a")) == {"file.mp3", "1.json"}
    bucket.put(file, "a/large.mp3", "audio/mpeg", hashes[file], new=True)
    versions = locked.client.list_object_versions(Bucket=locked.name, Prefix="recordings/a/large.mp3")[
        "Versions"
    ]
    assert sorted(version["Size"] for version in versions) == [5, 11 << 20]


@pytest.mark.slow
def test_a_store_without_conditions_is_asked_first(
    locked: S3Bucket, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    bucket = Bucket(locked.url)
    assert bucket.s3
    send = bucket.s3.send

    def refuse_conditions(file: Any, key: str, fields: Any) -> None:
        if "IfNoneMatch" in fields:
            raise ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        send(file, key, fields)

    monkeypatch.setattr(bucket.s3, "send", refuse_conditions)
    (own_folder / "file").write_bytes(b"small")
    digest = hashlib.sha256(b"small").hexdigest()
    bucket.put(own_folder / "file", "a/1.mp3", "audio/mpeg", digest, new=True)
    with pytest.raises(KeyTaken):
        bucket.put(own_folder / "file", "a/1.mp3", "audio/mpeg", digest, new=True)
    assert locked.sizes() == {"recordings/a/1.mp3": 5}


def doctor(folder: Path, bucket: S3Bucket, **settings: str) -> tuple[bool, str]:
    """Return whether the lock works, and what the command says of it."""
    changed = {**bucket.settings(), f"{SETTING}BUCKET_URL": bucket.url, **settings}
    done = run_vbc(
        folder, NOWHERE, "doctor", "--bucket", "--json", SOURCES__VBC__CREDENTIALS__PASSWORD="", **changed
    )
    findings = json.loads(done.stdout.splitlines()[-1])["findings"]
    (found,) = [check for check in findings if check["subject"] == "lock of the audio bucket"]
    return found["works"], found["text"]


def probes(bucket: S3Bucket) -> list[str]:
    listed = bucket.client.list_object_versions(Bucket=bucket.name)
    return [item["VersionId"] for name in ("Versions", "DeleteMarkers") for item in listed.get(name, [])]


@pytest.mark.slow
def test_doctor_proves_that_a_bucket_keeps_what_is_locked(s3_server: str, own_folder: Path) -> None:
    locked = S3Bucket(s3_server, locks=True)
    works, text = doctor(own_folder, locked, **LOCKED)
    assert works
    assert (
        "refused to delete an object locked by object_lock_mode = GOVERNANCE; but this login may end" in text
    )
    assert "s3:BypassGovernanceRetention" in text
    strict = {**LOCKED, f"{SETTING}OBJECT_LOCK_MODE": "COMPLIANCE"}
    for _ in range(2):
        works, text = doctor(own_folder, locked, **strict)
        assert (works, text) == (
            True,
            f"{locked.url} refused to delete an object locked by object_lock_mode = COMPLIANCE",
        )
    assert len(probes(locked)) >= 2  # locked for a minute: nobody can remove them earlier

    held = S3Bucket(s3_server, locks=True)
    works, text = doctor(own_folder, held, **{f"{SETTING}LEGAL_HOLD": "true"})
    assert (works, text) == (True, f"{held.url} refused to delete an object locked by legal_hold")

    plain = S3Bucket(s3_server)
    works, text = doctor(own_folder, plain, **LOCKED)
    assert not works
    assert "has no object lock, but object_lock_mode = GOVERNANCE is set: create a bucket with" in text
    works, text = doctor(own_folder, plain)
    assert (works, text) == (
        True,
        "neither object_lock_mode nor legal_hold is set: what is stored can be deleted",
    )
    assert probes(plain) == []


@pytest.mark.slow
def test_a_lost_ledger_is_made_again_from_locked_files(prepare: Prepare, locked: S3Bucket) -> None:
    site = prepare(make_gateway(30), bucket=locked.url)
    pipeline = site.load()
    assert site.archive().stored == 30
    expected = {
        f"recordings/{key_of(one)}": sound_of(site.gateway, one) for one in site.gateway.company.all()
    }
    assert {key: locked.read(key) for key in locked.sizes()} == expected
    for key in expected:
        head = locked.client.head_object(Bucket=locked.name, Key=key)
        assert head["ObjectLockRetainUntilDate"] > datetime.now(timezone.utc) + timedelta(days=29)
    with pipeline.sql_client() as client:
        client.execute_sql("DELETE FROM recording_audio")
    again = site.archive()
    assert (again.found, again.stored, again.ok) == (30, 0, True)
    # a recording that changed is stored beside the locked file
    site.gateway.company.change(1003, file_size_in_bytes=2500)
    site.load()
    assert site.archive().stored == 1
    assert query(pipeline, "SELECT version FROM recording_audio WHERE recording_id = 1003 ORDER BY 1") == [
        (1,),
        (2,),
    ]
    listed = locked.client.list_object_versions(Bucket=locked.name)
    versions = [version for version in listed["Versions"] if version["Key"].endswith(".mp3")]
    assert (len(versions), listed.get("DeleteMarkers", [])) == (31, [])
