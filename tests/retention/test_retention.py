"""Deletion at VBC: only with proof, only with --apply, and recorded before and after."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from archiving import FolderBucket, Prepare, S3Bucket, Site, key_of, make_gateway
from in_process import run_in_process
from loading import query

from vbc_source import VbcError
from vbc_source.api.client import Client
from vbc_source.api.clock import WrongClock
from vbc_source.api.recordings import RecordingApi
from vbc_source.config import load_config
from vbc_source.emulator import Gateway
from vbc_source.errors import NotFound, UsageError
from vbc_source.retention.legal_hold import read_legal_hold
from vbc_source.retention.retain import RetentionResult, retain

DELETIONS = "SELECT recording_id, status FROM recording_deletions ORDER BY recording_id, noted_at"


def retain_site(site: Site, days: int = 1, **options: object) -> RetentionResult:
    return retain(older_than=timedelta(days=days), bucket_url=site.bucket, **options)  # type: ignore[arg-type]


def deletions(gateway: Gateway) -> list[str]:
    return [request.path for request in gateway.requests if request.method == "DELETE"]


def test_only_proven_recordings_not_on_hold_are_deleted_and_recorded(
    prepare: Prepare, bucket: FolderBucket | S3Bucket
) -> None:
    site = prepare(make_gateway(9), bucket=bucket.url)
    pipeline = site.load()
    site.archive(limit=8)  # 1008 is not archived
    keys = {r["id"]: f"recordings/{key_of(r)}" for r in site.gateway.company.all()}
    tampered = bytearray(bucket.read(keys[1001]))
    tampered[-1] ^= 1  # the same size
    bucket.write(keys[1001], bytes(tampered))
    bucket.write(keys[1002], b"cut")
    bucket.delete(keys[1003])
    hold = read_legal_hold("1004 # by id\ncall-1005\n")

    dry = retain_site(site, hold=hold)
    assert (dry.proven, dry.unproven, dry.held, dry.deleted, dry.ok) == (3, 3, 2, 0, False)
    assert deletions(site.gateway) == []

    done = retain_site(site, hold=hold, apply=True)
    assert (done.deleted, done.unproven, done.held, done.failed) == (3, 3, 2, 0)
    left = {recording["id"] for recording in site.gateway.company.all()}
    assert left == {1001, 1002, 1003, 1004, 1005, 1008}
    assert query(pipeline, DELETIONS) == [
        (number, status) for number in (1000, 1006, 1007) for status in ("requested", "deleted")
    ]
    proof = (
        "SELECT count(*) FROM recording_deletions d JOIN recording_audio a USING (recording_id, sha256, uri)"
    )
    assert query(pipeline, proof) == [(6,)]
    again = retain_site(site, hold=hold, apply=True)
    assert (again.proven, again.deleted) == (0, 0)  # deleted recordings are no candidates
    assert len(deletions(site.gateway)) == 3


@pytest.mark.slow
def test_candidates_are_chosen_by_age_and_duration(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    site.gateway.company.change(1001, duration=5_000)
    site.gateway.company.add(id=2000, start=None, file_size_in_bytes=2000)  # unknown age
    site.load()
    site.archive()
    assert retain_site(site).proven == 3
    assert retain_site(site, days=20_000).proven == 0
    assert retain_site(site, shorter_than=timedelta(seconds=6)).proven == 1


def test_file_elsewhere_or_never_compared_or_changed_since_is_no_proof(
    prepare: Prepare, own_folder: Path
) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.archive()
    here, site.bucket = site.bucket, str(own_folder / "other")
    assert retain_site(site, apply=True).unproven == 3
    site.bucket = here
    with pipeline.sql_client() as sql:
        sql.execute_sql("UPDATE recording_audio SET attempts = 0 WHERE recording_id = 1000")
        sql.execute_sql(
            "UPDATE recording_audio SET uri = replace(uri, '/files/', '/files/../files/') "
            "WHERE recording_id = 1001"
        )
        sql.execute_sql("UPDATE company_recordings SET file_size_in_bytes = 7 WHERE id = 1002")
    assert retain_site(site, apply=True).unproven == 3
    assert deletions(site.gateway) == []


@pytest.mark.slow
def test_failed_and_gone_recordings_are_recorded_too(prepare: Prepare) -> None:
    site = prepare(make_gateway(3), SOURCES__VBC__MAX_CONCURRENCY="1", SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    site.archive()
    site.gateway.company.delete(1002)
    site.gateway.fault("no-rights*1@/company_call_recordings/1000")
    site.gateway.fault("html*1@/company_call_recordings/1001")
    done = retain_site(site, apply=True)
    assert (done.failed, done.gone, done.ok) == (2, 1, False)
    assert [status for _, status in query(pipeline, DELETIONS)].count("requested") == 3
    assert retain_site(site, apply=True).deleted == 2  # failed deletions are retried


def test_without_a_ledger_nothing_can_be_deleted(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    site.load()
    with pytest.raises(VbcError, match="run vbc audio first"):
        retain_site(site, apply=True)


@pytest.mark.slow
def test_commands_show_delete_and_retain(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(4))
    site.load()
    site.archive()

    def run(*arguments: str) -> tuple[int, dict[str, object], str]:
        done = run_in_process(*arguments, "--json")
        return done.exit_code, json.loads(done.stdout.splitlines()[-1]), done.stderr

    code, _, errors = run("recordings", "delete", "1002")  # no terminal to confirm it
    assert (code, "nothing is deleted" in errors) == (1, True)
    assert run("recordings", "delete", "1002", "--yes")[0] == 0
    code, _, errors = run("recordings", "show", "1002")
    assert code == 1
    assert errors.startswith("vbc recordings show: company recording 1002: ")
    (own_folder / "hold.txt").write_text("# kept\n1003\n")
    arguments = ("retention", "--older-than", "30", "--bucket-url", site.bucket, "--hold", "hold.txt")
    code, result, _ = run(*arguments, "--apply")
    assert (code, result["proven"], result["held"]) == (0, 3, 1)
    assert (result["deleted"], result["gone"]) == (2, 1)


def test_user_recording_is_shown_and_deleted(prepare: Prepare) -> None:
    site = prepare(make_gateway(0))
    users = site.gateway.users
    own = users.recordings(users.api_user)
    added = own.add(id=77, start="2025-03-01T10:00:00+0000", file_size_in_bytes=2000)
    config = load_config()
    with closing(Client.from_config(config)) as client:
        api = RecordingApi(client, config.recording_api, "self", "user", "self")
        assert [row["id"] for row in api.list({"start:gte": "2025-01-01T00:00:00Z"}, 1)] == [77]
        assert api.show(77)["call_id"] == added["call_id"]
        api.delete(77)
        with pytest.raises(NotFound, match="user recording 77"):
            api.show(77)
    assert own.find("77") is None


@pytest.mark.slow
def test_entries_of_the_hold_list_without_a_recording_are_reported_by_line(
    prepare: Prepare, own_folder: Path
) -> None:
    site = prepare(make_gateway(3))
    site.load()
    site.archive()
    (own_folder / "hold.csv").write_bytes(b'"recording_id";"matter"\r\n"1001.0";"x"\r\n"77";"y"\r\n')
    arguments = ("retention", "--older-than", "30", "--bucket-url", site.bucket, "--apply", "--hold")
    done = run_in_process(*arguments, "hold.csv")
    assert (done.exit_code, deletions(site.gateway) != []) == (0, True)
    assert "1 entries of the hold list match no loaded recording: line 3" in done.stdout
    assert [row["id"] for row in site.gateway.company.all()] == [1001]
    (own_folder / "hold.txt").write_bytes(b"1001\n\nall of March\n")
    refused = run_in_process(*arguments, "hold.txt")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("vbc retention: hold list, line 3: ")


def test_a_changed_recording_is_not_deleted_before_or_after_it_is_archived_again(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.archive()
    site.gateway.company.change(1000, file_size_in_bytes=5000)  # not loaded yet
    site.gateway.company.change(1001, call_id="another-call")
    loaded = retain_site(site, apply=True)
    assert (loaded.deleted, loaded.failed) == (1, 2)
    ((error,),) = query(pipeline, "SELECT DISTINCT error FROM recording_deletions WHERE status = 'failed'")
    assert "run vbc sync" in error
    site.load()
    assert retain_site(site, apply=True).unproven == 2
    site.archive()
    assert retain_site(site, apply=True).unproven == 2
    assert {row["id"] for row in site.gateway.company.all()} == {1000, 1001}


def test_a_call_on_hold_is_held_by_the_id_it_had_when_it_was_archived(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    site.load()
    site.archive()
    site.gateway.company.change(1000, call_id="another-call")
    site.load()
    assert retain_site(site, hold=read_legal_hold("call-1000"), apply=True).held == 1


@pytest.mark.slow
def test_the_file_of_another_recording_is_no_proof(prepare: Prepare) -> None:
    site = prepare(make_gateway(3, size=2000))
    for number in (1000, 1001, 1002):
        site.gateway.company.change(number, file_size_in_bytes=2000)
    pipeline = site.load()
    site.archive()
    with pipeline.sql_client() as sql:
        sql.execute_sql(
            "UPDATE recording_audio AS a SET uri = b.uri, sha256 = b.sha256 FROM recording_audio AS b "
            "WHERE a.recording_id = 1000 AND b.recording_id = 1001"
        )
    done = retain_site(site, apply=True)
    assert (done.deleted, done.unproven) == (1, 2)
    assert {row["id"] for row in site.gateway.company.all()} == {1000, 1001}


@pytest.mark.parametrize("days", [366, pytest.param(-1, marks=pytest.mark.slow)])
def test_a_wrong_clock_deletes_nothing(prepare: Prepare, days: int) -> None:
    site = prepare(make_gateway(2))
    site.load()
    site.archive()
    now = datetime.now(timezone.utc) + timedelta(days=days)
    with pytest.raises(WrongClock, match="set the clock"):
        retain_site(site, apply=True, now=lambda: now)
    assert deletions(site.gateway) == []


def test_a_single_recording_is_not_deleted_by_a_wrong_clock_either(prepare: Prepare) -> None:
    gateway = Gateway(clock=lambda: 1_750_000_000.0)
    gateway.company.add(id=1000, start="2025-03-01T10:00:00+0000")
    prepare(gateway)
    done = run_in_process("recordings", "delete", "1000", "--yes")
    assert done.exit_code == 1
    assert "this machine's clock is" in done.stderr
    assert deletions(gateway) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no-resource*always", "not-found*always"])
def test_a_gateway_that_answers_404_to_everything_makes_nothing_gone(prepare: Prepare, fault: str) -> None:
    site = prepare(make_gateway(2), SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    site.archive()
    site.gateway.fault(fault)
    done = retain_site(site, apply=True)
    assert (done.gone, done.failed, done.ok) == (0, 2, False)
    assert {status for _, status in query(pipeline, DELETIONS)} == {"requested", "failed"}


def test_an_age_that_no_recording_has_is_refused_with_one_line(prepare: Prepare) -> None:
    prepare(make_gateway(1))
    with pytest.raises(UsageError, match="2,000,000 days"):
        retain(older_than=timedelta(days=2_000_000), bucket_url="files")
    for older, shorter in (("2000000", "9"), ("20000000000000", "9"), ("1", "9" * 20)):
        arguments = ("--older-than", older, "--shorter-than", shorter, "--bucket-url", "files")
        done = run_in_process("retention", *arguments)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
