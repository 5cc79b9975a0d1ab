"""Files are archived one by one or by exports, and the archive is the same."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from archiving import Prepare, key_of, make_gateway, make_recording, sound_of
from in_process import run_in_process

from vbc_source.audio.exports.planner import EXPORT_REQUESTS, ExportSpan, plan_spans, saves_requests
from vbc_source.emulator import Gateway
from vbc_source.recordings import EPOCH, Recording

MARCH = datetime(2025, 3, 1, 9, tzinfo=timezone.utc)


def days(*counts: int, **changes: Any) -> list[Recording]:
    return [
        make_recording(start=MARCH + timedelta(days=day, minutes=number), size_bytes=10, **changes)
        for day, count in enumerate(counts)
        for number in range(count)
    ]


def test_whole_days_are_joined_to_spans_within_the_limits() -> None:
    spans = plan_spans([*days(3, 0, 4, 5), *days(2, user_id="7", recording_type="user")], 1000, 8)
    assert [(span.user_id, span.start.day, span.end.day, span.files, span.size) for span in spans] == [
        ("", 1, 3, 7, 70),
        ("", 4, 4, 5, 50),
        ("7", 1, 1, 2, 20),
    ]
    assert [span.files for span in plan_spans(days(3, 4, 5), 60)] == [3, 4, 5]
    assert [span.files for span in plan_spans(days(30), 60, 8)] == [30]
    assert plan_spans([make_recording(start=EPOCH)], 1000) == []


def test_span_includes_the_last_second_completely() -> None:
    (span,) = plan_spans([make_recording(start=MARCH + timedelta(seconds=0.5))], 100)
    assert (span.start, span.end) == (MARCH, MARCH + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("files", "exported", "size", "expected"),
    [
        (EXPORT_REQUESTS, EXPORT_REQUESTS, 100, False),
        (EXPORT_REQUESTS + 1, EXPORT_REQUESTS + 1, 100, True),
        (20, 40, 200, True),
        (20, 41, 100, False),
        (20, 20, 201, False),
    ],
)
def test_export_is_chosen_if_it_saves_requests(files: int, exported: int, size: int, expected: bool) -> None:
    assert (
        saves_requests(ExportSpan("1", "company", "", MARCH, MARCH, files, 100), exported, size) is expected
    )


def expected_files(gateway: Gateway) -> dict[str, bytes]:
    return {key_of(one): sound_of(gateway, one) for one in gateway.company.all()}


@pytest.mark.slow
def test_auto_exports_many_files_and_downloads_few_one_by_one(prepare: Prepare, caplog: Any) -> None:
    caplog.set_level("INFO", "vbc_source")
    site = prepare(make_gateway(40))
    site.gateway.job_seconds = 0
    site.load()
    site.gateway.clear()
    outcome = site.archive(via="auto")
    assert (outcome.stored, outcome.exported, outcome.exports, outcome.ok) == (40, 40, 1, True)
    assert outcome.requests <= 5  # a login may be among them
    assert site.fetches() == []
    assert site.files() == expected_files(site.gateway)
    assert "by export, about 12 requests instead of 40" in caplog.text
    assert "40 of them came from 1 exports." in list(outcome.summary())
    site.gateway.company.add(id=9000, start="2025-03-28T23:00:00+0000", file_size_in_bytes=900)
    site.load()
    again = site.archive(via="auto")
    assert (again.stored, again.exports, site.fetches()) == (1, 0, ["9000"])
    assert site.files() == expected_files(site.gateway)
    assert "one by one, about 1 requests" in caplog.text


def test_auto_waits_once_for_a_job_that_stays_pending(
    prepare: Prepare, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vbc_source.audio.exports.batches.TIMEOUT", 0.0)
    site = prepare(make_gateway(40), SOURCES__VBC__AUDIO__MAX_ZIP_BYTES="80000")  # so that there are two
    site.gateway.job_seconds = 3600
    site.load()
    outcome = site.archive(via="auto")
    assert (outcome.stored, outcome.exports, outcome.ok) == (40, 0, True)
    assert site.gateway.count("/export") == 1
    assert "not complete after 0 s" in caplog.text
    assert "no more exports are started in this run" in caplog.text
    assert site.files() == expected_files(site.gateway)


@pytest.mark.slow
def test_auto_downloads_one_by_one_after_a_failed_export(prepare: Prepare, caplog: Any) -> None:
    site = prepare(make_gateway(20))
    site.gateway.job_seconds = 0
    site.gateway.zip_members = lambda members: members[:15]
    site.gateway.fault("no-rights*always@/export")
    site.load()
    outcome = site.archive(via="auto", limit=3)
    assert (outcome.stored, outcome.exports, site.gateway.count("/export")) == (3, 0, 0)
    outcome = site.archive(via="auto")
    assert (outcome.stored, outcome.exports, outcome.ok) == (17, 0, True)
    assert "these files are downloaded one by one" in caplog.text
    assert site.files() == expected_files(site.gateway)


@pytest.mark.slow
def test_files_missing_in_an_export_are_downloaded_with_auto_and_reported_with_export(
    prepare: Prepare,
) -> None:
    site = prepare(make_gateway(20))
    site.gateway.job_seconds = 0
    site.gateway.fault("jobs-partly")
    site.load()
    outcome = site.archive(via="export")
    assert (outcome.stored, outcome.exported, outcome.ok, site.fetches()) == (19, 19, False, [])
    outcome = site.archive(via="auto")
    assert (outcome.stored, outcome.exported, outcome.ok, len(site.fetches())) == (1, 0, True, 1)
    site.gateway.company.add(id=9000, start="2025-03-20T10:00:00+0000")
    site.load()
    site.gateway.fault("no-rights*always@/export")
    with pytest.raises(Exception, match="not authorized"):
        site.archive(via="export")


@pytest.mark.slow
def test_user_recordings_are_exported_for_their_users(prepare: Prepare) -> None:
    gateway = Gateway(users=2)
    gateway.job_seconds = 0
    user = str(gateway.users.all()[1]["id"])
    for number in range(15):
        gateway.users.recordings(user).add(
            id=10 + number, start=f"2025-03-01T10:00:{number:02}Z", file_size_in_bytes=500
        )
    site = prepare(gateway, SOURCES__VBC__USER_IDS=f'["{user}"]')
    assert run_in_process("sync", "--resources", "user_recordings").exit_code == 0
    done = run_in_process("audio", "--bucket-url", site.bucket, "--via", "auto", "--json")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, result["stored"], result["exported"]) == (0, 15, 15)
    assert len(site.files()) == 15


def test_limit_and_export_exclude_each_other() -> None:
    done = run_in_process("audio", "--via", "export", "--limit", "3")
    assert (done.exit_code, "--limit goes with --via files" in done.stderr) == (2, True)
