"""The bucket with the files: a folder, S3, Google or Azure, opened with fsspec and dlt's credentials."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import MissingDependencyException

from vbc_source.audio.sidecars.sidecar import is_audio
from vbc_source.dlt_internals import FilesystemConfiguration, fsspec_from_config
from vbc_source.errors import InvalidContent, SettingsError, VbcError
from vbc_source.lakes.trial import try_writing
from vbc_source.load.failures import first_line
from vbc_source.storage import StorageSettings
from vbc_source.tenants import current_tenant

PART_BYTES = 5 << 20  # held in memory during an upload to Google
LARGEST_PUT = 5 << 30  # bytes that S3 accepts in one request
READ_AHEAD_BYTES = 2 << 20  # requested at a time; held in memory several times over while it is received
CHUNK_BYTES = 1 << 20
HEAD_BYTES = 64  # enough to detect a format
DRAFT_SECONDS = 86_400  # after which a draft belongs to no running process
DRAFTS = ".incoming"  # folder of local files before they get their names
MOST_PAGES = 100  # of versions of one object
LISTINGS = 16  # folders to remember: an archive of one busy day has tens of thousands of files


class BucketFailed(VbcError):
    """Raised when the bucket cannot be read, written or listed."""


class KeyTaken(VbcError):
    """Raised when an object cannot be new, as there is one with its key."""


class ObjectLocked(VbcError):
    """Raised when a bucket refuses to delete an object: an object lock, a legal hold, or a missing right."""


class Content(NamedTuple):
    """Size in bytes, SHA-256 in hexadecimal digits, and first bytes of a file."""

    size: int
    sha256: str
    head: bytes


class StoredChecksum(NamedTuple):
    """Size of an object in bytes, and the SHA-256 that its store keeps of the whole, or None."""

    size: int
    sha256: str | None


class Bucket:
    """Objects below one address. An object exists completely or not at all.

    The address is `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`, or the path of a folder.
    `storage` is what every object gets that is stored, such as a lock.
    """

    def __init__(
        self,
        url: str,
        storage: StorageSettings = StorageSettings(),  # noqa: B008 - a frozen value
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        if not url.strip():
            raise SettingsError("bucket_url is empty: give --bucket-url, such as s3://bucket/recordings")
        _check_for_keys(url)
        if "://" not in url:
            url = Path(url).expanduser().absolute().as_uri()
        self.url = url.rstrip("/")
        self._protocol = self.url.split("://", 1)[0]
        self.storage, self._now = storage, now
        storage.check_backend(self._protocol, now())
        self._fs, root = _open(self.url)
        if self._protocol == "file":  # fsspec does not decode %20
            root = FilesystemConfiguration.make_local_path(self.url)
        self._root = root.rstrip("/")

    def uri(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self.url}/{key}"

    def key_of(self, uri: str) -> str | None:
        """Return the key of an address; None if it is not in this bucket, or could point out of it."""
        if not uri.startswith(self.url + "/"):
            return None
        key = uri[len(self.url) + 1 :]
        return None if ".." in PurePosixPath(key).parts or key.startswith("/") else key

    def put(
        self, path: Path, key: str, content_type: str, sha256: str | None = None, *, new: bool = False
    ) -> str | None:
        """Store a file under a key, in place of what is there unless it has to be `new`.

        A local file is moved if it is on the same file system. `sha256` saves hashing a file for S3.

        Returns:
            The SHA-256 of what the store has received, by its own computation; None where it does not say.

        Raises:
            KeyTaken: There is an object with this key, and the file has to be new.
        """
        with self._report_errors("written"):
            if self.is_s3:
                with path.open("rb") as file:
                    return self._put_to_s3(file, key, content_type, sha256 or _hash(file), new=new)
            if new and self.size(key) is not None:
                raise KeyTaken(self.uri(key))
            if self._protocol == "file":
                self._put_locally(path, self._locate(key))
            else:
                options = _upload_options(self._protocol, content_type)
                self._fs.put_file(str(path), f"{self._root}/{key}", **options)
        return None

    def put_bytes(self, data: bytes, key: str, content_type: str) -> None:
        """Store bytes under a key, in place of what is there."""
        with self._report_errors("written"):
            if self._protocol == "file":
                with self._draft() as draft:
                    draft.write_bytes(data)
                    self._put_locally(draft, self._locate(key))
            elif self.is_s3:
                self._put_to_s3(BytesIO(data), key, content_type, hashlib.sha256(data).hexdigest())
            else:
                options = _upload_options(self._protocol, content_type)
                self._fs.pipe_file(f"{self._root}/{key}", data, **options)

    @property
    def is_s3(self) -> bool:
        """Whether it is on S3, or a store that speaks S3."""
        return self._protocol in ("s3", "s3a")

    def s3_name(self, key: str) -> str:
        """Return how S3 names a key, below the bucket."""
        return f"{self._root}/{key}".partition("/")[2]

    def call_s3(self, method: str, key: str, **fields: Any) -> Mapping[str, Any]:
        """Call a method of the S3 API for an object; raises what s3fs does, such as PermissionError."""
        bucket = self._root.partition("/")[0]
        answer: Mapping[str, Any] = self._fs.call_s3(method, Bucket=bucket, Key=self.s3_name(key), **fields)
        return answer

    def _put_to_s3(
        self, file: BinaryIO, key: str, content_type: str, sha256: str, *, new: bool = False
    ) -> str | None:
        """Store a file in one request, so that S3 computes the SHA-256 of the whole, and compares it."""
        from botocore.exceptions import ClientError

        size = file.seek(0, os.SEEK_END)
        if size > LARGEST_PUT:
            raise InvalidContent(f"{size:,} bytes are more than the {LARGEST_PUT:,} that S3 takes at once")
        fields = {
            **self._fs.s3_additional_kwargs,
            **self.storage.s3_fields(self._now()),
            "ContentType": content_type,
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
        }
        try:
            return self._send_to_s3(file, key, {**fields, "IfNoneMatch": "*"} if new else fields)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if new and code in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise KeyTaken(self.uri(key)) from None
            if not new or code != "NotImplemented":
                raise
        # a store that speaks S3, but without conditions
        if self.size(key) is not None:
            raise KeyTaken(self.uri(key))
        return self._send_to_s3(file, key, fields)

    def _send_to_s3(self, file: BinaryIO, key: str, fields: Mapping[str, Any]) -> str | None:
        from fsspec.asyn import sync

        bucket, name = self._root.partition("/")[0], self.s3_name(key)
        file.seek(0)

        async def send() -> Mapping[str, Any]:
            # not s3fs's own call: it would repeat a failed one with what is left of the file
            await self._fs.set_session()
            client = await self._fs.get_s3(bucket)
            answer: Mapping[str, Any] = await client.put_object(Bucket=bucket, Key=name, Body=file, **fields)
            return answer

        received = sync(self._fs.loop, send).get("ChecksumSHA256")
        return base64.b64decode(received).hex() if received else None

    def _locate(self, key: str) -> Path:
        return Path(f"{self._root}/{key}")

    def _put_locally(self, path: Path, target: Path) -> None:
        """Move a file to its name; from another file system by a draft, so that the name is always whole."""
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
        # read by whom the folder lets in, and not by the owner of the private spool alone
        path.chmod(target.parent.stat().st_mode & 0o666)
        _sync(path)
        try:
            path.replace(target)
        except OSError as error:
            # tried, not foreseen: two mounts of one volume have the same device number
            if error.errno != errno.EXDEV:
                raise
            self._copy_locally(path, target)

    def _copy_locally(self, path: Path, target: Path) -> None:
        with self._draft() as draft:
            shutil.copyfile(path, draft)
            with suppress(OSError):  # some mounts have no modes
                draft.chmod(path.stat().st_mode)
            _sync(draft)
            draft.replace(target)

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """Give the path of a file beside the archive, which is removed unless it gets another name."""
        draft = Path(self._root) / DRAFTS / uuid.uuid4().hex
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
        finally:
            with suppress(OSError):
                draft.unlink()

    def remove(self, key: str) -> None:
        """Remove an object, if possible: one that was just stored wrongly."""
        with suppress(Exception):  # fsspec's backends share no class of errors
            self._fs.rm_file(f"{self._root}/{key}")

    def erase(self, key: str) -> None:
        """Delete an object for good, with all its versions; nothing happens if there is none.

        Raises:
            ObjectLocked: The bucket refuses, as an object lock or a legal hold demands.
            BucketFailed: It is not known whether the object is deleted.
        """
        path = f"{self._root}/{key}"
        with self._report_errors("changed"):
            try:
                if self.is_s3:
                    self._erase_versions(path)
                else:
                    self._fs.rm_file(path)
            except FileNotFoundError:
                return
            except PermissionError as error:
                raise ObjectLocked(f"{self.url} does not allow to delete it: {first_line(error)}") from error
            finally:
                self._fs.invalidate_cache()

    def _erase_versions(self, path: str) -> None:
        for _ in range(MOST_PAGES):
            versions = self._list_versions(path)
            if not versions:
                return
            for version in versions:
                self._fs.call_s3("delete_object", **version)
        raise BucketFailed(f"{self.url} keeps versions of an object that were deleted")

    def is_erased(self, key: str) -> bool:
        """Return whether there is no object, nor an earlier version of one that is hidden."""
        if not self.is_s3:
            return self.size(key) is None
        with self._report_errors("read"):
            return not self._list_versions(f"{self._root}/{key}", markers=False)

    def _list_versions(self, path: str, *, markers: bool = True) -> list[dict[str, str]]:
        """Return the versions of an object on S3, the newest first: a page of them."""
        bucket, key, _ = self._fs.split_path(path)
        kinds = ("DeleteMarkers", "Versions") if markers else ("Versions",)
        try:
            page = self._fs.call_s3("list_object_versions", Bucket=bucket, Prefix=key)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            # a store without versions, such as R2
            return [{"Bucket": bucket, "Key": key}] if self._fs.exists(path, refresh=True) else []
        return [
            {"Bucket": bucket, "Key": key, "VersionId": version["VersionId"]}
            for kind in kinds
            for version in page.get(kind) or ()
            if version["Key"] == key
        ]

    def try_writing(self) -> None:
        """Write an object and remove it; raises BucketFailed where that is not possible."""
        with self._report_errors("written"):
            try_writing(self._fs, self._root)

    def remove_stale_drafts(self) -> None:
        """Remove drafts that killed runs left behind at least a day ago."""
        if self._protocol != "file":
            return  # object stores drop unfinished uploads by themselves, or by their lifecycle rules
        for draft in (Path(self._root) / DRAFTS).glob("*"):
            with suppress(OSError):
                if draft.stat().st_mtime < time.time() - DRAFT_SECONDS:
                    draft.unlink()

    def list_sizes(self, folder: str) -> Mapping[str, int]:
        """Return the objects directly below a folder with their sizes in bytes."""
        with self._report_errors("listed"):
            try:
                entries = self._fs.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
        return {PurePosixPath(entry["name"]).name: int(entry["size"] or 0) for entry in entries}

    def read(self, key: str) -> Content | None:
        """Read an object to its end; None if there is none."""
        digest, size, head = hashlib.sha256(), 0, b""
        with self._report_errors("read"):
            try:
                with self._open(key) as file:
                    while chunk := file.read(CHUNK_BYTES):
                        digest.update(chunk)
                        size, head = size + len(chunk), head or chunk[:HEAD_BYTES]
            except (FileNotFoundError, NotADirectoryError):
                return None
        return Content(size, digest.hexdigest(), head)

    def _open(self, key: str) -> Any:
        if self._protocol == "file":
            return self._locate(key).open("rb", buffering=0)
        options = {"block_size": READ_AHEAD_BYTES, "cache_type": "readahead"}
        return self._fs.open(f"{self._root}/{key}", "rb", **options)

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""
        with self._report_errors("read"):
            try:
                if self._protocol == "file":
                    return self._locate(key).stat().st_size
                return int(self._fs.info(f"{self._root}/{key}")["size"])
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read_range(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes `start:stop` of an object in chunks; nothing beyond them is requested."""
        for offset in range(start, stop, CHUNK_BYTES):
            with self._report_errors("read"):
                chunk = self._read_part(key, offset, min(offset + CHUNK_BYTES, stop))
            yield chunk

    def _read_part(self, key: str, start: int, stop: int) -> bytes:
        if self._protocol == "file":
            with open(self._locate(key), "rb", buffering=0) as file:  # a buffer would read ahead
                file.seek(start)
                return file.read(stop - start)
        part: bytes = self._fs.cat_file(f"{self._root}/{key}", start=start, end=stop)
        return part

    def path(self, key: str) -> Path | None:
        """Return the file of an object in a local folder; None in an object store."""
        return self._locate(key) if self._protocol == "file" else None

    def read_checksum(self, key: str) -> StoredChecksum | None:
        """Ask S3 for the size and checksum of an object without reading it; None if there is no object."""
        with self._report_errors("read"):
            try:
                head = self.call_s3("head_object", key, ChecksumMode="ENABLED")
            except FileNotFoundError:
                return None
            digest = head.get("ChecksumSHA256") or ""
            # of an upload in parts it is one of the parts' checksums; the ETag, too, has their number then
            whole = "-" not in digest + head.get("ETag", "") and head.get("ChecksumType") != "COMPOSITE"
            sha256 = base64.b64decode(digest).hex() if digest and whole else None
            return StoredChecksum(int(head["ContentLength"]), sha256)

    def keep_beside(self, key: str, name: str) -> None:
        """Give the bytes of an object a second name, unless that is taken; they outlast the first one."""
        with self._report_errors("copied"):
            source, target = f"{self._root}/{key}", f"{self._root}/{name}"
            if self._fs.exists(target):
                return
            if self._protocol != "file":
                self._fs.cp_file(source, target)
                return
            try:
                os.link(source, target)
            except OSError:  # some file systems have no links
                self._copy_locally(Path(source), Path(target))

    def find_lock(self, key: str) -> str | None:
        """Return what forbids that an object is erased, in words; None where nothing is known to."""
        if not self.is_s3:
            return None
        with self._report_errors("read"):
            versions = self._list_versions(f"{self._root}/{key}", markers=False)
            locks = (_read_lock(self._fs.call_s3("head_object", **version)) for version in versions)
            return next(filter(None, locks), None)

    @contextmanager
    def _report_errors(self, action: str) -> Iterator[None]:
        # fsspec's backends share no class of errors
        try:
            yield
        except VbcError:
            raise
        except Exception as error:
            reason = first_line(error)
            raise BucketFailed(f"{self.url} cannot be {action}: {type(error).__name__}: {reason}") from error


