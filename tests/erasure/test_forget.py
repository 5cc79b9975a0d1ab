"""`vbc forget` on DuckDB and a folder: one archived state, and what is left of a caller in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forgetting import NUMBER, PATTERN, Site, archive, list_planted, search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with archive(tmp_path_factory.mktemp("forget")) as site:
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
    for command in (("sync",), ("verify",), ("audio",), ("evidence", "--verify-chain"), ("forget", NUMBER)):
        again, done = site.run(*command)
        assert again["ok"], done.output
        assert not PATTERN.search(done.output.encode())
    assert again["recordings"] == 0
    assert search(site.folder) == []
    assert len(before) - len(site.query("SELECT id FROM vbc_data.company_recordings")) == 4
