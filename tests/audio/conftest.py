from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from archiving import Prepare, S3Bucket, Site, configure, make_gateway

from vbc_source.emulator import Gateway


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    bucket = S3Bucket(s3_server)
    for name, value in bucket.settings().items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def prepare(serve: Callable[[Gateway], str], own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Serve a gateway and configure this process for it."""

    def start(gateway: Gateway | None = None, *, bucket: str | None = None, **settings: str) -> Site:
        gateway = gateway or make_gateway()
        url = serve(gateway)
        for name, value in configure(url, **settings).items():
            monkeypatch.setenv(name, value)
        return Site(gateway, url, bucket or str(own_folder / "files"), own_folder)

    return start
