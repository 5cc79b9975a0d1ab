"""The archive, from loaded recordings to files in a bucket and rows in the ledger."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
from archiving import AUDIO, Prepare, S3Bucket, key_of, make_gateway, sound_of
from in_process import run_in_process
from loading import query, read_database
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vbc_source import VbcError
from vbc_source.audio.archive_audio import archive_audio
from vbc_source.emulator import Emulator, Gateway
from vbc_source.errors import SettingsError
from vbc_source.retention.retain import retain
from vbc_source.warehouse.recordings import RecordingSelection
from vbc_source.windows import parse_instant

LEDGER = "SELECT status, count(*) FROM recording_audio GROUP BY ALL ORDER BY ALL"


@pytest.mark.slow
def test_recordings_are_archived_on_s3_and_none_is_downloaded_twice(prepare: Prepare, s3: S3Bucket) -> None:
    count = 300
    site = prepare(make_gateway(count, size=300), bucket=s3.url)
    pipeline = site.load()
    outcome = site.archive()
    assert (outcome.stored, outcome.failed, outcome.ok) == (count, 0, True)
    recordings = site.gateway.company.all()
    keys = {f"recordings/{key_of(recording)}": recording for recording in recordings}
    assert set(s3.sizes()) == set(keys)
    for key, recording in keys.items():
        assert s3.read(key) == sound_of(site.gateway, recording)
    rows = query(pipeline, "SELECT recording_id, uri, size_bytes, sha256, content_type FROM recording_audio")
    assert {row[0]: row[1:] for row in rows} == {
        recording["id"]: (
            f"s3://{s3.name}/{key}",
            recording["file_size_in_bytes"],
            hashlib.sha256(sound_of(site.gateway, recording)).hexdigest(),
            "audio/mpeg",
        )
        for key, recording in keys.items()
    }
    assert site.archive().stored == 0
    assert len(site.fetches()) == len(set(site.fetches())) == count


@pytest.mark.slow
def test_oldest_recordings_come_first_within_bounds_limit_and_type(prepare: Prepare) -> None:
    site = prepare(make_gateway(12), SOURCES__VBC__MAX_CONCURRENCY="1")
    site.load()
    days = {"since": parse_instant("2025-03-03"), "until": parse_instant("2025-03-05T23:00:00Z")}
    assert site.archive(selection=RecordingSelection(**days), limit=2).stored == 2
    oldest = sorted(site.gateway.company.all(), key=lambda recording: recording["start"])
    assert site.fetches() == [str(recording["id"]) for recording in oldest[2:4]]
    assert site.archive(selection=RecordingSelection(**days)).stored == 1
    with pytest.raises(VbcError, match="no table user_recordings"):
        site.archive(selection=RecordingSelection(("user",)))


class WrongResponses(Gateway):
    """A gateway with a wrong response for some recordings."""

    answers: dict[str, tuple[int, bytes, str]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self.answers.get(scope["path"].rsplit("/", 1)[1]) if AUDIO in scope["path"] else None
        if response:
            status, body, kind = response
            await Response(body, status, media_type=kind)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


FAULT = b'{"fault":{"code":101504,"message":"Runtime Error","description":"Send timeout"}}'
FLAT = b'{"code":"101504","message":"Runtime Error","description":"Send timeout"}'
XML = b'<am:fault xmlns:am="http://wso2.org/apimanager"><am:code>101504</am:code></am:fault>'
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
MP3 = b"\xff\xfb\x14\xc4" + bytes(92)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(80)
BAD = {
    **{f"{name} as {kind}": (200, body, kind)
       for name, body in (("wrapped", FAULT), ("flat", FLAT), ("xml", XML), ("html", HTML), ("nothing", b""),
                          ("text", b"The service is starting."), ("object", b'{"status": 404}'))
       for kind in ("audio/mpeg", "text/plain")},
    "gateway down": (502, HTML, "text/html"),
    "padded html": (200, HTML.ljust(96), "audio/mpeg"),
    "padded text": (200, b"x" * 96, "audio/mpeg"),
    "aac": (200, b"\xff\xf1" + bytes(94), "audio/mpeg"),
    "utf-16": (200, b"\xff\xfe" + bytes(94), "audio/mpeg"),
    "long": (200, MP3 + b"\0", "audio/mpeg"),
    "mp3 as html": (200, MP3, "text/html"),
    "mp3 as wav": (200, MP3, "audio/wav"),
    "wav as mp3": (200, WAV, "audio/mpeg"),
}  # fmt: skip
GOOD = {
    "mp3": (200, MP3, "audio/mpeg"),
    "mp3 of unknown type": (200, MP3, "application/octet-stream"),
    "wav": (200, WAV, "audio/x-wav"),
}


def test_no_wrong_response_is_stored(prepare: Prepare) -> None:
    """The size, the content type, the first bytes, or all of them may be wrong."""
    gateway = WrongResponses()
    gateway.answers = {
        str(number): answer for number, answer in enumerate([*GOOD.values(), *BAD.values()], 1)
    }
    gateway.answers["98"], gateway.answers["99"] = (404, b"gone", "text/plain"), (403, b"no", "text/plain")
    for number in gateway.answers:
        gateway.company.add(id=int(number), start="2025-03-01T10:00:00+0000", file_size_in_bytes=96)
    site = prepare(gateway, SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    gateway.company.delete(98)
    site.archive()
    assert query(pipeline, LEDGER) == [("failed", len(BAD)), ("forbidden", 1), ("missing", 1), ("stored", 3)]
    folder = "account_id=549825/recording_type=company/date=2025-03-01"
    assert site.files() == {f"{folder}/1.mp3": MP3, f"{folder}/2.mp3": MP3, f"{folder}/3.wav": WAV}


@pytest.mark.slow  # a short file is asked for again, four times
def test_a_short_file_is_not_stored(prepare: Prepare) -> None:
    gateway = WrongResponses()
    gateway.answers = {"1": (200, MP3[:-1], "audio/mpeg")}
    gateway.company.add(id=1, start="2025-03-01T10:00:00+0000", file_size_in_bytes=96)
    site = prepare(gateway, SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    site.archive()
    assert query(pipeline, LEDGER) == [("failed", 1)]
    assert site.files() == {}


@pytest.mark.slow  # tests of the downloads cover each fault alone
def test_temporary_faults_cost_no_file(prepare: Prepare) -> None:
    site = prepare(make_gateway(40, size=40_000), SOURCES__VBC__RETRY_SECONDS="20")
    site.load()
    for fault in ("truncated*2", "cut-json*2", "reset*2", "suspended", "token-expired", "fault-200", "html"):
        site.gateway.fault(fault)
    assert site.archive().stored == 40
    assert site.files() == {
        key_of(recording): sound_of(site.gateway, recording) for recording in site.gateway.company.all()
    }


@pytest.mark.slow
def test_failed_file_is_retried_by_the_next_runs_and_then_given_up(prepare: Prepare) -> None:
    site = prepare(make_gateway(1), SOURCES__VBC__AUDIO__MAX_ATTEMPTS="2")
    pipeline = site.load()
    site.gateway.company.change(1000, file_size_in_bytes=500)  # the list reports 2000
    for attempts in (1, 2):
        assert site.archive().failed == 1
        assert query(pipeline, "SELECT attempts FROM recording_audio") == [(attempts,)]
    assert site.archive().failed == 0
    ((error,),) = query(pipeline, "SELECT error FROM recording_audio")
    assert "received 500 bytes" in error


@pytest.mark.slow
def test_many_failures_in_a_row_stop_the_run_and_the_next_one_starts_with_others(prepare: Prepare) -> None:
    site = prepare(make_gateway(80), SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    site.gateway.fault("html*always")
    with pytest.raises(VbcError, match="25 files in a row"):
        site.archive()
    assert len(set(site.fetches())) < 60
    # downloads in flight when the run stopped have no row: the next run may start with them
    failed = {str(id_) for (id_,) in query(pipeline, "SELECT recording_id FROM recording_audio")}
    assert len(failed) >= 25
    site.gateway.clear()
    with pytest.raises(VbcError, match="25 files in a row"):
        site.archive()
    assert not failed & set(site.fetches()[:20])


def test_missing_subscription_stops_the_run_at_once(prepare: Prepare) -> None:
    site = prepare(make_gateway(60))
    site.load()
    site.gateway.fault("unsubscribed*always")
    with pytest.raises(VbcError, match="not subscribed"):
        site.archive()
    assert len(site.fetches()) <= 16


@pytest.mark.slow
def test_existing_objects_are_not_downloaded_again_after_the_loss_of_the_ledger(
    prepare: Prepare, own_folder: Path
) -> None:
    site = prepare(make_gateway(6))
    site.load(shared=True)
    assert site.archive().stored == 6
    changed = own_folder / "files" / key_of(site.gateway.company.all()[0])
    changed.write_bytes(b"short")  # no longer the size that the API reports
    (own_folder / "vbc.duckdb").unlink()
    shutil.rmtree(own_folder / "dlt")
    pipeline = site.load()
    site.gateway.clear()
    outcome = site.archive()
    assert (outcome.stored, outcome.found) == (1, 5)
    assert len(site.fetches()) == 1
    assert query(pipeline, "SELECT attempts, count(*) FROM recording_audio GROUP BY 1 ORDER BY 1") == [
        (0, 5),
        (1, 1),
    ]


@pytest.mark.slow
def test_state_and_schema_of_the_source_stay_as_they_are(prepare: Prepare) -> None:
    """The next load continues from its cursor."""
    site = prepare(make_gateway(5))
    pipeline = site.sync()
    state = "SELECT * FROM _dlt_pipeline_state WHERE pipeline_name = 'vbc' ORDER BY ALL"
    version = "SELECT * FROM _dlt_version WHERE schema_name = 'vbc' ORDER BY ALL"
    before = query(pipeline, state), query(pipeline, version)
    site.archive()
    assert (query(pipeline, state), query(pipeline, version)) == before
    site.gateway.clear()
    site.sync()
    assert site.gateway.count("company_call_recordings") == 1
    assert query(pipeline, "SELECT count(*) FROM recording_audio") == [(5,)]


class OtherHost:
    """Another host, which serves a file and records the headers of requests."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.seen: list[dict[str, str]] = []

    def bind(self, base_url: str) -> None:
        self.base_url = base_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await Response(self.body, media_type="audio/mpeg")(scope, receive, send)


