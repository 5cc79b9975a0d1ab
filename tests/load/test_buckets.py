"""A lake in a bucket serves every command: sync, status, audio, verify, compact."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from archiving import S3Bucket
from loading import run_vbc, still_gateway

from vbc_source.emulator import Gateway


@pytest.fixture(scope="module")
def s3_process() -> Iterator[str]:
    """An S3 server in its own process: `deltalake` keeps the interpreter locked while it waits for one."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    serve = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with subprocess.Popen(
        [sys.executable, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.mark.destinations
@pytest.mark.parametrize("table_format", ["", "delta", "iceberg"])
def test_every_command_works_on_a_lake_in_a_bucket(
    table_format: str, serve: Callable[[Gateway], str], own_folder: Path, s3_process: str
) -> None:
    gateway, bucket = still_gateway(recordings=12, users=2, user_recordings=2), S3Bucket(s3_process)
    url, settings = serve(gateway), bucket.settings()
    if table_format:
        settings["DESTINATION__FILESYSTEM__TABLE_FORMAT"] = table_format
    settings["DESTINATION__FILESYSTEM__BUCKET_URL"] = f"s3://{bucket.name}/lake"
    settings["SOURCES__VBC__AUDIO__BUCKET_URL"] = f"s3://{bucket.name}/audio"

    def run(*command: str, code: int = 0) -> str:
        done = run_vbc(own_folder, url, *command, "--destination", "filesystem", **settings)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return str(done.stdout)

    run("sync")
    assert "12 recordings" in run("status")
    run("audio")
    assert len([key for key in bucket.sizes() if key.startswith("audio/")]) >= 12
    gateway.company.delete(next(int(recording["id"]) for recording in gateway.company.all()))
    run("verify", code=1)
    run("verify", "--repair")
    run("compact")
    run("verify")
    assert "12 recordings" in run("status")
