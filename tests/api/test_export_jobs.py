"""Export jobs: creating, listing and waiting for them, and the errors of those without a zip."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import pytest
from gateway_fixtures import PASSWORD, Seen, make_credentials, serve_bytes, write_answer, write_login
from in_process import run_in_process

from vbc_source.api.client import Client
from vbc_source.api.export_jobs import ExportApi, ExportFailed, read_job
from vbc_source.emulator import Gateway
from vbc_source.errors import BadRequest, OutcomeUnknown

Serve = Callable[[Gateway], str]
ROOT = "/t/vbc.prod/call_recording/api"


class Passing:
    """A clock that moves only while the code sleeps; also the clock of the emulator."""

    def __init__(self) -> None:
        self.began, self.passed = time.time(), 0.0
        self.slept: list[float] = []

    def wall(self) -> float:
        return self.began + self.passed

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall(), timezone.utc)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds


@pytest.fixture
def passing() -> Passing:
    return Passing()


@pytest.fixture
def gateway(passing: Passing) -> Gateway:
    gateway = Gateway(clock=passing.wall)
    for number in range(5):
        gateway.company.add(id=1000 + number, start=f"2025-03-0{1 + number}T10:00:00+0000", duration=60_000)
    return gateway


@pytest.fixture
def api(serve: Serve, gateway: Gateway, passing: Passing) -> Iterator[ExportApi]:
    client = Client(serve(gateway), make_credentials(), retry_seconds=1)
    with closing(client):
        yield ExportApi(
            client, ROOT, "self", clock=passing.wall, now=passing.now, sleep=passing.sleep, login_name="demo"
        )


def test_job_is_polled_at_growing_intervals(api: ExportApi, gateway: Gateway, passing: Passing) -> None:
    gateway.job_seconds = 300
    (id_,) = api.create({"start:gte": "2025-03-02T00:00:00Z"}, company=True)
    (job,) = api.wait([id_])
    assert (job.id, job.status, job.completed, job.total, job.account) == (id_, "complete", 4, 4, "549825")
    assert passing.slept == sorted(passing.slept)
    assert 300 <= passing.passed < 360
    assert gateway.count("/jobs/") == len(passing.slept) + 1 < 15


def test_timeout_message_contains_job_and_progress(
    api: ExportApi, gateway: Gateway, passing: Passing
) -> None:
    gateway.jobs.add(id="j-1", status="REINDEXING", files_completed=2, files_total=9)
    with pytest.raises(ExportFailed, match=r"not complete after 50 s: j-1 is REINDEXING, 2 of 9 files"):
        api.wait(["j-1"], 50)
    assert passing.passed == 50


@pytest.mark.parametrize("fault", ["", "page-base-0", "empty-404", "cap-7", "cap-quiet-7"])
def test_all_jobs_are_listed_once_for_any_paging(api: ExportApi, gateway: Gateway, fault: str) -> None:
    ids = [gateway.jobs.add(status="complete")["id"] for _ in range(25)]
    if fault:
        gateway.fault(fault)
    assert sorted(job.id for job in api.list_jobs()) == sorted(ids)


def test_on_demand_export_is_listed_under_its_user(serve: Serve) -> None:
    gateway = Gateway(users=3, user_recordings=30)
    gateway.job_seconds = 0
    user = str(gateway.users.all()[1]["id"])
    with closing(Client(serve(gateway), make_credentials())) as client:
        api = ExportApi(client, ROOT, "549825", user)
        (id_,) = api.create({}, company=False)
        assert [job.id for job in api.list_jobs()] == [id_]
        assert api.wait([id_])[0].total == len(gateway.users.recordings(user))
        with pytest.raises(ExportFailed, match="does not belong to the API user"):
            ExportApi(client, ROOT, "549825").show(id_)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": "complete"}, "ready"),
        ({"status": "COMPLETE", "valid_until": "2025-01-02T00:00:00+0000"}, "expired"),
        ({"status": "expired"}, "expired"),
        ({"status": "partially_complete", "download_url": "x"}, "ready"),
        ({"status": "partially_complete"}, "waiting"),
        ({"status": "FAILED"}, "failed"),
        ({"status": "failed", "files_completed": 9, "files_total": 9, "download_url": "x"}, "failed"),
        (
            {"status": "complete_with_errors", "files_completed": 9, "files_total": 9, "download_url": "x"},
            "ready",
        ),
        ({"status": "bottled", "files_completed": 9, "files_total": 9, "download_url": "x"}, "ready"),
        ({"status": "bottled", "files_completed": 9, "files_total": 9}, "waiting"),
        ({"status": "bottled", "files_completed": 0, "files_total": 0, "download_url": "x"}, "waiting"),
        ({"status": None}, "waiting"),
        ({"status": 7, "valid_until": "soon", "files_total": "9"}, "waiting"),
    ],
)
def test_undocumented_statuses_are_interpreted(fields: dict[str, Any], state: str) -> None:
    job = read_job({"id": "1", "valid_until": None, **fields})
    assert job.state_at(datetime(2025, 6, 1, tzinfo=timezone.utc)) == state


def test_start_with_unknown_outcome_is_not_retried() -> None:
    def hang_up(seen: Seen) -> bytes:
        return write_login() if seen.path == "/token" else b""

    with serve_bytes(hang_up) as raw, closing(Client(raw.url, make_credentials())) as client:
        with pytest.raises(OutcomeUnknown, match="see vbc export list before starting another"):
            ExportApi(client, ROOT, "self").create({}, company=True)
        assert len([seen for seen in raw.seen if seen.path != "/token"]) == 1


@pytest.mark.parametrize("fault", ["suspended", "refused", "throttled-silent", "token-expired"])
@pytest.mark.usefixtures("quick_retries")
def test_start_that_did_not_reach_the_back_end_is_retried(
    api: ExportApi, gateway: Gateway, fault: str
) -> None:
    gateway.fault(fault)
    assert len(api.create({}, company=True)) == 1
    assert len(gateway.jobs.all()) == 1


@pytest.mark.parametrize("body", [b"{}", b'{"job_ids": []}', b'{"job_ids": null}', b"[]"])
def test_response_without_a_job_is_an_unknown_outcome(body: bytes) -> None:
    def answer(seen: Seen) -> bytes:
        return write_login() if seen.path == "/token" else write_answer("202 Accepted", body)

    with (
        serve_bytes(answer) as raw,
        closing(Client(raw.url, make_credentials())) as client,
        pytest.raises(OutcomeUnknown),
    ):
        ExportApi(client, ROOT, "self").create({}, company=True)


def test_both_documented_zip_addresses_are_tried(api: ExportApi, gateway: Gateway) -> None:
    job = read_job(gateway.jobs.add(status="complete", id="a b"))
    own, spelled, old = api.find_links(job)
    assert own == job.link
    assert spelled.endswith("/call_recording/api/bulkDownload/retrieve?jobId=a+b")
    assert old.endswith("/t/vbc.prod/call_recording/v1/bulkDownload/retrieve?job_id=a+b&login_name=demo")


def test_malformed_filter_is_a_bad_request(api: ExportApi) -> None:
    with pytest.raises(BadRequest):
        api.create({"duration:gte": "x"}, company=True)


@pytest.fixture
def commands(serve: Serve, passing: Passing, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway with nine recordings that the commands use."""
    gateway = Gateway()
    gateway.job_seconds = 0
    for number in range(9):
        gateway.company.add(id=1000 + number, start=f"2025-03-0{1 + number}T10:00:00+0000", duration=60_000)
    for name, value in PASSWORD.items():
        monkeypatch.setenv(f"SOURCES__VBC__CREDENTIALS__{name.upper()}", value)
    monkeypatch.setenv("SOURCES__VBC__BASE_URL", serve(gateway))
    return gateway


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run a command; return its exit status and its JSON."""
    result = run_in_process("export", *arguments, "--json")
    lines = result.stdout.splitlines()
    return result.exit_code, json.loads(lines[-1]) if lines else {}


@pytest.mark.usefixtures("commands")
def test_commands_create_list_and_wait() -> None:
    span = ("--start", "2025-03-02", "--end", "2025-03-06T23:00:00Z")
    code, created = run("create", *span, "--min-duration", "30.5")
    assert (code, list(created)) == (0, ["ok", "job_ids"])
    code, listed = run("list")
    assert (code, [(job["id"], job["status"], job["total"]) for job in listed["jobs"]]) == (
        0,
        [(created["job_ids"][0], "complete", 5)],
    )
    code, waited = run("wait", *created["job_ids"], "--timeout", "5")
    assert (code, waited["jobs"]) == (0, listed["jobs"])
    for filters in (("--max-duration", "59"), ("--extension", "000"), ("--direction", "intra_pbx")):
        code, created = run("create", *filters)
        assert (code, run("wait", *created["job_ids"])[1]["jobs"][0]["total"] < 9) == (0, True)


@pytest.mark.usefixtures("commands")
def test_command_errors_are_one_line() -> None:
    command, accounts = ("export", "wait", "no such\njob"), '["549825", "777"]'
    result = run_in_process(*command, SOURCES__VBC__ACCOUNT_ID=accounts)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "--account" in result.stderr
    result = run_in_process(*command, "--account", "549825", SOURCES__VBC__ACCOUNT_ID=accounts)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "export job nosuchjob does not belong to the API user, or has expired" in result.stderr


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("arguments", [("create",), ("list",)])
def test_a_user_whom_vbc_does_not_know_is_named(arguments: tuple[str, ...]) -> None:
    code, failed = run(*arguments, "--user", "999")
    assert (code, "of user 999" in failed["error"]) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("wait",),
        ("create", "--start", "x"),
        ("create", "--direction", "UP"),
        ("create", "--min-duration", "-1"),
        ("create", "--min-duration", "nan"),
        ("create", "--min-duration", "9", "--max-duration", "8"),
        ("create", "--start", "2025-03-02", "--end", "2025-03-01"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert run_in_process("export", *arguments).exit_code == 2
