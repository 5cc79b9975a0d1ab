"""Where files are kept: a folder, S3, Google or Azure, through fsspec and dlt's own credentials."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import MissingDependencyException

from vbc_source.dlt_internals import FilesystemConfiguration, fsspec_from_config
from vbc_source.errors import SettingsError, VbcError

PART = 5 << 20  # bytes of an upload to hold at once; S3 takes no smaller parts
READ = 1 << 20
DAY = 86_400  # seconds
INCOMING = ".incoming"  # where a local file is written before it gets its name


class BucketFailed(VbcError):
    """The bucket cannot be read or written."""


class Content(NamedTuple):
    """What an object holds.

    Attributes:
        size: bytes.
        sha256: in hexadecimal digits.
        head: its first bytes.
    """

    size: int
    sha256: str
    head: bytes


class Bucket:
    """Objects below one address. An object is there as a whole, or not at all.

    Args:
        url: such as `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///folder`, or a folder.

    Raises:
        SettingsError: the address or its credentials are not usable.
    """

    def __init__(self, url: str) -> None:
        if not url.strip():
            raise SettingsError("bucket_url is empty: give --bucket-url, such as s3://bucket/recordings")
        if "://" not in url:
            url = Path(url).expanduser().absolute().as_uri()
        self.url = url.rstrip("/")
        self._protocol = self.url.split("://", 1)[0]
        self._fs, root = _open(self.url)
        if self._protocol == "file":  # fsspec would take %20 for part of the name
            root = FilesystemConfiguration.make_local_path(self.url)
        self._root = root.rstrip("/")

    def uri(self, key: str) -> str:
        """An object's address."""
        return f"{self.url}/{key}"

    def key_of(self, uri: str) -> str | None:
        """The key of an address; None where it is not in this bucket, or may lead out of it."""
        if not uri.startswith(self.url + "/"):
            return None
        key = uri[len(self.url) + 1 :]
        return None if ".." in PurePosixPath(key).parts or key.startswith("/") else key

    def put(self, path: Path, key: str, content_type: str) -> None:
        """Store a file under a key; into a folder it is moved where it can be.

        Raises:
            BucketFailed: it could not be.
        """
        with self._explaining("written"):
            if self._protocol == "file":
                self._put_locally(path, Path(f"{self._root}/{key}"))
            else:
                options = _UPLOADS.get(self._protocol, lambda _: {})(content_type)
                self._fs.put_file(str(path), f"{self._root}/{key}", **options)

    def _put_locally(self, path: Path, target: Path) -> None:
        """Move a file in; from another file system by way of a copy, since a name must mean a whole file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_dev == target.parent.stat().st_dev:
            _flush(path)
            path.replace(target)
            return
        draft = Path(self._root) / INCOMING / uuid.uuid4().hex
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, draft)
            _flush(draft)
            draft.replace(target)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise

    def sweep(self) -> None:
        """Remove what runs that were killed left half written, a day ago or longer."""
        if self._protocol != "file":
            return  # stores of objects forget parts by themselves, or by their lifecycle rules
        for draft in (Path(self._root) / INCOMING).glob("*"):
            with suppress(OSError):
                if draft.stat().st_mtime < time.time() - DAY:
                    draft.unlink()

    def list_sizes(self, folder: str) -> Mapping[str, int]:
        """The objects right below a folder with their sizes in bytes; empty where there is none."""
        with self._explaining("listed"):
            try:
                found = self._fs.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
        return {PurePosixPath(item["name"]).name: int(item["size"] or 0) for item in found}

    def read(self, key: str) -> Content | None:
        """Read an object to its end; None where there is none.

        Raises:
            BucketFailed: it could not be read.
        """
        digest, size, head = hashlib.sha256(), 0, b""
        with self._explaining("read"):
            try:
                with self._fs.open(
                    f"{self._root}/{key}", "rb", block_size=PART, cache_type="readahead"
                ) as file:
                    while piece := file.read(READ):
                        digest.update(piece)
                        size, head = size + len(piece), head or piece[:64]
            except FileNotFoundError:
                return None
        return Content(size, digest.hexdigest(), head)

    @contextmanager
    def _explaining(self, doing: str) -> Iterator[None]:
        try:
            yield
        except VbcError:
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise BucketFailed(f"{self.url} cannot be {doing}: {type(error).__name__}: {reason}") from error


def _flush(path: Path) -> None:
    """Have a file on the disk, whatever happens to the machine."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _open(url: str) -> tuple[Any, str]:
    try:
        config = resolve_configuration(
            FilesystemConfiguration(),
            sections=("destination", "filesystem"),
            explicit_value={"bucket_url": url},
        )
        return fsspec_from_config(config)
    except MissingDependencyException:
        raise SettingsError(
            f"{url} needs more than is installed: pip install 'vbc-source[{url.split('://', 1)[0]}]'"
        ) from None
    except (ConfigurationException, ValueError) as error:
        raise SettingsError(
            f"{url} is not usable: {(str(error).strip().splitlines() or [''])[0][:200]}; credentials go to "
            "[destination.filesystem.credentials]"
        ) from None


def _upload_to_s3(content_type: str) -> dict[str, Any]:
    return {"chunksize": PART, "max_concurrency": 1, "ContentType": content_type}


def _upload_to_google(content_type: str) -> dict[str, Any]:
    return {"chunksize": PART, "content_type": content_type}


def _upload_to_azure(content_type: str) -> dict[str, Any]:
    return {"max_concurrency": 1, "content_settings": {"content_type": content_type}}


_UPLOADS = {
    **dict.fromkeys(("s3", "s3a"), _upload_to_s3),
    **dict.fromkeys(("gs", "gcs"), _upload_to_google),
    **dict.fromkeys(("az", "abfs", "abfss", "adl", "azure"), _upload_to_azure),
}
