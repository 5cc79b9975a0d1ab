"""Exports are archived with the same files, checks and ledger as single downloads."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipInfo

import pytest
from archiving import LOCKED, FolderBucket, Prepare, S3Bucket, Site, key_of, make_gateway, sound_of
from in_process import run_in_process
from loading import load, open_target, query

from vbc_source.api.client import Client
from vbc_source.api.export_jobs import ExportApi
from vbc_source.audio.exports.download import download_exports
from vbc_source.audio.exports.run import ExportResult
from vbc_source.config import load_config
from vbc_source.emulator import Gateway

RETRIEVE = "bulkDownload"
Members = list[tuple[str, bytes]]


def start(site: Site, *, user: str | None = None, **filters: str) -> str:
    """Start an export that is complete at once."""
    site.gateway.job_seconds = 0
    config = load_config()
    client = Client.from_config(config)
    api = ExportApi(client, config.recording_api, "self", user or "self")
    (id_,) = api.create({name.replace("_", ":"): value for name, value in filters.items()}, company=not user)
    client.close()
    return id_


def fetch(site: Site, *jobs: str, **options: Any) -> ExportResult:
    site.gateway.clear()
    return download_exports(jobs, bucket_url=site.bucket, **options)


def counts(outcome: ExportResult) -> dict[str, Any]:
    """Return the counts that are not zero."""
    left_out = ("jobs", "bytes", "sidecars", "requests", "seconds")
    return {name: value for name, value in asdict(outcome).items() if value and name not in left_out}


def ledger(pipeline: Any) -> list[tuple[Any, ...]]:
    return query(pipeline, "SELECT recording_id, status, attempts FROM recording_audio ORDER BY 1")


def expected(site: Site) -> dict[str, bytes]:
    return {key_of(one): sound_of(site.gateway, one) for one in site.gateway.company.all()}


@pytest.mark.slow
def test_export_gives_the_same_files_and_ledger_as_single_downloads(
    prepare: Prepare, bucket: FolderBucket | S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = (
        1200 if isinstance(bucket, FolderBucket) else 60
    )  # several batches; an S3 server of Python is slow
    site = prepare(make_gateway(count, size=300), bucket=bucket.url)
    pipeline = site.load()
    outcome = fetch(site, start(site))
    assert counts(outcome) == {"stored": count, "ok": True}
    for name in LOCKED:  # a folder has no locks
        monkeypatch.delenv(name, raising=False)
    assert {key.removeprefix("recordings/"): bucket.read(key) for key in bucket.sizes()} == expected(site)
    one_by_one = replace(site, bucket=str(site.folder / "one"))
    sql = "SELECT * EXCLUDE (uri, fetched_at) FROM recording_audio ORDER BY ALL"
    rows = query(pipeline, sql)
    with pipeline.sql_client() as client:
        client.execute_sql("DELETE FROM recording_audio")
    assert one_by_one.archive().stored == count
    assert rows == query(pipeline, sql)


@pytest.mark.slow
def test_download_takes_few_requests_and_a_second_one_none(prepare: Prepare) -> None:
    site = prepare(make_gateway(12))
    pipeline = site.load()
    job = start(site)
    assert counts(fetch(site, job)) == {"stored": 12, "ok": True}
    assert [request.path.rsplit("/", 1)[-1] for request in site.gateway.requests] == [job, "retrieve"]
    assert site.files() == expected(site)
    again = fetch(site, job)
    assert (counts(again), again.requests) == ({"found": 12, "ok": True}, 0)
    assert site.archive().stored == 0
    Path(site.bucket, key_of(site.gateway.company.all()[0])).unlink()
    assert counts(fetch(site, job)) == {"stored": 1, "found": 11, "ok": True}
    assert site.files() == expected(site)
    assert {row[1] for row in ledger(pipeline)} == {"stored"}


@pytest.mark.slow
def test_stored_files_are_not_stored_again_from_another_export(prepare: Prepare) -> None:
    site = prepare(make_gateway(9))
    site.load()
    site.archive(limit=4)
    jobs = [start(site, start_gte="2025-03-04T00:00:00Z"), start(site)]
    assert counts(fetch(site, *jobs)) == {"stored": 5, "found": 10, "ok": True}
    assert site.files() == expected(site)


@pytest.mark.slow
def test_user_recordings_are_stored_for_their_users(prepare: Prepare) -> None:
    gateway = Gateway(users=2)
    user = str(gateway.users.all()[1]["id"])
    for number in range(3):
        gateway.users.recordings(user).add(
            id=10 + number, start="2025-03-01T10:00:00Z", file_size_in_bytes=500 + number
        )
    site = prepare(gateway)
    load(
        open_target("vbc", "duckdb", "vbc_data"),
        site.url,
        "user_recordings",
        user_ids=[user],
        start_date="2020-01-01",
    )
    assert counts(fetch(site, start(site, user=user), user=user)) == {"stored": 3, "ok": True}
    folder = "account_id=549825/recording_type=user/date=2025-03-01"
    assert sorted(site.files()) == [f"{folder}/{number}.mp3" for number in (10, 11, 12)]


@pytest.mark.slow  # tests of the matching cover these names without a load
@pytest.mark.parametrize(
    ("pii", "changes"),
    [
        ("hash", {}),
        ("drop", {}),
        ("keep", {"file_name": None}),
        ("keep", {"file_name": ""}),
    ],
)
def test_members_match_hashed_or_missing_names(prepare: Prepare, pii: str, changes: dict[str, Any]) -> None:
    settings = {"SOURCES__VBC__PII": pii, "SOURCES__VBC__PII_KEY": "a-long-random-text"}
    site = prepare(make_gateway(6), **settings)
    for one in site.gateway.company.all():
        site.gateway.company.change(one["id"], **changes)
    site.sync(pii=pii, pii_key="a-long-random-text")
    assert counts(fetch(site, start(site))) == {"stored": 6, "ok": True}
    assert site.files() == expected(site)


@pytest.mark.slow
def test_files_of_unknown_recordings_are_stored_under_unmatched(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    site.load()
    new = site.gateway.company.add(id=7000, start="2025-03-09T10:00:00+0000", file_size_in_bytes=777)
    job = start(site)
    assert counts(fetch(site, job)) == {"stored": 3, "unmatched": 1, "ok": True}
    (extra,) = set(site.files()) - set(expected(site))
    assert extra.startswith(f"unmatched/{job}/")
    assert site.files()[extra] == sound_of(site.gateway, new)
    assert not set(new["file_name"].split(".")) & set(extra.replace("/", ".").split(".")) - {"mp3"}
    assert counts(fetch(site, job)) == {"found": 3, "unmatched": 1, "ok": True}
    assert len(site.files()) == 4
    site.load()
    assert counts(fetch(site, job)) == {"stored": 1, "found": 3, "ok": True}
    assert fetch(site, job).requests == 0


@pytest.mark.slow
def test_recordings_with_equal_names_are_distinguished_by_size(prepare: Prepare) -> None:
    site = prepare(make_gateway(5))
    for number, size in ((1000, 600), (1001, 700), (1002, 800), (1003, 800)):
        site.gateway.company.change(number, file_name="same.mp3", file_size_in_bytes=size)
    site.load()
    assert counts(fetch(site, start(site))) == {"stored": 3, "unmatched": 2, "ok": True}
    files = site.files()
    assert len([key for key in files if key.startswith("unmatched/")]) == 2
    assert {key: files[key] for key in expected(site) if key in files} == {
        key: body for key, body in expected(site).items() if len(body) != 800
    }


def hostile(members: Members) -> Iterable[tuple[str | ZipInfo, bytes]]:
    """Add every kind of hostile member between two good files."""
    (first, body), *_, (last, end) = members
    link = ZipInfo("link.mp3")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    bomb = ZipInfo("bomb.mp3")
    bomb.compress_type = ZIP_DEFLATED
    yield first, body
    yield from ((name, body) for name in ("../evil.mp3", "/tmp/evil.mp3", "..\\evil.mp3", "C:\\evil.mp3"))
    yield link, b"/etc/passwd"
    yield bomb, b"ID3" + bytes(9_000_000)
    yield first, body  # twice
    yield "page.mp3", b"<html>Please log in</html>"
    yield "manifest.csv", b"15551234567;John Smith"
    yield "folder/", b""
    yield f"folder/{last}", end


def test_of_two_members_with_one_name_and_other_bytes_none_is_stored(prepare: Prepare) -> None:
    def add(members: Members) -> Iterable[tuple[str | ZipInfo, bytes]]:
        (first, body), *others = members
        return [(first, body), (first, body[:-1] + bytes([body[-1] ^ 1])), *others]

    site = prepare(make_gateway(2))
    site.load()
    site.gateway.zip_members = add
    outcome = fetch(site, start(site))
    assert counts(outcome) == {"stored": 1, "unmatched": 2, "ok": True}
    assert len([key for key in site.files() if not key.startswith("unmatched/")]) == 1


def test_hostile_members_are_refused_and_good_ones_stored(prepare: Prepare, caplog: Any) -> None:
    site = prepare(make_gateway(2))
    pipeline = site.load()
    site.gateway.zip_members = hostile
    before = set(site.folder.parent.iterdir())
    outcome = fetch(site, start(site))
    assert counts(outcome) == {"stored": 2, "failed": 7, "left_out": 1}
    assert not outcome.ok
    files = site.files()
    assert {key: files[key] for key in expected(site)} == expected(site)
    assert len(files) == 2
    assert set(site.folder.parent.iterdir()) == before
    assert not list(site.folder.rglob("*evil*")) + list(site.folder.rglob("*.zip"))
    assert [row[1] for row in ledger(pipeline)] == ["stored", "stored"]
    for private in ("evil", "manifest", "15551234567", "page.mp3"):
        assert private not in caplog.text
    assert "leaves its folder" in caplog.text


@pytest.mark.slow
def test_damaged_member_fails_and_is_downloaded_alone_later(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.gateway.zip_members = lambda members: [
        (name, b"<html>".ljust(len(body)) if number == 1 else body)
        for number, (name, body) in enumerate(members)
    ]
    job = start(site)
    assert counts(fetch(site, job)) == {"stored": 2, "failed": 1}
    assert sorted(row[1:] for row in ledger(pipeline)) == [("failed", 1), ("stored", 1), ("stored", 1)]
    assert site.archive().stored == 1
    site.gateway.zip_members = None
    assert counts(fetch(site, job)) == {"found": 3, "ok": True}


@pytest.mark.slow
def test_partly_complete_export_is_archived_and_reports_what_it_lacks(prepare: Prepare) -> None:
    site = prepare(make_gateway(6))
    site.load()
    site.gateway.fault("jobs-partly")
    job = start(site)
    done = run_in_process("export", "download", job, "--bucket-url", site.bucket, "--json")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, result["stored"], result["lacking"]) == (1, 5, 1)
    assert "1 were not in the zip" in done.stdout


def error_of(site: Site, job: str, **options: Any) -> str:
    outcome = fetch(site, job, **options)
    assert not outcome.ok
    (error,) = outcome.errors
    assert "\n" not in error
    assert not [path for path in (site.folder / "dlt").rglob("*.zip") if "site-packages" not in str(path)]
    return error


@pytest.mark.slow
def test_every_export_without_a_zip_gives_the_reason(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    site.load()
    jobs = site.gateway.jobs
    assert "does not belong to the API user, or has expired" in error_of(site, "no-such")
    assert "not complete (in_the_oven, 0 of 2 files): wait with" in error_of(
        site, jobs.add(status="in_the_oven", files_total=2)["id"]
    )
    assert "has failed at VBC (failed" in error_of(site, jobs.add(status="failed")["id"])
    site.gateway.fault("expired-listed")
    gone = jobs.add(status="complete", valid_until="2025-01-01T00:00:00+0000")["id"]
    assert "has expired since 2025-01-01 00:00 UTC" in error_of(site, gone)
    assert site.gateway.count(RETRIEVE) == 0
    job = start(site)
    for fault, why in (
        ("not-found*3", "it has expired, or was never complete"),
        ("html*always", "not the data asked for"),
        ("audio-html", ""),
    ):
        site.gateway.heal()
        if why:
            site.gateway.fault(f"{fault}@{RETRIEVE}")
            assert why in error_of(site, job)
    site.gateway.heal()
    assert counts(fetch(site, "no-such", job))["stored"] == 2


@pytest.mark.slow
def test_zip_is_found_at_other_addresses_of_the_gateway(prepare: Prepare, caplog: Any) -> None:
    site = prepare(make_gateway(2))
    site.load()
    job = start(site)
    site.gateway.fault(f"not-found@{RETRIEVE}")
    assert counts(fetch(site, job))["stored"] == 2
    asked = [request for request in site.gateway.requests if RETRIEVE in request.path]
    assert [dict(request.query) for request in asked[1:]] == [
        {"job_id": job, "login_name": "demo"} if "/v1/bulk" in request.path else {"jobId": job}
        for request in asked[1:]
    ]
    foreign = start(site)
    site.gateway.jobs.change(foreign, download_url="https://evil.example/zip")
    assert counts(fetch(site, foreign)) == {"found": 2, "ok": True}
    assert "points to another host" in caplog.text
    assert "demo" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["truncated", "reset", "suspended", "throttled-silent"])
def test_broken_transfer_is_resumed(prepare: Prepare, fault: str) -> None:
    site = prepare(make_gateway(4, size=60_000), SOURCES__VBC__RETRY_SECONDS="5")
    site.load()
    job = start(site)
    site.gateway.fault(f"{fault}@{RETRIEVE}")
    assert counts(fetch(site, job)) == {"stored": 4, "ok": True}
    assert site.files() == expected(site)


@pytest.mark.slow
def test_too_large_zip_is_not_downloaded(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    site = prepare(make_gateway(4, size=60_000), SOURCES__VBC__AUDIO__MAX_ZIP_BYTES="100000")
    site.load()
    job = start(site)
    assert "its zip has 241 KB or more, the limit is 100 KB" in error_of(site, job)
    monkeypatch.setenv("SOURCES__VBC__AUDIO__MAX_ZIP_BYTES", "300000")
    assert counts(fetch(site, job))["stored"] == 4


def test_full_disk_gives_a_clear_error(prepare: Prepare) -> None:
    """`/dev/full` refuses every byte, like a full disk."""
    from vbc_source.api.export_jobs import ExportFailed
    from vbc_source.audio.exports.zip_download import fetch_zip

    site = prepare(make_gateway(2))
    start(site)
    link = site.gateway.jobs.all()[0]["download_url"]
    client = Client.from_config(load_config())
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(ExportFailed, match=r"no space for its zip of .* in /dev: free some"):
        fetch_zip(client, [link], Path("/dev/full"), 10**9, "export job 1")
    client.close()


@pytest.mark.slow
def test_command_prints_one_line_for_each_error(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    site.load()
    job = start(site)
    done = run_in_process("export", "download", job, "nope", "--bucket-url", site.bucket, "--json")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, result["ok"], result["stored"]) == (1, False, 2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("vbc export download: ")]
    assert lines == [f"vbc export download: {error}" for error in result["errors"]]
    assert len(lines) == 1


def test_the_error_of_a_refused_zip_names_its_export(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    site.load()
    job = start(site)
    site.gateway.zip_members = lambda members: [(f"{number}.mp3", b"") for number in range(50_001)]
    assert error_of(site, job).startswith(f"export job {job}: the zip has 50,001 members")


def test_a_member_that_is_there_twice_is_stored_once(prepare: Prepare) -> None:
    site = prepare(make_gateway(2))
    site.load()
    site.gateway.zip_members = lambda members: [*members, *members]
    outcome = fetch(site, start(site))
    assert counts(outcome) == {"stored": 2, "ok": True}
    assert not [key for key in site.files() if key.startswith("unmatched/")]