class Redirecting(Gateway):
    """A gateway that redirects downloads to another host."""

    storage = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "/audio/" in scope["path"]:
            answer = Response(status_code=302, headers={"location": f"{self.storage}?signature=abc"})
            answer.set_cookie("session", "private")
            await answer(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def test_redirect_is_followed_without_the_token(prepare: Prepare) -> None:
    gateway = Redirecting()
    gateway.company.add(id=1000, start="2025-03-01T10:00:00+0000", file_size_in_bytes=2000)
    other_host = OtherHost(sound_of(gateway, gateway.company.all()[0]))
    with Emulator(other_host) as storage:  # type: ignore[arg-type]
        gateway.storage = storage.replace("127.0.0.1", "localhost") + "/file"
        site = prepare(gateway)
        site.load()
        assert site.archive().stored == 1
    assert other_host.seen
    for headers in other_host.seen:
        assert not {"authorization", "cookie"} & set(headers)


def test_foreign_address_is_never_requested_and_other_files_are_archived(prepare: Prepare) -> None:
    gateway, other_host = make_gateway(3), OtherHost(b"")
    with Emulator(other_host) as foreign:  # type: ignore[arg-type]
        site = prepare(gateway)
        host = site.url.removeprefix("http://")
        for number, link in enumerate(
            (
                f"{foreign}/a.mp3",
                f"{foreign.replace('127.0.0.1', 'localhost')}/a.mp3",
                f"http://{host}@{foreign.removeprefix('http://')}/a.mp3",
                f"//{foreign.removeprefix('http://')}/a.mp3",
                f"https://{host}/a.mp3",
                "file:///etc/passwd",
                None,
            )
        ):
            gateway.company.add(id=1, download_url=link) if number == 0 else gateway.company.add(
                id=1 + number, download_url=link
            )
        pipeline = site.load()
        outcome = site.archive()
    assert (outcome.stored, outcome.failed, outcome.ok) == (3, 7, False)
    assert other_host.seen == []
    errors = query(
        pipeline, "SELECT error FROM recording_audio WHERE error IS NOT NULL ORDER BY recording_id"
    )
    assert all("another host" in error for (error,) in errors[:6])
    assert "no download_url" in errors[6][0]


def test_names_from_the_api_reach_no_path(prepare: Prepare, own_folder: Path) -> None:
    gateway = make_gateway(1, account_id="549825")
    gateway.company.change(1000, file_name="../../../etc/evil\n;rm -rf.mp3")
    site = prepare(gateway)
    pipeline = site.load()
    evil = "../../../x/" + "y" * 300
    with pipeline.sql_client() as sql:
        for number, account in enumerate((evil, "..", "a/b\\c", "a'; DROP TABLE recording_audio; --")):
            sql.execute_sql(
                "INSERT INTO company_recordings (account_id, id, download_url, file_size_in_bytes, start) "
                "SELECT %s, id, download_url, file_size_in_bytes, start FROM company_recordings "
                "WHERE account_id = '549825'",
                account,
            )
            assert number < 4
    assert site.archive().stored == 5
    outside = [path for path in own_folder.rglob("*.mp3") if own_folder / "files" not in path.parents]
    assert outside == []
    names = sorted(site.files())
    assert len(names) == 5
    assert all(name.split("/", 1)[1] == "recording_type=company/date=2025-03-01/1000.mp3" for name in names)
    assert not any("evil" in name for name in names)


@pytest.mark.slow
def test_user_recordings_are_archived_even_if_they_share_an_id(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    users = site.gateway.users
    mine, theirs = users.api_user, str(users.add()["id"])
    pipeline = site.load()
    rows = []
    for user in (mine, theirs):  # one id, two recordings; and the company has it as well
        added = users.recordings(user).add(id=1000, start="2025-03-01T10:00:00+0000", file_size_in_bytes=3000)
        rows.append({"account_id": "549825", "user_id": user, **added, "extensions": None, "rule_ids": None})

    @dlt.source(name="vbc")
    def on_demand() -> Any:
        return dlt.resource(rows, name="user_recordings", primary_key=("account_id", "user_id", "id"))

    pipeline.run(on_demand())
    assert site.archive().stored == 3
    assert sorted(site.files()) == [
        "account_id=549825/recording_type=company/date=2025-03-01/1000.mp3",
        f"account_id=549825/recording_type=user/date=2025-03-01/1000.user_id={mine}.mp3",
        f"account_id=549825/recording_type=user/date=2025-03-01/1000.user_id={theirs}.mp3",
    ]
    assert len(set(site.files().values())) == 3
    done = retain(older_than=timedelta(days=1), bucket_url=site.bucket, apply=True)
    assert (done.deleted, done.ok) == (3, True)
    assert users.recordings(theirs).find("1000") is None


def test_missing_bucket_or_table_is_an_error_with_advice(prepare: Prepare) -> None:
    prepare()
    with pytest.raises(SettingsError, match="--bucket-url"):
        archive_audio()
    with pytest.raises(VbcError, match="run vbc sync first"):
        archive_audio(bucket_url="files")


@pytest.mark.slow
def test_command_archives_and_prints_the_result(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(3))
    site.load(shared=True)
    settings = {"SOURCES__VBC__AUDIO__BUCKET_URL": site.bucket}
    done = run_in_process("audio", "--json", "--since", "2025-03-02", **settings)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stored"] == 2
    site.gateway.fault("html*always")
    failed = run_in_process("audio", SOURCES__VBC__RETRY_SECONDS="0", **settings)
    assert failed.exit_code == 1
    assert "failed and are retried by the next run" in failed.stdout
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.recording_audio") == [(3,)]
    assert len(os.listdir(own_folder / "dlt" / "vbc_audio")) == 1


@pytest.mark.slow
def test_pipeline_script_archives(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    site = prepare(make_gateway(3))
    site.load()
    monkeypatch.setenv("SOURCES__VBC__AUDIO__BUCKET_URL", site.bucket)
    script = Path(__file__).parents[2] / "pipelines" / "vbc_audio_pipeline.py"
    assert runpy.run_path(str(script))["archive"]()
    assert len(site.files()) == 3
