"""What was erased stays erased, whatever brings it back: VBC, a bucket or a table restored from a backup."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from forgetting import NUMBER, Site, archive, list_planted, search

pytestmark = pytest.mark.slow
ID = 1900
AGAIN = "run vbc forget again"


@dataclass
class Erased:
    """An account whose caller was erased, with what there was of it before."""

    site: Site
    bucket: Path
    row: dict[str, Any]
    jobs: list[str]

    def list_audio(self) -> set[str]:
        return {path.name for path in (self.site.folder / "bucket").rglob("*.mp3")}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Erased, Path]]:
    backup = tmp_path_factory.mktemp("backup")
    with archive(tmp_path_factory.mktemp("stays")) as site:
        row = next(row for row in site.gateway.company.all() if row["id"] == ID)
        site.gateway.job_seconds = 0
        jobs = [
            job
            for owner in ((), ("--user", "1"))
            for job in site.run("export", "create", *owner)[0]["job_ids"]
        ]
        shutil.copytree(site.folder / "bucket", backup / "bucket")
        with duckdb.connect(str(site.folder / "vbc.duckdb")) as connection:
            for table in ("company_recordings", "recording_audio"):
                path = backup / f"{table}.parquet"
                connection.execute(f"COPY vbc_data.{table} TO '{path}'")
        result, done = site.run("forget", NUMBER, "--apply")
        assert result["ok"], done.output
        shutil.copytree(site.folder, backup / "after")
        yield Erased(site, backup / "bucket", row, jobs), backup / "after"


@pytest.fixture
def erased(prepared: tuple[Erased, Path]) -> Erased:
    found, after = prepared
    shutil.rmtree(found.site.folder)
    shutil.copytree(after, found.site.folder)
    return found


def restore_rows(erased: Erased) -> None:
    """Bring back the rows of tables, as somebody does who restores single tables from a backup."""
    with duckdb.connect(str(erased.site.folder / "vbc.duckdb")) as connection:
        for table, name in (("company_recordings", "id"), ("recording_audio", "recording_id")):
            rows = f"SELECT * FROM '{erased.bucket.parent / table}.parquet' WHERE {name} = {ID}"
            connection.execute(f"INSERT INTO vbc_data.{table} BY NAME {rows}")


def test_what_vbc_lists_again_is_not_loaded_and_is_named(erased: Erased) -> None:
    site, company = erased.site, erased.site.gateway.company
    company.add(**{name: value for name, value in erased.row.items() if not name.startswith("_")})
    try:
        for words in (("sync",), ("verify",), ("verify", "--repair"), ("audio",)):
            again = {"SOURCES__VBC__LOOKBACK_HOURS": "240"} if words == ("sync",) else {}
            result, done = site.run(*words, **again)
            assert result["ok"], done.output
            if words[0] != "audio":
                assert "erased" in done.stderr, words
        assert site.query(f"SELECT count(*) FROM vbc_data.company_recordings WHERE id = {ID}") == [(0,)]
        assert not [name for name in erased.list_audio() if name.startswith(str(ID))]
        result, done = site.run("forget", NUMBER, "--apply")
        assert (result["ok"], result["recordings"]) == (True, 1), done.output
        assert list_planted(site.gateway) == []
    finally:
        if company.find(str(ID)):
            company.delete(ID)


def test_a_restored_bucket_is_named_and_erased_by_the_same_command_again(erased: Erased) -> None:
    site = erased.site
    shutil.copytree(erased.bucket, site.folder / "bucket", dirs_exist_ok=True)
    before = site.query("SELECT count(*) FROM vbc_data.recording_audio")
    result, done = site.run("audio", "--rebuild-ledger")
    assert (done.exit_code, result["ok"], len(result["erased"])) == (1, False, 5)
    assert (result["rows"], result["recordings"], result["damaged"], result["missing"]) == (0, 0, [], [])
    assert done.stderr.count(AGAIN) == 5
    assert site.query("SELECT count(*) FROM vbc_data.recording_audio") == before
    assert site.query(f"SELECT count(*) FROM vbc_data.company_recordings WHERE id = {ID}") == [(0,)]
    result, done = site.run("audio")
    assert result["ok"], done.output
    assert site.query("SELECT count(*) FROM vbc_data.recording_audio") == before
    result, done = site.run("forget", NUMBER, "--apply")
    assert (result["ok"], result["recordings"], result["copies"]["objects"]) == (True, 5, 10), done.output
    assert search(site.folder) == []
    result, done = site.run("audio", "--rebuild-ledger")
    assert (result["ok"], result["erased"]) == (True, []), done.output
    result, done = site.run("forget", NUMBER)
    assert (result["ok"], result["recordings"]) == (True, 0), done.output


def test_restored_rows_bring_no_audio_back_and_fixity_repairs_none(erased: Erased) -> None:
    site, company = erased.site, erased.site.gateway.company
    restore_rows(erased)
    company.add(**{name: value for name, value in erased.row.items() if not name.startswith("_")})
    before = len(site.gateway.requests)
    try:
        with duckdb.connect(str(site.folder / "vbc.duckdb")) as connection:
            ledger = connection.execute(f"SELECT * FROM vbc_data.recording_audio WHERE recording_id = {ID}")
            assert len(ledger.fetchall()) == 1
        result, done = site.run("fixity", "--repair")
        assert (done.exit_code, result["missing"], result["repaired"]) == (1, [ID], [])
        assert f"it was erased: {AGAIN}" in result["findings"][0]["error"]
        assert AGAIN in done.stderr
        with duckdb.connect(str(site.folder / "vbc.duckdb")) as connection:
            connection.execute(f"DELETE FROM vbc_data.recording_audio WHERE recording_id = {ID}")
        result, done = site.run("audio")
        assert (result["ok"], result["stored"], AGAIN in done.stderr) == (True, 0, True), done.output
        assert not [one for one in site.gateway.requests[before:] if one.path.endswith(f"/{ID}")]
        assert not [name for name in erased.list_audio() if name.startswith(str(ID))]
    finally:
        company.delete(ID)


@pytest.mark.parametrize("rows", ["erased", "restored"])
def test_an_export_from_before_the_erasure_brings_nothing_back(erased: Erased, rows: str) -> None:
    site, before = erased.site, erased.list_audio()
    if rows == "restored":
        restore_rows(erased)
    (lost,) = (site.folder / "bucket").rglob("1000.mp3")
    lost.unlink()  # of a recording that was not erased: it is stored again
    sent = []

    def note(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        sent.extend(len(body) for _, body in members)
        return members

    site.gateway.zip_members = note
    try:
        company, of_user = erased.jobs
        for job, owner in ((company, ()), (of_user, ("--user", "1"))):
            result, done = site.run("export", "download", job, *owner)
            assert result["ok"], done.output
            assert (result["stored"], result["found"]) == ((1, 2) if job == company else (0, 0))
            assert result["unmatched"] == (4 if job == company else 1)
    finally:
        site.gateway.zip_members = None
    assert {erased.row["file_size_in_bytes"], 900} <= set(sent)  # what was erased was in the zips
    assert erased.list_audio() == before
    assert not (site.folder / "bucket" / "unmatched").exists()
    if rows == "erased":
        assert search(site.folder) == []


@pytest.mark.parametrize("options", [(), ("--repair",)])
def test_fixity_does_not_ask_vbc_for_what_was_erased(erased: Erased, options: tuple[str, ...]) -> None:
    """Bucket and rows are restored from a backup, and VBC lists it again."""
    site, company = erased.site, erased.site.gateway.company
    restore_rows(erased)
    shutil.copytree(erased.bucket, site.folder / "bucket", dirs_exist_ok=True)
    company.add(**{name: value for name, value in erased.row.items() if not name.startswith("_")})
    ids = f"recording_id IN ({ID}, 1000)"
    try:
        with duckdb.connect(str(site.folder / "vbc.duckdb")) as connection:
            connection.execute(f"UPDATE vbc_data.recording_audio SET attempts = 0 WHERE {ids}")
        before = len(site.gateway.requests)
        result, done = site.run("fixity", "--against-vbc", *options)
        assert (result["proven"], result["unproven"], result["repaired"]) == ([1000], 1, []), done.output
        assert AGAIN in done.stderr
        asked = [one.path for one in site.gateway.requests[before:]]
        assert [path for path in asked if path.endswith("/1000")]
        assert not [path for path in asked if path.endswith(f"/{ID}")]
        attempts = f"SELECT recording_id, attempts FROM vbc_data.recording_audio WHERE {ids} ORDER BY 1"
        assert site.query(attempts) == [(1000, 1), (ID, 0)]
    finally:
        company.delete(ID)


def test_a_restored_file_gets_no_sidecar_again(erased: Erased) -> None:
    """The file and its rows are restored from a backup, and its sidecar, with the number, is not."""
    site = erased.site
    restore_rows(erased)
    (audio,) = erased.bucket.rglob(f"{ID}.mp3")
    place = site.folder / "bucket" / audio.relative_to(erased.bucket)
    shutil.copytree(
        audio.parent, place.parent, ignore=lambda _, names: {*names} - {audio.name}, dirs_exist_ok=True
    )
    result, done = site.run("audio")
    assert (result["ok"], AGAIN in done.stderr) == (True, True), done.output
    assert [path.name for path in place.parent.iterdir()] == [audio.name]
