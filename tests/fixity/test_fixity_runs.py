"""Runs of `vbc fixity`: parts of an archive, what is continued, whose bytes count."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from archiving import Prepare, S3Bucket, key_of, make_gateway, sound_of
from checking import check, flip, path_of
from in_process import run_in_process
from loading import query
from warehouses import set_up

from vbc_source import VbcError, archive_audio, check_fixity, read_status, retain, sync
from vbc_source.audio.sidecars.manifest import MANIFEST
from vbc_source.errors import UsageError
from vbc_source.fixity.check_ledger import CheckLedger
from vbc_source.monitoring.overview import StatusReport
from vbc_source.monitoring.prometheus import write_page
from vbc_source.warehouse.recordings import RecordingSelection
from vbc_source.windows import parse_instant

COUNTS = "SELECT recording_id, count(*) FROM audio_checks GROUP BY 1 ORDER BY 1"


@pytest.mark.slow
def test_an_archive_that_is_not_there_is_no_archive_full_of_missing_files(
    prepare: Prepare, own_folder: Path
) -> None:
    site = prepare(make_gateway(1))
    site.load()
    with pytest.raises(VbcError, match="run vbc audio first"):
        check(site)
    site.archive()
    (own_folder / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(VbcError, match="holds nothing at all"):
            check_fixity(bucket_url=folder)
    with pytest.raises(UsageError, match="exclude each other"):
        check(site, remote=True, against_vbc=True)
    assert read_status().checks is None


@pytest.mark.slow
def test_runs_of_a_part_take_turns_and_a_finding_stays_until_it_is_checked_again(prepare: Prepare) -> None:
    site = prepare(make_gateway(9))
    pipeline = site.load()
    site.archive()
    for run in range(3):
        result = check(site, subset="1/3")
        assert (result.checked, result.never_checked) == (3, 9 - 3 * (run + 1))
    assert query(pipeline, COUNTS) == [(1000 + number, 1) for number in range(9)]
    assert check(site, subset="5KB").checked == 2
    assert {count for _, count in query(pipeline, COUNTS)} == {1, 2}

    whole = path_of(site, 1008).read_bytes()
    path_of(site, 1008).write_bytes(flip(whole))  # checked last, so due last
    path_of(site, 1007).unlink()  # what a listing shows is checked at once
    first = check(site, subset="1/9")
    assert (first.checked, first.missing, first.damaged) == (2, (1007,), ())
    assert check(site, subset="100%").damaged == (1008,)
    later = check(site, selection=RecordingSelection(until=datetime(2025, 3, 2, tzinfo=timezone.utc)))
    assert (later.checked, later.ok, later.damaged, later.missing) == (1, False, (1008,), (1007,))
    status = read_status()
    assert status.checks
    assert status.checks.damaged == 2
    assert 'vbc_audio_damaged{pipeline="vbc",dataset="vbc_data"} 2.0' in write_page(
        {None: StatusReport(status)}
    )
    path_of(site, 1008).write_bytes(whole)
    found = check(site, subset="1/4")  # whatever its turn
    assert (found.damaged, found.missing) == ((), (1007,))


@pytest.mark.slow
def test_a_run_that_stopped_is_continued_and_appends_nothing_twice(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = prepare(make_gateway(6))
    pipeline = site.load()
    site.archive()
    load, add = CheckLedger.load, CheckLedger.add
    added = []

    def stop_after_four(self: CheckLedger, checks: Any) -> None:
        add(self, checks)
        added.extend(checks)
        if len(added) == 4:
            load(self)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckLedger, "add", stop_after_four)
        with pytest.raises(KeyboardInterrupt):
            check(site)
    # a kill right after a load leaves rows in the journal that are loaded already
    (journal,) = Path(os.environ["DLT_DATA_DIR"]).glob("vbc_audio/*/checks.jsonl")
    journal.write_bytes(b"\n".join(map(msgspec.json.encode, added)) + b'\n{"check_id": "cut o')
    done = check(site)
    assert (done.ok, done.checked, done.left) == (True, 2, 0)
    assert query(pipeline, COUNTS) == [(1000 + number, 1) for number in range(6)]
    assert check(site).checked == 6
    assert journal.read_bytes() == b""


@pytest.mark.slow
def test_files_that_were_only_found_are_proven_and_retention_accepts_them(prepare: Prepare) -> None:
    site = prepare(make_gateway(4))
    pipeline = site.load()
    site.archive()
    rows = {row["id"]: row for row in site.gateway.company.all()}
    with pipeline.sql_client() as sql:
        sql.execute_sql("DELETE FROM recording_audio")
    path_of(site, 1003).write_bytes(flip(path_of(site, 1003).read_bytes()))
    path_of(site, 1003).with_suffix(".json").unlink()  # a file that its sidecar contradicts is not adopted
    assert site.archive().found == 4
    site.gateway.company.delete(1002)
    assert retain(older_than=timedelta(days=1), bucket_url=site.bucket).unproven == 4
    done = check(site, against_vbc=True)
    assert (done.proven, done.unproven, done.damaged, done.ok) == ((1000, 1001), 1, (1003,), False)
    assert "VBC's own bytes are others" in str(done.findings[0].error)
    kept = retain(older_than=timedelta(days=1), bucket_url=site.bucket)
    assert (kept.proven, kept.unproven) == (2, 2)

    again = check(site, against_vbc=True, repair=True)
    assert (again.checked, again.unproven, again.damaged) == (2, 1, (1003,))
    assert "kept as version 2" in str(again.findings[0].error)
    second = path_of(site, 1003).with_name("1003.v2.mp3")
    assert second.read_bytes() == sound_of(site.gateway, rows[1003])
    assert path_of(site, 1003).read_bytes() == flip(second.read_bytes())
    last = query(
        pipeline, "SELECT version, attempts FROM recording_audio WHERE recording_id = 1003 ORDER BY 1"
    )
    assert last == [(1, 0), (2, 1)]


@pytest.mark.slow
def test_other_bytes_at_vbc_never_replace_the_file_and_a_wrong_ledger_is_corrected(prepare: Prepare) -> None:
    site = prepare(make_gateway(5))
    pipeline = site.load()
    site.archive()
    bodies = {name: body for name, body in site.files().items() if name.endswith(".mp3")}
    for id_ in (1000, 1001):
        site.gateway.company.change(id_, file_size_in_bytes=5000)
    path_of(site, 1000).unlink()
    path_of(site, 1001).write_bytes(b"cut")
    with pipeline.sql_client() as sql:
        sql.execute_sql("UPDATE recording_audio SET size_bytes = 7 WHERE recording_id = 1002")
        # 1003 has the file of 1004
        sql.execute_sql(
            "UPDATE recording_audio AS a SET uri = b.uri, sha256 = b.sha256, size_bytes = b.size_bytes "
            "FROM recording_audio AS b WHERE a.recording_id = 1003 AND b.recording_id = 1004"
        )
    found = check(site)
    assert (found.damaged, found.missing) == ((1001, 1002, 1003), (1000,))
    repaired = check(site, repair=True)
    assert (repaired.repaired, repaired.damaged, repaired.missing) == ((1002, 1003), (1001,), (1000,))
    files = site.files()
    assert sorted(len(body) for name, body in files.items() if ".v2." in name) == [5000, 5000]
    assert not path_of(site, 1000).exists()
    assert path_of(site, 1001).read_bytes() == b"cut"
    same = [name for name in bodies if name[-8:-4] in ("1002", "1003", "1004")]
    assert all(files[name] == bodies[name] for name in same)
    again = check(site, repair=True)
    assert (again.checked, again.repaired) == (7, ())
    assert "later version" in str(again.findings[0].error)
    assert query(pipeline, "SELECT count(*) FROM recording_audio") == [(7,)]


@pytest.mark.slow
def test_checksums_of_s3_count_where_it_has_them_of_the_whole_object(prepare: Prepare, s3: S3Bucket) -> None:
    site = prepare(make_gateway(5), bucket=s3.url)
    site.load()
    site.archive()
    keys = {row["id"]: f"recordings/{key_of(row)}" for row in site.gateway.company.all()}
    whole = {id_: s3.read(key) for id_, key in keys.items()}

    def put(id_: int, body: bytes, **options: str) -> None:
        s3.client.put_object(Bucket=s3.name, Key=keys[id_], Body=body, **options)

    for id_ in (1000, 1001):
        put(id_, whole[id_], ChecksumAlgorithm="SHA256")
    put(1002, whole[1002])
    put(1003, flip(whole[1003]), ChecksumAlgorithm="SHA256")
    made = {"Bucket": s3.name, "Key": keys[1004]}
    upload = s3.client.create_multipart_upload(**made, ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3.client.upload_part(
        **made, UploadId=upload, PartNumber=1, Body=whole[1004], ChecksumAlgorithm="SHA256"
    )
    parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]
    s3.client.complete_multipart_upload(**made, UploadId=upload, MultipartUpload={"Parts": parts})
    done = check(site, remote=True)
    assert (done.checked, done.damaged, done.read_instead) == (5, (1003,), 2)
    methods = {row[0]: row[1] for row in query_methods()}
    assert methods == {
        1000: "remote checksum",
        1001: "remote checksum",
        1002: "read",
        1003: "read",
        1004: "read",
    }
    s3.delete(keys[1000])
    assert check(site, remote=True).missing == (1000,)


def query_methods() -> list[tuple[Any, ...]]:
    from loading import open_target

    return query(open_target(), "SELECT recording_id, method FROM audio_checks")


@pytest.mark.slow
def test_the_command_says_what_is_wrong_and_exits_with_1(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    site.load()
    site.archive()
    path_of(site, 1001).write_bytes(b"")
    arguments = ("fixity", "--bucket-url", site.bucket)
    done = run_in_process(*arguments, "--json", "--remote")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, result["ok"], result["checked"]) == (1, False, 3)
    assert (result["damaged"], result["missing"], result["repaired"]) == ([1001], [], [])
    assert "company recording 1001 is damaged: it has 0 bytes, 2,001 in the ledger" in done.stdout
    assert "keeps no checksums" in done.stderr
    repaired = run_in_process(*arguments, "--json", "--repair")
    assert (repaired.exit_code, json.loads(repaired.stdout.splitlines()[-1])["repaired"]) == (0, [1001])
    refused = run_in_process(*arguments, "--subset", "much")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("vbc fixity: --subset must be")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgres", "parquet", "delta"])
def test_other_destinations_take_checks_too(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, s3_settings: Any, name: str
) -> None:
    site = prepare(make_gateway(4), SOURCES__VBC__USER_IDS="[]", SOURCES__VBC__START_DATE="2025-01-01")
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        target = warehouse.target
        sync(target)
        archive_audio(target, bucket_url=site.bucket)
        assert check(site, target=target, subset="1/2").checked == 2
        path_of(site, 1003).unlink()
        found = check(site, target=target, subset="1/2")
        assert (found.checked, found.missing, found.never_checked) == (3, (1003,), 0)
        repaired = check(site, target=target, repair=True)
        assert (repaired.checked, repaired.repaired, repaired.ok) == (4, (1003,), True)
        status = read_status(target)
        assert status.checks
        assert status.checks.damaged == 0


@pytest.mark.slow
def test_a_refused_login_ends_the_repairs_and_not_the_checks(prepare: Prepare) -> None:
    site = prepare(make_gateway(4))
    site.load()
    site.archive()
    for id_ in (1000, 1001):
        path_of(site, id_).unlink()
    site.gateway.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCES__VBC__CREDENTIALS__PASSWORD", "another")
        done = check(site, repair=True)
    assert (done.checked, done.missing, done.repaired) == (4, (1000, 1001), ())
    assert all("VBC" in str(finding.error) for finding in done.findings)
    assert len([request for request in site.gateway.requests if request.path == "/token"]) == 1
    assert check(site, subset="1/4", repair=True).repaired == (1000, 1001)


@pytest.mark.slow
def test_a_repair_writes_a_lost_manifest_and_leaves_the_sidecars_alone(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a day that was noted as done: `vbc audio` does not look at it again."""
    monkeypatch.setattr("vbc_source.audio.sidecars.missing_sidecars.NOTED_FOLDERS", 1)
    gateway = make_gateway(3)
    gateway.company.add(id=2000, start="2025-03-02T11:00:00+0000", file_size_in_bytes=900)
    site = prepare(gateway)
    site.load()
    site.archive()
    folder = path_of(site, 1001).parent
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    (folder / MANIFEST).unlink()
    (lost, *_) = (path for path in kept if path.suffix == ".json")
    assert site.archive().sidecars == 0
    assert [check(site).ok, check(site, repair=True).ok, check(site).ok] == [False, True, True]
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept

    lost.unlink()
    assert check(site, repair=True).sidecars == (str(lost.relative_to(site.bucket)),)  # the manifest names it
    (folder / MANIFEST).unlink()
    assert check(site, repair=True).ok
    assert {path.name for path in folder.iterdir()} == {path.name for path in kept}


