"""Prove that the audio bucket refuses to delete what is locked, with an object of its own."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from uuid import uuid4

from vbc_source.audio.bucket import Bucket, S3Objects
from vbc_source.errors import VbcError
from vbc_source.lakes.trial import PREFIX

LOCK = timedelta(minutes=1)  # how long the object is locked: S3 takes any time in the future
BODY = b"vbc doctor"
_NO_LOCK = re.compile("missing object ?lock", re.IGNORECASE)  # of AWS, and of others


def prove_lock(bucket: Bucket, now: datetime | None = None) -> str:
    """Store a locked object in an S3 bucket, try to delete it, and return what was proven.

    It costs about six requests, and an object of ten bytes: it stays for a minute at least, and the next call
    removes it.

    Raises:
        VbcError: The bucket locks nothing, or could be read or written no further; says what to do.
        OSError: What s3fs raises.
    """
    now, s3, storage = now or datetime.now(timezone.utc), bucket.s3, bucket.storage
    if s3 is None:
        raise VbcError(f"{bucket.url} is not on S3, the only store whose locks are supported")
    _remove_probes(s3)
    if storage.object_lock_mode:
        # not the days that are set, nor a hold: this object would stay as long as the archive
        until = now + LOCK
        storage = replace(storage, object_lock_days=None, object_lock_until=until, legal_hold=False)
    key = f"{PREFIX}{uuid4().hex}"
    fields = {"Body": BODY, "ChecksumAlgorithm": "SHA256", **storage.s3_fields(now)}
    try:
        version = s3.call("put_object", key, **fields).get("VersionId")
    except OSError as error:
        if not _NO_LOCK.search(str(error)):
            raise
        raise VbcError(
            f"{bucket.url} has no object lock, but {_name(bucket)} is set: create a bucket with versioning "
            "and object lock (aws s3api create-bucket --object-lock-enabled-for-bucket …), and archive there"
        ) from None
    if not version:
        s3.call("delete_object", key)
        raise VbcError(
            f"{bucket.url} keeps no versions, so it locks nothing, although {_name(bucket)} is set: turn on "
            "versioning and object lock, or use a store that has them"
        )
    if not _is_refused(s3, key, version):
        raise VbcError(
            f"{bucket.url} deleted an object that {_name(bucket)} had locked: turn on versioning and object "
            "lock, or use a store that has them"
        )
    # a login that may not delete at all is refused too: only the lock that S3 shows proves anything
    head = s3.call("head_object", key, VersionId=version)
    if not (head.get("ObjectLockMode") or head.get("ObjectLockLegalHoldStatus") == "ON"):
        raise VbcError(
            f"{bucket.url} refused to delete an object, but shows no lock: grant s3:GetObjectRetention and "
            "s3:GetObjectLegalHold, or it was refused for another reason"
        )
    text = f"{bucket.url} refused to delete an object locked by {_name(bucket)}"
    # last, since it deletes the object where it works
    if storage.object_lock_mode == "GOVERNANCE" and _is_bypassed(s3, key, version):
        return (
            f"{text}; but this login may end such locks (s3:BypassGovernanceRetention): take that right away"
        )
    # a hold has no end of its own
    if not storage.object_lock_mode:
        _end_hold(s3, key, version)
    return text


def _name(bucket: Bucket) -> str:
    mode = bucket.storage.object_lock_mode
    return f"object_lock_mode = {mode}" if mode else "legal_hold"


def _is_refused(s3: S3Objects, key: str, version: str) -> bool:
    try:
        # by its version: else S3 puts a delete marker before the object, which no lock forbids
        s3.call("delete_object", key, VersionId=version)
    except PermissionError:
        return True
    return False


def _is_bypassed(s3: S3Objects, key: str, version: str) -> bool:
    try:
        s3.call("delete_object", key, VersionId=version, BypassGovernanceRetention=True)
    except PermissionError:
        return False
    return True


def _end_hold(s3: S3Objects, key: str, version: str) -> None:
    with suppress(OSError):  # a login that may not end holds leaves ten bytes
        off = {"Status": "OFF"}
        s3.call("put_object_legal_hold", key, VersionId=version, LegalHold=off)
        s3.call("delete_object", key, VersionId=version)


def _remove_probes(s3: S3Objects) -> None:
    """Remove what earlier calls have left, as far as its locks are over and this login may."""
    with suppress(OSError):
        listed = s3.call("list_object_versions", PREFIX, Prefix=s3.name(PREFIX))
        for item in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            # listed keys begin with the folder of the bucket's address, which `call` puts in front again
            key = f"{PREFIX}{item['Key'].rpartition(PREFIX)[2]}"
            with suppress(PermissionError):
                s3.call("delete_object", key, VersionId=item["VersionId"])
