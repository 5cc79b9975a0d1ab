"""A lake in a bucket serves every command: sync, status, audio, verify, compact."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from archiving import S3Bucket
from loading import run_vbc, still_gateway

from vbc_source.emulator import Gateway

AZURE_NAME = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def s3_process() -> Iterator[str]:
    """An S3 server in its own process: `deltalake` keeps the interpreter locked while it waits for one."""
    serve = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
    with run_server(sys.executable, "-c", serve) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def azurite() -> Iterator[str]:
    """An emulator of Azure's storage; yields how to connect to it."""
    if not (command := shutil.which("azurite-blob")):
        pytest.skip("no azurite-blob on PATH: npm install --global azurite")
    # the account is Azurite's own, which Microsoft documents
    account = f"AccountName={AZURE_NAME};AccountKey={AZURE_KEY}"
    options = (
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
        "--blobPort",
    )
    with run_server(command, *options) as port:
        blobs = f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_NAME}"
        yield f"DefaultEndpointsProtocol=http;{account};{blobs};"


@contextmanager
def run_server(*command: str) -> Iterator[int]:
    """Run a server until the end; its last argument is the port, which it yields once that answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, str(port)], **nowhere) as server:
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port
        finally:
            server.terminate()


@pytest.mark.destinations
@pytest.mark.parametrize("table_format", ["", "delta", "iceberg"])
def test_every_command_works_on_a_lake_in_a_bucket(
    table_format: str, serve: Callable[[Gateway], str], own_folder: Path, s3_process: str
) -> None:
    bucket = S3Bucket(s3_process)
    settings = bucket.settings() | locate(f"s3://{bucket.name}")
    if table_format:
        settings["DESTINATION__FILESYSTEM__TABLE_FORMAT"] = table_format
    use_every_command(serve, own_folder, settings, lambda: list(bucket.sizes()))


@pytest.mark.destinations
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # adlfs does
def test_every_command_works_on_plain_files_in_azure(
    serve: Callable[[Gateway], str], own_folder: Path, azurite: str
) -> None:
    from azure.storage.blob import ContainerClient

    section = "DESTINATION__FILESYSTEM__"
    settings = locate("az://recordings") | {
        f"{section}KWARGS": json.dumps({"connection_string": azurite}),
        f"{section}CREDENTIALS__AZURE_STORAGE_ACCOUNT_NAME": AZURE_NAME,
        f"{section}CREDENTIALS__AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
    }
    with ContainerClient.from_connection_string(azurite, "recordings") as container:
        container.create_container()
        use_every_command(serve, own_folder, settings, lambda: list(container.list_blob_names()))


def locate(root: str) -> dict[str, str]:
    return {
        "DESTINATION__FILESYSTEM__BUCKET_URL": f"{root}/lake",
        "SOURCES__VBC__AUDIO__BUCKET_URL": f"{root}/audio",
    }


def use_every_command(
    serve: Callable[[Gateway], str],
    own_folder: Path,
    settings: dict[str, str],
    list_keys: Callable[[], list[str]],
) -> None:
    gateway = still_gateway(recordings=12, users=2, user_recordings=2)
    url = serve(gateway)

    def run(*command: str, code: int = 0) -> str:
        done = run_vbc(own_folder, url, *command, "--destination", "filesystem", **settings)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return str(done.stdout)

    run("sync")
    assert "12 recordings" in run("status")
    run("audio")
    assert (
        len([key for key in list_keys() if key.startswith("audio/") and key.endswith((".mp3", ".wav"))]) >= 12
    )
    gateway.company.delete(next(int(recording["id"]) for recording in gateway.company.all()))
    run("verify", code=1)
    run("verify", "--repair")
    run("compact")
    run("verify")
    assert "12 recordings" in run("status")
