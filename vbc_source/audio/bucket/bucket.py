"""The bucket with the files: a folder, S3, Google or Azure, opened with fsspec and dlt's credentials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from vbc_source.audio.bucket.address import check_for_keys, check_scheme, open_address
from vbc_source.audio.bucket.local_files import LocalFiles
from vbc_source.audio.bucket.objects import (
    HEAD_BYTES,
    BucketFailed,
    Content,
    KeyTaken,
    ObjectLocked,
    StoredChecksum,
)
from vbc_source.audio.bucket.s3 import S3Objects
from vbc_source.dlt_internals import FilesystemConfiguration
from vbc_source.errors import SettingsError, VbcError
from vbc_source.lakes.trial import try_writing
from vbc_source.load.failures import advise_s3, first_line, s3_code
from vbc_source.storage import StorageSettings, check_place

PART_BYTES = 5 << 20  # held in memory during an upload to Google
READ_AHEAD_BYTES = 2 << 20  # requested at a time; held in memory several times over while it is received
CHUNK_BYTES = 1 << 20
_REFUSALS = (
    "AccessDenied",
    "403",
    "Forbidden",
    "MethodNotAllowed",
    "InvalidRequest",
)  # of this object's deletion


class Bucket:
    """Objects below one address. An object exists completely or not at all.

    The address is `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`, or the path of a folder.
    `storage` is what every object gets that is stored, such as a lock.

    Attributes:
        url: The address.
        storage: The argument.
        s3: The same objects on S3, or a store that speaks S3; None elsewhere.
    """

    def __init__(
        self,
        url: str,
        storage: StorageSettings = StorageSettings(),  # noqa: B008 - a frozen value
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        if not url.strip():
            raise SettingsError("bucket_url is empty: give --bucket-url, such as s3://bucket/recordings")
        check_for_keys(url)
        if "://" not in url:
            url = Path(url).expanduser().absolute().as_uri()
        check_scheme(url)
        check_place(url, "bucket_url")
        self.url = url.rstrip("/")
        self._protocol = self.url.split("://", 1)[0]
        self.storage = storage
        storage.check_backend(self._protocol, now())
        self._fs, root = open_address(self.url)
        is_local = self._protocol == "file"
        if is_local:  # fsspec does not decode %20
            root = FilesystemConfiguration.make_local_path(self.url)
        self._root = root.rstrip("/")
        self._files = LocalFiles(self._root) if is_local else None
        is_s3 = self._protocol in ("s3", "s3a")
        self.s3 = S3Objects(self._fs, self._root, storage, now) if is_s3 else None

    def uri(self, key: str) -> str:
        """Return the address of an object."""
        return f"{self.url}/{key}"

    def key_of(self, uri: str) -> str | None:
        """Return the key of an address; None if it is not in this bucket, or could point out of it."""
        if not uri.startswith(self.url + "/"):
            return None
        # ledgers can be edited: an address in one must not lead out of the bucket
        key = uri[len(self.url) + 1 :]
        return None if ".." in PurePosixPath(key).parts or key.startswith("/") else key

    def put(self, path: Path, key: str, content_type: str, sha256: str, *, new: bool = False) -> None:
        """Store a file under a key, in place of what is there unless it has to be `new`.

        A local file is moved if it is on the same file system. `sha256` is the file's, for S3 to compare.

        Raises:
            KeyTaken: There is an object with this key, and the file has to be new.
        """
        with self._report_errors("written"):
            if self.s3:
                with path.open("rb") as file:
                    self.s3.put(file, key, content_type, sha256, new=new)
                return
            # until the upload, another program may store the same name: S3 alone has a condition against that
            if new and self.size(key) is not None:
                raise KeyTaken(self.uri(key))
            if self._files:
                self._files.put(path, key)
            else:
                options = _upload_options(self._protocol, content_type)
                self._fs.put_file(str(path), f"{self._root}/{key}", **options)

    def put_bytes(self, data: bytes, key: str, content_type: str) -> None:
        """Store bytes under a key, in place of what is there."""
        with self._report_errors("written"):
            if self._files:
                self._files.put_bytes(data, key)
            elif self.s3:
                self.s3.put(BytesIO(data), key, content_type, hashlib.sha256(data).hexdigest())
            else:
                options = _upload_options(self._protocol, content_type)
                self._fs.pipe_file(f"{self._root}/{key}", data, **options)

    def sync(self, uris: Iterable[str]) -> None:
        """Write to the disk that objects of this bucket are there, or gone; a store has done so already."""
        if self._files:
            with self._report_errors("written"):
                self._files.sync(filter(None, map(self.key_of, uris)))

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
        with self._report_errors("changed"):
            try:
                if self.s3:
                    self.s3.erase(key)
                else:
                    self._fs.rm_file(f"{self._root}/{key}")
            except FileNotFoundError:
                # gone already, which a killed run may have done: that is no failure
                self._check_folder(key)
            except PermissionError as error:
                if (code := s3_code(error)) and code not in _REFUSALS:
                    raise  # such as a login that has expired: nothing is known of this object
                raise ObjectLocked(f"{self.url} does not allow to delete it: {first_line(error)}") from error
            finally:
                self._fs.invalidate_cache()

    def is_erased(self, key: str) -> bool:
        """Return whether there is no object, nor an earlier version of one that is hidden."""
        if not self.s3:
            return self.size(key) is None and self._has_folder(key)
        with self._report_errors("read"):
            return not self.s3.list_versions(key, markers=False)

    def try_writing(self) -> None:
        """Write an object and remove it; raises BucketFailed where that is not possible."""
        with self._report_errors("written"):
            try_writing(self._fs, self._root)

    def remove_stale_drafts(self) -> None:
        """Remove drafts that killed runs left behind at least a day ago."""
        # object stores drop unfinished uploads by themselves, or by their lifecycle rules
        if self._files:
            self._files.remove_stale_drafts()

    def list_sizes(self, folder: str) -> Mapping[str, int]:
        """Return the objects directly below a folder with their sizes in bytes."""
        with self._report_errors("listed"):
            try:
                entries = self._fs.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                self._check_place()
                return {}
        return {PurePosixPath(entry["name"]).name: int(entry["size"] or 0) for entry in entries}

    def read(self, key: str) -> Content | None:
        """Read an object to its end; None if there is none."""
        with self._report_errors("read"):
            try:
                return self._files.read(key) if self._files else self._read_remotely(key)
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
                return None

    def _read_remotely(self, key: str) -> Content:
        digest, size, head = hashlib.sha256(), 0, b""
        options = {"block_size": READ_AHEAD_BYTES, "cache_type": "readahead"}
        with self._fs.open(f"{self._root}/{key}", "rb", **options) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size, head = size + len(chunk), head or chunk[:HEAD_BYTES]
        return Content(size, digest.hexdigest(), head)

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""
        with self._report_errors("read"):
            try:
                if self._files:
                    return self._files.locate(key).stat().st_size
                return int(self._fs.info(f"{self._root}/{key}")["size"])
            except (FileNotFoundError, NotADirectoryError):
                self._check_place()
                return None

    def _check_folder(self, key: str) -> None:
        """Raise where an object that is not there may only be out of sight."""
        if not self._has_folder(key):
            raise BucketFailed(
                f"{self.uri(key)} has no folder: is the archive mounted? If somebody has removed the folder, "
                "make it again"
            )
        self._check_place()

    def _has_folder(self, key: str) -> bool:
        """Return whether the folder of an object is there: a disk is more often not mounted than lost."""
        return not self._files or self._files.locate(key).parent.is_dir()

    def _check_place(self) -> None:
        """Raise where the bucket is not there: each of its objects looks like a missing one then."""
        if self.s3:
            self.s3.check_bucket()

    def read_range(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes `start:stop` of an object in chunks; nothing beyond them is requested."""
        for offset in range(start, stop, CHUNK_BYTES):
            with self._report_errors("read"):
                chunk = self._read_part(key, offset, min(offset + CHUNK_BYTES, stop))
            yield chunk

    def _read_part(self, key: str, start: int, stop: int) -> bytes:
        if self._files:
            return self._files.read_part(key, start, stop)
        part: bytes = self._fs.cat_file(f"{self._root}/{key}", start=start, end=stop)
        return part

    def path(self, key: str) -> Path | None:
        """Return the file of an object in a local folder; None in an object store."""
        return self._files.locate(key) if self._files else None

    def read_checksum(self, key: str) -> StoredChecksum | None:
        """Ask S3 for the size and checksum of an object without reading it; None if there is no object."""
        with self._report_errors("read"):
            if not self.s3:
                return None
            found = self.s3.read_checksum(key)
            if not found:
                self._check_place()
            return found

    def keep_beside(self, key: str, name: str) -> None:
        """Give the bytes of an object a second name, unless that is taken; they outlast the first one."""
        with self._report_errors("copied"):
            source, target = f"{self._root}/{key}", f"{self._root}/{name}"
            # such a name has the hash of the bytes in it: what is there is the same
            if self._fs.exists(target):
                return
            if self._files:
                self._files.keep_beside(key, name)
            else:
                self._fs.cp_file(source, target)

    def find_lock(self, key: str) -> str | None:
        """Return what forbids that an object is erased, in words; None where nothing is known to."""
        with self._report_errors("read"):
            return self.s3.find_lock(key) if self.s3 else None

    @contextmanager
    def _report_errors(self, action: str) -> Iterator[None]:
        # fsspec's backends share no class of errors
        try:
            yield
        except VbcError:
            raise
        except Exception as error:
            reason = first_line(error).rstrip(".")
            advice = advise_s3(error)
            raise BucketFailed(
                f"{self.url} cannot be {action}: {type(error).__name__}: {reason}{advice}"
            ) from error


def _upload_options(protocol: str, content_type: str) -> dict[str, Any]:
    """Return a backend's own options for the content type, and for one part in memory at a time."""
    if protocol in ("gs", "gcs"):
        return {"chunksize": PART_BYTES, "content_type": content_type}
    if protocol in ("az", "abfs", "abfss", "adl", "azure"):
        return {"max_concurrency": 1, "content_settings": {"content_type": content_type}}
    return {}