def _read_lock(head: Mapping[str, Any]) -> str | None:
    until = head.get("ObjectLockRetainUntilDate")
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return "its object is under a legal hold of the bucket"
    if until and until > datetime.now(timezone.utc):
        return f"its object is locked until {until:%Y-%m-%d} ({head.get('ObjectLockMode', 'object lock')})"
    return None


class FolderListings:
    """Cached listings of the audio in a bucket's folders, without what was stored after it. Thread-safe."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._lock = bucket, threading.Lock()
        self._listed: dict[str, Mapping[str, int]] = {}

    def list_sizes(self, folder: str) -> Mapping[str, int]:
        """Return the audio files directly below a folder with their sizes in bytes."""
        # recordings come in the order of their days: without the lock, all threads list the same folder
        with self._lock:
            if folder not in self._listed:
                if len(self._listed) >= LISTINGS:
                    del self._listed[next(iter(self._listed))]
                sizes = self._bucket.list_sizes(folder)
                self._listed[folder] = {name: size for name, size in sizes.items() if is_audio(name)}
            return self._listed[folder]

    def has(self, key: str, size: int) -> bool:
        """Return whether there is an object with this key and this size in bytes."""
        path = PurePosixPath(key)
        return self.list_sizes(str(path.parent)).get(path.name) == size


def _check_for_keys(url: str) -> None:
    """Refuse an address with a key in it: errors, logs and the ledger repeat the address.

    Raises:
        SettingsError: The message does not repeat it.
    """
    scheme, found, rest = url.partition(":/")
    if not found or scheme.lower() == "file" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return  # a folder, or a drive of Windows
    if not rest.startswith("/"):
        raise SettingsError(f"bucket_url has one slash behind {scheme}: where it needs two")
    # abfss://container@account is the only address in which "@" is no login
    login, at, _ = rest[1:].split("/", 1)[0].rpartition("@")
    if (at and (":" in login or not scheme.lower().startswith("abfs"))) or set("?#") & set(rest):
        raise SettingsError(
            "bucket_url contains a login, a key or a query: give only bucket and folder there, and keys in "
            "[destination.filesystem.credentials]"
        )


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Write a file to the disk, so that it survives a crash of the machine."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _open(url: str) -> tuple[Any, str]:
    try:
        config = resolve_configuration(
            FilesystemConfiguration(),
            # dlt looks for each setting in the tenant's table first, then in the one above
            sections=("destination", "filesystem", *filter(None, [current_tenant()])),
            explicit_value={"bucket_url": url},
        )
        return fsspec_from_config(config)
    except MissingDependencyException:
        extra = url.split("://", 1)[0]
        raise SettingsError(
            f"{url} needs packages that are not installed: install the extra `{extra}` "
            f"(pip install '.[{extra}]' in a checkout)"
        ) from None
    except (ConfigurationException, ValueError) as error:
        raise SettingsError(
            f"{url} is not usable: {first_line(error)}; set credentials in "
            "[destination.filesystem.credentials]"
        ) from None


def _upload_options(protocol: str, content_type: str) -> dict[str, Any]:
    """Return a backend's own options for the content type, and for one part in memory at a time."""
    if protocol in ("gs", "gcs"):
        return {"chunksize": PART_BYTES, "content_type": content_type}
    if protocol in ("az", "abfs", "abfss", "adl", "azure"):
        return {"max_concurrency": 1, "content_settings": {"content_type": content_type}}
    return {}
