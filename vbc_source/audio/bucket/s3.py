"""What S3 has and other stores have not: checksums, conditions, locks and versions."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, BinaryIO

from vbc_source.audio.bucket.objects import BucketFailed, KeyTaken, StoredChecksum
from vbc_source.errors import InvalidContent
from vbc_source.storage import StorageSettings

LARGEST_PUT = 5 << 30  # bytes that S3 accepts in one request
MOST_PAGES = 100  # of versions of one object


class S3Objects:
    """Objects below a root, `bucket/prefix`, by key. Raises what s3fs does, such as PermissionError.

    `storage` is what every object gets that is stored, such as a lock; `now` returns the time.
    """

    def __init__(self, fs: Any, root: str, storage: StorageSettings, now: Callable[[], datetime]) -> None:
        self._fs, self._storage, self._now = fs, storage, now
        self._bucket, _, self._prefix = root.partition("/")

    def name(self, key: str) -> str:
        """Return how S3 names a key, below the bucket."""
        return f"{self._prefix}/{key}" if self._prefix else key

    def call(self, method: str, key: str, **fields: Any) -> Mapping[str, Any]:
        """Call a method of the S3 API for an object."""
        answer: Mapping[str, Any] = self._fs.call_s3(
            method, **{"Bucket": self._bucket, "Key": self.name(key), **fields}
        )
        return answer

    def put(self, file: BinaryIO, key: str, content_type: str, sha256: str, *, new: bool = False) -> None:
        """Store a file in one request, so that S3 computes the SHA-256 of the whole, and compares it.

        Raises:
            KeyTaken: There is an object with this key, and the file has to be new.
            InvalidContent: S3 does not take so large a file at once.
        """
        from botocore.exceptions import ClientError

        size = file.seek(0, os.SEEK_END)
        if size > LARGEST_PUT:
            raise InvalidContent(f"{size:,} bytes are more than the {LARGEST_PUT:,} that S3 takes at once")
        fields = {
            # what s3fs would send with its own uploads
            **self._fs.s3_additional_kwargs,
            **self._storage.s3_fields(self._now()),
            "ContentType": content_type,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }
        try:
            self.send(file, key, {**fields, "IfNoneMatch": "*"} if new else fields)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            # 412, and 409 where another upload of the same key is not complete yet
            if new and code in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise KeyTaken(self._path(key)) from None
            if not new or code != "NotImplemented":
                raise
        else:
            return
        # a store that speaks S3, but without conditions
        if self._has(key):
            raise KeyTaken(self._path(key))
        self.send(file, key, fields)

    def send(self, file: BinaryIO, key: str, fields: Mapping[str, Any]) -> None:
        """Send one request that stores a file."""
        from fsspec.asyn import sync

        file.seek(0)

        async def send() -> None:
            # not s3fs's own call: it would repeat a failed one with what is left of the file
            await self._fs.set_session()
            client = await self._fs.get_s3(self._bucket)
            await client.put_object(Bucket=self._bucket, Key=self.name(key), Body=file, **fields)

        sync(self._fs.loop, send)

    def erase(self, key: str) -> None:
        """Delete all versions of an object.

        Raises:
            BucketFailed: It has versions still after that.
        """
        for _ in range(MOST_PAGES):
            # the first page each time: a deletion changes the list
            versions = self.list_versions(key)
            if not versions:
                return
            for version in versions:
                # by its version: without one, S3 only hides the object behind a delete marker
                self._fs.call_s3("delete_object", **version)
        raise BucketFailed(f"s3://{self._bucket} keeps versions of an object that were deleted")

    def list_versions(self, key: str, *, markers: bool = True) -> list[dict[str, str]]:
        """Return the versions of an object, the newest first: a page of them."""
        bucket, name = self._bucket, self.name(key)
        kinds = ("DeleteMarkers", "Versions") if markers else ("Versions",)
        try:
            # a prefix is all that S3 offers: other keys that begin with the name are left out below
            page = self._fs.call_s3("list_object_versions", Bucket=bucket, Prefix=name)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            # a store without versions, such as R2
            return [{"Bucket": bucket, "Key": name}] if self._has(key) else []
        self._check_list(page)
        return [
            {"Bucket": bucket, "Key": name, "VersionId": version["VersionId"]}
            for kind in kinds
            for version in page.get(kind) or ()
            if version["Key"] == name
        ]

    def find_lock(self, key: str) -> str | None:
        """Return what forbids that an object is erased, in words; None where nothing is known to."""
        versions = self.list_versions(key, markers=False)
        return next(filter(None, (_read_lock(self._head(key, version)) for version in versions)), None)

    def _head(self, key: str, version: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            head: Mapping[str, Any] = self._fs.call_s3("head_object", **version)
        except OSError as error:
            # a store that lists the version `null` where it keeps none, and knows no object of that version
            if error.errno != errno.EINVAL or version.get("VersionId") != "null":
                raise
            return self.call("head_object", key)
        return head

    def read_checksum(self, key: str) -> StoredChecksum | None:
        """Ask for the size and checksum of an object without reading it; None if there is no object."""
        try:
            head = self.call("head_object", key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            return None
        digest = head.get("ChecksumSHA256") or ""
        # of an upload in parts it is one of the parts' checksums; the ETag, too, has their number then
        whole = "-" not in digest + head.get("ETag", "") and head.get("ChecksumType") != "COMPOSITE"
        sha256 = base64.b64decode(digest).hex() if digest and whole else None
        return StoredChecksum(int(head["ContentLength"]), sha256)

    def check_bucket(self) -> None:
        """Raise FileNotFoundError where the bucket is missing; s3fs lists nothing below a missing prefix."""
        page = self._fs.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._check_list(page)

    def _check_list(self, page: Mapping[str, Any]) -> None:
        """Refuse an answer that is no list: botocore takes a page of some proxy for an empty one."""
        if "Name" not in page:
            raise BucketFailed(f"s3://{self._bucket} returned something that is not a list of objects")

    def _has(self, key: str) -> bool:
        try:
            self.call("head_object", key)  # not s3fs's `exists`, which may answer from a listing
        except FileNotFoundError:
            return False
        return True

    def _path(self, key: str) -> str:
        return f"{self._bucket}/{self.name(key)}"


def _read_lock(head: Mapping[str, Any]) -> str | None:
    until = head.get("ObjectLockRetainUntilDate")
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return "its object is under a legal hold of the bucket"
    if until and until > datetime.now(timezone.utc):
        return f"its object is locked until {until:%Y-%m-%d} ({head.get('ObjectLockMode', 'object lock')})"
    return None
