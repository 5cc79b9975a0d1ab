"""`vbc forget` on DuckDB and a folder: one archived state, and what is left of a caller in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archiving import configure
from forgetting import NUMBER, PATTERN, list_planted, plant, search
from in_process import run_in_process

from vbc_source.emulator import Emulator, Gateway

pytestmark = pytest.mark.slow


@dataclass
class Site:
    """A loaded and archived account."""

    gateway: Gateway
    url: str
    folder: Path

    def run(self, *arguments: str, **changed: str) -> Any:
        """Run a command; return its result and what it printed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            done = run_in_process(
                *arguments,
                "--json",
                **configure(self.url),
                DLT_DATA_DIR=str(self.folder / "dlt"),
                RUNTIME__DLTHUB_TELEMETRY="false",
                SOURCES__VBC__AUDIO__BUCKET_URL=str(self.folder / "bucket"),
                **changed,
            )
        lines = done.stdout.splitlines()
        assert lines, done.output
        return json.loads(lines[-1]), done

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "vbc.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, gateway = tmp_path_factory.mktemp("forget"), plant()
    with Emulator(gateway) as url:
        site = Site(gateway, url, folder)
        for command in ("sync", "audio"):
            result, done = site.run(command)
            assert result["ok"], done.output
        yield site


def test_a_dry_run_lists_every_copy_and_erases_nothing(site: Site) -> None:
    planted = list_planted(site.gateway)
    result, done = site.run("forget", NUMBER)
    assert result["recordings"] == len(planted) == 5
    assert result["copies"]["vbc"] == 5
    assert result["copies"]["objects"] >= 5
    assert result["ok"]
    assert done.exit_code == 0
    assert list_planted(site.gateway) == planted
    assert search(site.folder)
    assert not PATTERN.search(done.output.encode())


def test_nothing_is_left_and_nothing_comes_back(site: Site) -> None:
    before = site.query("SELECT id FROM vbc_data.company_recordings ORDER BY id")
    result, done = site.run("forget", NUMBER, "--apply")
    assert result["ok"], result
    assert list_planted(site.gateway) == []
    assert search(site.folder) == []
    for command in (("sync",), ("verify",), ("audio",), ("forget", NUMBER)):
        again, done = site.run(*command)
        assert again["ok"], done.output
        assert not PATTERN.search(done.output.encode())
    assert again["recordings"] == 0
    assert search(site.folder) == []
    assert len(before) - len(site.query("SELECT id FROM vbc_data.company_recordings")) == 4