@pytest.mark.slow
def test_a_day_that_lost_manifest_and_sidecars_is_no_day_of_an_earlier_version(
    prepare: Prepare, own_folder: Path
) -> None:
    site = prepare(make_gateway(3))
    site.load(shared=True)
    site.archive()
    folder = path_of(site, 1001).parent
    lost = [path for path in folder.iterdir() if path.suffix in (".json", ".txt")]
    for path in lost:
        path.unlink()
    manifest = str((folder / MANIFEST).relative_to(site.bucket))
    # alone in its selection too
    one_day = RecordingSelection(
        since=parse_instant("2025-03-02"), until=parse_instant("2025-03-02T23:00:00Z")
    )
    for selection in (None, one_day):
        done = check(site, selection=selection)
        assert (done.ok, done.manifests, done.without_sidecars) == (False, (manifest,), 1)
    done = check(site, repair=True)
    assert (done.ok, done.without_sidecars, all(path.exists() for path in lost)) == (True, 0, True)

    # an archive in which nothing has sidecars, and whose rows are older than they are, is one of that version
    for path in [*Path(site.bucket).glob("account_id=*/**/*.json"), *Path(site.bucket).rglob(MANIFEST)]:
        path.unlink()
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
        connection.execute("UPDATE vbc_data.recording_audio SET actor_version = NULL")
    assert (check(site).ok, check(site).without_sidecars) == (True, 3)


def test_a_repair_writes_the_sidecar_of_a_new_version(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    site.load()
    site.archive()
    site.gateway.company.change(1001, file_size_in_bytes=5000)
    path_of(site, 1001).write_bytes(b"cut")
    check(site, repair=True)
    done = check(site)
    assert (done.checked, done.damaged, done.flaws) == (3, (1001,), ())
