"""Sidecars and manifests: the archive can be read and checked without this package."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from archiving import FolderBucket, Prepare, S3Bucket, Site, configure, make_gateway
from kills import choose_moments, count_kills
from loading import environment, query, read_database, run_vbc, vbc

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.sidecars import missing_sidecars
from vbc_source.audio.sidecars.manifest import MANIFEST, manifest_key, parse_manifest, write_manifest
from vbc_source.audio.sidecars.sidecar import (
    ArchiveFacts,
    AudioFacts,
    Proof,
    Sidecar,
    is_audio,
    parse_sidecar,
    sidecar_key,
    write_sidecar,
)
from vbc_source.audio.sidecars.storage import read_manifest, read_sidecar, remove_lines, store_manifest
from vbc_source.emulator import Gateway
from vbc_source.errors import InvalidContent

NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)
SIDECAR = Sidecar(
    AudioFacts("7.mp3", "ab" * 32, 3, "audio/mpeg", 480),
    ArchiveFacts("549825", "company", "", 7, 1, 1, NOON, "call-7", NOON),
    {"id": 7, "cnam": "é\u2028", "score": 2.0, "start": "2025-03-01T12:00:00Z", "extensions": [None, "1"]},
    Proof("company_recordings", NOON, NOON, 1, NOON, "1740830400.1"),
)
ODD = {
    "id": 77,
    "start": "2025-03-01T10:00:00.5+0000",
    "file_size_in_bytes": 3000,
    "extensions": ["101", None, "103"],
    "rule_ids": [7, "none", 9],
    "score": 0.5,
    "queue": {"name": "sales"},
}


def folders(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob(MANIFEST))


def assert_readable(root: Path, files: int) -> None:
    """What is in a local archive is what its manifests say, by the tool that everybody has."""
    audio = [path for path in root.rglob("*") if path.is_file() and is_audio(path.name)]
    assert len(audio) == files
    assert {path.parent for path in audio} == set(folders(root))
    for folder in folders(root):
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", MANIFEST],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        names = {path.name for path in folder.iterdir()} - {MANIFEST}
        assert set(parse_manifest((folder / MANIFEST).read_bytes())) == names
        assert names == {name for path in folder.iterdir() if is_audio(path.name)
                         for name in (path.name, sidecar_key(path.name))}  # fmt: skip


def test_the_same_facts_give_the_same_bytes() -> None:
    body = write_sidecar(SIDECAR)
    assert body.endswith(b"}\n")
    assert "é".encode() in body
    assert parse_sidecar(body) == SIDECAR
    assert write_sidecar(parse_sidecar(body)) == body
    written = json.loads(body)
    assert list(written) == sorted(written)
    assert list(written["recording"]) == sorted(written["recording"])
    assert parse_sidecar(body.replace(b'"format":', b'"added_later": [1], "format":')) == SIDECAR


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        write_sidecar(SIDECAR)[:-40],
        write_sidecar(SIDECAR).replace(b'"recording_id": 7', b'"recording_id": "+14155550100"'),
        write_sidecar(SIDECAR).replace(b'"vbc-source sidecar"', b'"another"'),
        write_sidecar(replace(SIDECAR, format_version=2)),
    ],
)
def test_what_is_no_sidecar_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"sidecar|format_version") as caught:
        parse_sidecar(body)
    assert "14155550100" not in str(caught.value)


def test_manifests_are_sorted_and_read_as_sha256sum_writes_them() -> None:
    digests = {"b.mp3": "ab" * 32, "a.json": "cd" * 32}
    body = write_manifest(digests)
    assert body.decode() == f"{'cd' * 32}  a.json\n{'ab' * 32}  b.mp3\n"
    assert parse_manifest(body) == digests
    assert parse_manifest(body.replace(b"  a", b" *./a").replace(b"\n", b"\r\n").upper()) == {
        "B.MP3": "ab" * 32,
        "A.JSON": "cd" * 32,
    }
    for line in (b"abc  a.mp3", b"ab" * 32 + b"  ../a.mp3", b"ab" * 32, b"ab" * 32 + b"  a.json"):
        with pytest.raises(ValueError, match="line 3"):
            parse_manifest(body + line + b"\n")


def test_names_beside_a_file() -> None:
    assert sidecar_key("date=2025-03-01/7.user_id=1.v2.wav") == "date=2025-03-01/7.user_id=1.v2.json"
    assert manifest_key("date=2025-03-01") == f"date=2025-03-01/{MANIFEST}"
    assert [is_audio(name) for name in ("7.mp3", "7.json", MANIFEST)] == [True, False, False]


def make_odd_gateway() -> Gateway:
    gateway = make_gateway(4)
    gateway.company.add(**ODD)
    return gateway


def read(site: Site, id_: str) -> Sidecar:
    (path,) = Path(site.bucket).rglob(f"{id_}.json")
    return parse_sidecar(path.read_bytes())


@pytest.mark.parametrize("later", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sidecars_hold_what_is_loaded_and_stay_as_they_are(prepare: Prepare, later: bool) -> None:
    site = prepare(make_odd_gateway())
    pipeline = site.sync()
    site.keep_open(site.folder / "vbc.duckdb")
    done = site.archive()
    assert (done.stored, done.sidecars, done.refused, done.ok) == (5, 5, (), True)
    root = Path(site.bucket)
    assert_readable(root, 5)
    sidecar = read(site, "77")
    assert sidecar.recording
    assert sidecar.proof
    assert sidecar.recording["extensions"] == ["101", None, "103"]
    assert sidecar.recording["rule_ids"] == [7, "none", 9]
    assert (sidecar.recording["score"], sidecar.recording["queue"]) == (0.5, '{"name":"sales"}')
    assert sidecar.recording["start"] == "2025-03-01T10:00:00.500000Z"
    names = "account_id, call_id, caller_id, cnam, dnis, download_url, file_name, file_size_in_bytes"
    ((*values,),) = query(pipeline, f"SELECT {names} FROM company_recordings WHERE id = 77")
    assert [sidecar.recording[name] for name in names.split(", ")] == values
    ((*ledger,),) = query(
        pipeline,
        "SELECT sha256, size_bytes, content_type, audio_duration FROM recording_audio "
        "WHERE recording_id = 77",
    )
    audio = sidecar.audio
    assert [audio.sha256, audio.size_bytes, audio.content_type, audio.duration] == ledger
    proofs = "SELECT scanned_at, _dlt_load_id FROM scan_windows WHERE resource = 'company_recordings'"
    assert (sidecar.proof.scanned_at, sidecar.proof.load_id) in query(pipeline, proofs)

    if not later:
        return
    # a later change of the metadata alone is not in it; a new file of the same day gets its own
    site.gateway.company.change(77, cnam="SOMEBODY ELSE")
    site.gateway.company.add(id=78, start="2025-03-01T11:00:00+0000", file_size_in_bytes=900)
    site.gateway.company.change(1001, file_size_in_bytes=2500)
    before = {path: path.read_bytes() for path in root.rglob("*.json")}
    site.sync(lookback_hours=24 * 3650)
    done = site.archive()
    assert (done.stored, done.sidecars, done.ok) == (2, 2, True)
    assert_readable(root, 7)
    assert before.items() <= {path: path.read_bytes() for path in root.rglob("*.json")}.items()
    second = read(site, "1001.v2")
    assert (second.archive.version, second.audio.size_bytes) == (2, 2500)
    assert (site.archive().sidecars, len(site.fetches())) == (0, 7)


@pytest.mark.slow
def test_what_a_kill_left_out_is_mended_and_what_was_edited_is_left(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    site = prepare(make_odd_gateway())
    site.load()
    site.archive()
    first, second, third, fourth = folders(Path(site.bucket))
    (first / MANIFEST).unlink()
    (first / "77.json").unlink()
    (second / "1001.json").write_bytes(b"half of a si")
    (second / MANIFEST).unlink()
    done = site.archive()
    assert (done.sidecars, done.ok) == (2, True)
    assert_readable(Path(site.bucket), 5)

    (third / MANIFEST).write_text("edited\n")
    manifest = (fourth / MANIFEST).read_text()
    lines = manifest.splitlines()
    (fourth / MANIFEST).write_text("\n".join([lines[0], "0" * 64 + lines[1][64:]]))
    edited = (fourth / MANIFEST).read_bytes()
    done = site.archive()
    assert (done.sidecars, done.ok) == (0, False)
    bucket = Bucket(site.bucket)
    assert set(done.refused) == {
        f"{bucket.url}/{(third / MANIFEST).relative_to(site.bucket)}",
        f"{bucket.url}/{(fourth / '1003.mp3').relative_to(site.bucket)}",
    }
    assert (third / MANIFEST).read_text() == "edited\n"
    assert (fourth / MANIFEST).read_bytes() == edited
    assert "line 1 is not a SHA-256" in caplog.text
    for folder in (first, second, third, fourth):
        (folder / MANIFEST).write_text("edited\n")
    assert len(site.archive().refused) == 4


def test_lines_of_files_that_are_gone_leave_the_manifest(tmp_path: Path) -> None:
    bucket, folder = Bucket(str(tmp_path)), "account_id=1/recording_type=company/date=2025-03-01"
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "1.mp3").write_bytes(b"sound")
    digests = {"1.mp3": "ab" * 32, "2.json": "cd" * 32, "2.mp3": "ef" * 32}
    store_manifest(bucket, folder, digests)
    remove_lines(bucket, folder, {"2.mp3", "2.json"})
    assert read_manifest(bucket, folder) == {"1.mp3": "ab" * 32}
    (tmp_path / folder / MANIFEST).write_text("edited\n")
    with pytest.raises(InvalidContent, match="line 1"):
        remove_lines(bucket, folder, {"2.mp3", "2.json"})
    store_manifest(bucket, folder, {"2.mp3": "ef" * 32})
    remove_lines(bucket, folder, {"2.mp3", "2.json"})
    assert not (tmp_path / folder / MANIFEST).exists()
    remove_lines(bucket, folder, {"2.mp3", "2.json"})
    assert read_sidecar(bucket, f"{folder}/1.mp3") is None


def lose_sidecars(bucket: FolderBucket | S3Bucket) -> None:
    for key in bucket.list_keys():
        if not is_audio(key.rpartition("/")[2]):
            bucket.delete(key)


@pytest.mark.slow
@pytest.mark.parametrize("count", [280])
def test_archives_of_earlier_versions_are_brought_up_once(
    prepare: Prepare, bucket: FolderBucket | S3Bucket, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_sidecars, "NOTED_FOLDERS", 28)
    site = prepare(make_gateway(count, size=300), bucket=bucket.url)
    pipeline = site.load()
    assert site.archive().sidecars == count
    keys = bucket.list_keys()
    assert len(keys) == 2 * count + 28
    lose_sidecars(bucket)
    with pipeline.sql_client() as client:
        client.execute_sql("DELETE FROM audio_manifests")
    done = site.archive()
    assert (done.stored, done.sidecars, done.ok) == (0, count, True)
    assert bucket.list_keys() == keys
    # the folders are noted: what goes missing now is for the checks of the whole archive
    lose_sidecars(bucket)
    assert site.archive().sidecars == 0
    ((folders_, files),) = query(pipeline, "SELECT count(*), sum(files) FROM audio_manifests")
    assert (folders_, files) == (28, count)
    assert len(site.fetches()) == count


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_no_number_is_in_a_key_or_a_sidecar(prepare: Prepare, mode: str) -> None:
    number, name = "14155557777", "ERIKA MUSTERMANN"
    site = prepare(make_gateway(2), SOURCES__VBC__PII=mode, SOURCES__VBC__PII_KEY="k" * 40)
    site.gateway.company.add(
        id=7,
        start="2025-03-01T09:00:00Z",
        file_size_in_bytes=900,
        caller_id=number,
        dnis=f"+{number}",
        cnam=name,
        file_name=f"{number}.mp3",
        extensions=[number],
        participants={f"+{number}": {"role": "caller"}, name: 1},
        legs=[{number: {"seconds": 3}}],
    )
    site.sync(pii=mode, pii_key="k" * 40)
    assert site.archive().sidecars == 3
    for path in Path(site.bucket).rglob("*"):
        assert not any(word in str(path) for word in (number, name))
        if path.is_file() and not is_audio(path.name):
            assert not any(word in path.read_text() for word in (number, name))
    row: Any = read(site, "7").recording
    assert (row["caller_id"] is None) == (mode == "drop")


@pytest.mark.slow
@pytest.mark.parametrize("kills", [count_kills(3)])
def test_a_kill_between_audio_sidecar_and_manifest_is_mended(
    prepare: Prepare, own_folder: Path, kills: int
) -> None:
    count = 40 * kills
    site = prepare(make_gateway(count, size=3000))
    site.load(shared=True)
    command = vbc("audio", "--bucket-url", site.bucket, "--limit", "60")
    settings, random = configure(site.url), choose_moments(6)
    for number in range(kills):
        goal = random.randrange(1, 120)
        before = len(list(Path(site.bucket).rglob("*.json")))
        with subprocess.Popen(
            command, cwd=own_folder, env=environment(site.url, own_folder, **settings), stderr=subprocess.PIPE
        ) as process:
            while process.poll() is None:
                written = len(list(Path(site.bucket).rglob("*.json"))) - before
                manifests = len(list(Path(site.bucket).rglob(MANIFEST)))
                if written >= goal or (number % 3 == 2 and manifests > 14):
                    break
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            process.kill()
        assert process.returncode in (0, -9), process.stderr
    done = run_vbc(own_folder, site.url, "audio", "--bucket-url", site.bucket, **settings)
    assert done.returncode == 0, done.stderr
    assert_readable(Path(site.bucket), count)
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.recording_audio") == [(count,)]
