"""A test archive: a gateway with small files, its recordings in a database, buckets."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest
from loading import LOGIN, credentials, instant, open_target, still_gateway

from vbc_source import vbc_source
from vbc_source.audio.archive_audio import AudioResult, archive_audio
from vbc_source.audio.custody_heads import HEADS
from vbc_source.audio.sidecars.sidecar import is_audio
from vbc_source.emulator import Emulator, Gateway
from vbc_source.emulator.data.audio import CHUNK, make_audio
from vbc_source.recordings import Recording

AUDIO = "/audio/recording"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@contextmanager
def serve_s3() -> Iterator[str]:
    """Run an emulated S3 server in this process; yields its address."""
    from moto.server import ThreadedMotoServer  # takes a second to import, which few tests need

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


# a policy that erases short recordings
ERASE_SHORT = """
[[rules]]
name = "short"
shorter_than_seconds = 10
older_than_days = 1
actions = ["delete_at_vbc", "delete_archive"]
"""
LOCKED = {
    "SOURCES__VBC__AUDIO__OBJECT_LOCK_MODE": "GOVERNANCE",
    "SOURCES__VBC__AUDIO__OBJECT_LOCK_DAYS": "30",
}


class S3Bucket:
    """A new bucket, with versions and object lock if asked for, and its audio."""

    def __init__(self, endpoint: str, *, locks: bool = False) -> None:
        import boto3

        self.endpoint, self.name = endpoint, f"archive-{uuid.uuid4().hex[:8]}"
        self.client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
        self.client.create_bucket(Bucket=self.name, ObjectLockEnabledForBucket=locks)
        self.url = f"s3://{self.name}/recordings"

    def settings(self) -> dict[str, str]:
        section = "DESTINATION__FILESYSTEM__CREDENTIALS__"
        return {
            section + "ENDPOINT_URL": self.endpoint,
            **{section + name.upper(): value for name, value in KEYS.items()},
        }

    def write(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def sizes(self) -> dict[str, int]:
        """Return the audio in the bucket with its sizes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        found = {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}
        return {key: size for key, size in found.items() if is_audio(key.rpartition("/")[2])}

    def list_keys(self) -> set[str]:
        """Return all keys, those of sidecars and manifests too, but the heads of the chain of custody."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = {item["Key"] for page in pages for item in page.get("Contents", [])}
        return {key for key in keys if HEADS not in key}

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body


class FolderBucket:
    """A bucket that is a folder, with the methods of `S3Bucket`."""

    def __init__(self, folder: Path) -> None:
        self.url, self._folder = str(folder / "recordings"), folder

    def write(self, key: str, body: bytes) -> None:
        (self._folder / key).write_bytes(body)

    def delete(self, key: str) -> None:
        (self._folder / key).unlink()

    def sizes(self) -> dict[str, int]:
        paths = [path for path in self._folder.rglob("*") if path.is_file() and is_audio(path.name)]
        return {str(path.relative_to(self._folder)): path.stat().st_size for path in paths}

    def list_keys(self) -> set[str]:
        paths = [path for path in self._folder.rglob("*") if path.is_file() and HEADS not in str(path)]
        return {str(path.relative_to(self._folder)) for path in paths}

    def read(self, key: str) -> bytes:
        return (self._folder / key).read_bytes()


def make_gateway(count: int = 5, size: int = 2000, **options: Any) -> Gateway:
    """Make a gateway whose recordings have small files."""
    gateway = still_gateway(**options)
    for number in range(count):
        gateway.company.add(
            id=1000 + number,
            start=f"2025-03-{1 + number % 28:02}T10:00:{number % 60:02}+0000",
            duration=60_000,
            file_size_in_bytes=size + number,
            call_id=f"call-{1000 + number}",
        )
    return gateway


def sound_of(gateway: Gateway, recording: dict[str, Any]) -> bytes:
    """Return the bytes that the emulator serves for a company recording."""
    row = gateway.company.find(str(recording["id"]))
    assert row
    size = int(recording["file_size_in_bytes"])
    audio = make_audio(size, gateway.company.title(row.key))
    return b"".join(audio.read(place, min(place + CHUNK, size)) for place in range(0, size, CHUNK))


def key_of(recording: dict[str, Any], account: str = "549825") -> str:
    day = recording["start"][:10]
    return f"account_id={account}/recording_type=company/date={day}/{recording['id']}.mp3"


def make_recording(**changes: Any) -> Recording:
    """Make a company recording."""
    fields: dict[str, Any] = {
        "account_id": "549825",
        "recording_type": "company",
        "user_id": "",
        "recording_id": 193228,
        "start": datetime(2025, 2, 28, 20, tzinfo=timezone.utc),
        "download_url": None,
        "size_bytes": None,
    }
    return Recording(**{**fields, **changes})


@dataclass
class Site:
    """A served gateway, its recordings in a database, and a bucket.

    Attributes:
        template: A database into which the source has loaded recordings.
    """

    gateway: Gateway
    url: str
    bucket: str
    folder: Path
    template: Path
    keep_open: Callable[[Path], None]

    def load(self, *, shared: bool = False) -> dlt.Pipeline:
        """Put the company recordings into the database without the cost of a dlt load.

        With `shared`, other processes may open the database, and the test may replace it.
        """
        database = self.folder / "vbc.duckdb"
        if not database.exists():
            shutil.copy(self.template, database)
        names = (
            "id",
            "download_url",
            "duration",
            "start",
            "end",
            "file_name",
            "file_size_in_bytes",
            "call_id",
        )
        rows = [
            [
                "549825",
                *(instant(row.get(name)) if name in ("start", "end") else row.get(name) for name in names),
            ]
            for row in self.gateway.company.all()
        ]
        with duckdb.connect(str(database)) as connection:
            connection.execute("USE vbc_data; DELETE FROM company_recordings")
            columns = ", ".join(f'"{name}"' for name in ("account_id", *names))
            marks = ", ".join("?" * (len(names) + 1))
            if rows:
                connection.executemany(f"INSERT INTO company_recordings ({columns}) VALUES ({marks})", rows)
        if not shared:
            self.keep_open(database)
        return open_target("vbc", "duckdb", "vbc_data")

    def sync(self, **settings: Any) -> dlt.Pipeline:
        """Load the company recordings with the source."""
        return sync(self.url, **settings)

    def archive(self, **options: Any) -> AudioResult:
        return archive_audio(bucket_url=self.bucket, **options)

    def fetches(self) -> list[str]:
        """Return the files requested, in order."""
        return [request.path.rsplit("/", 1)[1] for request in self.gateway.requests if AUDIO in request.path]

    def files(self) -> dict[str, bytes]:
        """Return the content of the audio in a bucket that is a folder."""
        root = Path(self.bucket)
        paths = [path for path in root.rglob("*") if path.is_file() and is_audio(path.name)]
        return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def configure(url: str, **settings: str) -> dict[str, str]:
    """Return the environment variables for a gateway."""
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}
    return {**login, "SOURCES__VBC__BASE_URL": url, "SOURCES__VBC__RETRY_SECONDS": "0.5", **settings}


Prepare = Callable[..., Site]


def free_disk(path: Path) -> int:
    """Return the free bytes on the disk of a path."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def sync(url: str, **settings: Any) -> dlt.Pipeline:
    """Load the company recordings of a gateway with the source."""
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    source = vbc_source(credentials=credentials(), base_url=url, start_date="2020-01-01", **settings)
    pipeline.run(source.with_resources("company_recordings"))
    return pipeline


