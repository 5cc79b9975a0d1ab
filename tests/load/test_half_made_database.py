"""A DuckDB file that a kill left half made does not stand in the way; other files are nobody's business."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from loading import credentials, run_vbc, still_gateway

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.destinations.duckdb import remove_half_made
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import run_pipeline

Serve = Callable[[Gateway], str]

HOLD = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def half_make(path: Path, size: int) -> None:
    """Leave the first bytes of a database, as a kill does while DuckDB makes it."""
    duckdb.connect(path).close()
    path.write_bytes(path.read_bytes()[:size])


def sync(serve: Serve) -> int:
    source = vbc_source(credentials=credentials(), base_url=serve(still_gateway(recordings=30)))
    with hold_pipeline(Target("test", "duckdb", "vbc_data")) as pipeline:
        return run_pipeline(pipeline, source.with_resources("company_recordings")).recordings


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=pytest.mark.slow if size else []) for size in (0, 4096, 8192, 12_287)]
)
def test_a_database_that_a_kill_left_half_made_is_made_anew(
    serve: Serve, own_folder: Path, size: int
) -> None:
    half_make(own_folder / "vbc.duckdb", size)
    assert sync(serve) == 30


@pytest.mark.slow
def test_a_backfill_makes_it_anew_too(serve: Serve, own_folder: Path) -> None:
    half_make(own_folder / "vbc.duckdb", 4096)
    url = serve(still_gateway(recordings=30))
    run = run_vbc(own_folder, url, "backfill", "--start-date", "2020-01-01", "--end-date", "2020-02-01")
    assert run.returncode == 0, run.stderr


def test_a_file_that_is_no_database_is_left_and_said_so(serve: Serve, own_folder: Path) -> None:
    (own_folder / "vbc.duckdb").write_text("not yours")
    with pytest.raises(VbcError, match=r"vbc\.duckdb"):
        sync(serve)
    assert (own_folder / "vbc.duckdb").read_text() == "not yours"


def test_a_database_that_has_all_its_headers_is_left(own_folder: Path) -> None:
    half_make(path := own_folder / "vbc.duckdb", 12_288)
    remove_half_made(path)
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is not there")
def test_a_database_that_another_process_is_making_is_left(own_folder: Path) -> None:
    half_make(path := own_folder / "vbc.duckdb", 4096)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        remove_half_made(path)
        assert path.exists()
        holder.communicate()
    remove_half_made(path)
    assert not path.exists()
