"""An archive to test with: a gateway with small files, what it serves, buckets."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import dlt
from loading import LOGIN, credentials, open_target, still_gateway
from moto.server import ThreadedMotoServer

from vbc_source import vbc_source
from vbc_source.audio.archive_audio import archive_audio
from vbc_source.audio.run import AudioResult
from vbc_source.emulator import Gateway
from vbc_source.emulator.data.audio import CHUNK, make_audio

AUDIO = "/audio/recording"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@contextmanager
def serve_s3() -> Iterator[str]:
    """A server that speaks S3, in this process; gives its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class S3Bucket:
    """A new bucket, and what is in it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self.name = endpoint, f"archive-{uuid.uuid4().hex[:8]}"
        self.client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
        self.client.create_bucket(Bucket=self.name)
        self.url = f"s3://{self.name}/recordings"

    def settings(self) -> dict[str, str]:
        section = "DESTINATION__FILESYSTEM__CREDENTIALS__"
        return {
            section + "ENDPOINT_URL": self.endpoint,
            **{section + name.upper(): value for name, value in KEYS.items()},
        }

    def sizes(self) -> dict[str, int]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return body


def make_gateway(count: int = 5, size: int = 2000, **options: Any) -> Gateway:
    """A gateway whose recordings have small files."""
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
    """The bytes that the emulator serves for a company recording."""
    row = gateway.company.find(str(recording["id"]))
    assert row
    size = int(recording["file_size_in_bytes"])
    audio = make_audio(size, gateway.company.title(row.key))
    return b"".join(audio.read(place, min(place + CHUNK, size)) for place in range(0, size, CHUNK))


def key_of(recording: dict[str, Any], account: str = "549825") -> str:
    day = recording["start"][:10]
    return f"account_id={account}/recording_type=company/date={day}/{recording['id']}.mp3"


@dataclass
class Site:
    """A gateway that is served, what is loaded from it, and a bucket."""

    gateway: Gateway
    url: str
    bucket: str
    folder: Path

    def load(self, destination: str = "duckdb", **settings: Any) -> dlt.Pipeline:
        pipeline = open_target("vbc", destination, "vbc_data")
        source = vbc_source(credentials=credentials(), base_url=self.url, start_date="2020-01-01", **settings)
        pipeline.run(source.with_resources("company_recordings"))
        return pipeline

    def archive(self, **options: Any) -> AudioResult:
        return archive_audio(bucket_url=self.bucket, **options)

    def fetches(self) -> list[str]:
        """Which files were asked for, in order."""
        return [request.path.rsplit("/", 1)[1] for request in self.gateway.requests if AUDIO in request.path]

    def files(self) -> dict[str, bytes]:
        """What is in the bucket, where it is a folder."""
        root = Path(self.bucket)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def configure(url: str, **settings: str) -> dict[str, str]:
    """The environment for a gateway."""
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}
    return {**login, "SOURCES__VBC__BASE_URL": url, "SOURCES__VBC__RETRY_SECONDS": "0.5", **settings}


Prepare = Callable[..., Site]


def free_disk(path: Path) -> int:
    """Bytes left where a path is."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