def load_database(folder: Path) -> Path:
    """Load a recording with the source into a database in `folder`."""
    with pytest.MonkeyPatch.context() as patch, Emulator(make_gateway(1)) as url:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        sync(url)
    return folder / "vbc.duckdb"


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    bucket = S3Bucket(s3_server)
    for name, value in bucket.settings().items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def locked(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A bucket with object lock, and settings that lock what is stored."""
    bucket = S3Bucket(s3_server, locks=True)
    for name, value in {**bucket.settings(), **LOCKED}.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture(params=["folder", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "locked"))])
def bucket(request: pytest.FixtureRequest, own_folder: Path) -> FolderBucket | S3Bucket:
    if request.param != "folder":
        store: S3Bucket = request.getfixturevalue(request.param)
        return store
    return FolderBucket(own_folder / "bucket")


@pytest.fixture
def prepare(
    serve: Callable[[Gateway], str],
    own_folder: Path,
    loaded_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep_open: Callable[[Path], None],
) -> Prepare:
    """Serve a gateway and configure this process for it."""

    def start(gateway: Gateway | None = None, *, bucket: str | None = None, **settings: str) -> Site:
        gateway = gateway or make_gateway()
        url = serve(gateway)
        for name, value in configure(url, **settings).items():
            monkeypatch.setenv(name, value)
        return Site(gateway, url, bucket or str(own_folder / "files"), own_folder, loaded_database, keep_open)

    return start
