"""What every test gets: a folder of its own, and no word to the outside."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from vbc_source.emulator import Emulator, Gateway

if TYPE_CHECKING:
    from gateway_fixtures import Stage

# few examples of each property every day, many in CI; a busy machine must not fail a test
settings.register_profile("few", deadline=None, max_examples=25)
settings.register_profile("many", deadline=None, max_examples=100)
settings.load_profile(os.environ.get("EXAMPLES", "few"))
# as the command does: what the collection makes stays, and each garbage collection looks through all of it
gc.set_threshold(100_000, 20, 20)


def pytest_collection_finish() -> None:
    """Leave what the collection made out of garbage collections: each would look through all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Make a new folder as pytest does, but without a look at all others for the next number."""
    return Path(
        mkdtemp(prefix=f"{request.node.name[:30]}-".replace("/", "_"), dir=tmp_path_factory.getbasetemp())
    )


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with dlt's data beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    return tmp_path


@pytest.fixture
def serve() -> Iterator[Callable[[Gateway], str]]:
    """Serve a gateway until the test ends; gives its address."""
    with ExitStack() as stack:
        yield lambda gateway: stack.enter_context(Emulator(gateway))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A server for the gateways of a module's tests: its address is part of what they load."""
    from gateway_fixtures import serve_gateways

    with serve_gateways() as stage:
        yield stage


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait some milliseconds where a request is repeated, and as long as ever for what the gateway asks."""
    monkeypatch.setattr("vbc_source.api.http.rate_limit.FIRST_BACKOFF", 0.01)


@pytest.fixture
def keep_open() -> Iterator[Callable[[Path], None]]:
    """Keep a DuckDB file open until the test ends: opening one takes 10 ms, and each query opens it anew."""
    import duckdb

    with ExitStack() as stack:
        yield lambda path: stack.callback(duckdb.connect(str(path)).close)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A server that speaks S3; gives its address."""
    from archiving import serve_s3

    with serve_s3() as address:
        yield address


@pytest.fixture(scope="session")
def loaded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as the source loads it, once for all tests: a fixture of each folder would load its own."""
    from archiving import load_database

    return load_database(tmp_path_factory.mktemp("loaded"))


@pytest.fixture
def s3_settings(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[[], dict[str, str]]:
    def make() -> dict[str, str]:
        from archiving import S3Bucket

        bucket = S3Bucket(request.getfixturevalue("s3_server"))
        return {**bucket.settings(), "DESTINATION__FILESYSTEM__BUCKET_URL": bucket.url}

    return make
