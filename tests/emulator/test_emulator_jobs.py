"""Export jobs: started, watched, listed, expired."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_caller import API, LIST, NOON, Caller, Clock, Serve, users_list

from vbc_source.emulator import Gateway

JOBS = f"{users_list()}/jobs"
WEEK = 7 * 86_400
NAMES = {"_links", "download_url", "files_completed", "files_total", "id", "status", "valid_until"}


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    caller = serve(clock, users=2)
    for hour in range(10):
        caller.gateway.company.add(
            id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00Z", duration=hour * 60_000, cnam=f"N {hour % 2}"
        )
    return caller


def _export(caller: Caller, path: str = LIST, **filters: Any) -> dict[str, Any]:
    """Start a job and return its row."""
    filters = {name.replace("_gte", ":gte").replace("_lte", ":lte"): value for name, value in filters.items()}
    answer = caller.send("POST", f"{path}/export", json=filters)
    assert answer.status_code == 202, answer.text
    [key] = answer.json()["job_ids"]
    return next(row for row in caller.gateway.jobs.all() if row["id"] == key)


def _show(caller: Caller, job: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = caller.send("GET", job["_links"]["self"]["href"]).json()
    return row


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 10),
        ({"cnam": "N 1"}, 5),
        ({"cnam": None, "duration_gte": 120_000, "duration_lte": 300_000}, 4),
        ({"start_gte": "2025-06-01T08:00:00+0000", "start_lte": "2025-06-01T08:00:00Z"}, 1),
        ({"caller_id": 1, "extension": 999}, 0),
        ({"page": 2, "page_size": 3, "order": "x"}, 10),
    ],
)
def test_an_export_takes_what_matches_when_it_is_started(
    caller: Caller, filters: dict[str, Any], count: int
) -> None:
    job = _export(caller, **filters)
    caller.gateway.company.add(cnam="N 1")
    assert job["files_total"] == _show(caller, job)["files_total"] == count


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"no", b'{"start:gte": "yesterday"}', b'{"duration:gte": "x"}', b'{"call_direction": "UP"}'],
)
def test_an_export_that_cannot_be_read_is_refused(caller: Caller, body: bytes) -> None:
    for path in (LIST, users_list()):
        assert caller.send("POST", f"{path}/export", data=body).status_code == 400
    assert caller.gateway.jobs.all() == []


def test_a_job_goes_on_as_the_clock_does(caller: Caller, clock: Clock) -> None:
    job = _export(caller)
    assert set(job) == NAMES
    seen = []
    for _ in range(7):
        row = _show(caller, job)
        seen.append((row["status"], row["files_completed"]))
        assert (row["download_url"] is None) == (row["valid_until"] is None) == (row["status"] != "complete")
        clock.now += 6
    counts = [count for _, count in seen]
    assert [status for status, _ in seen] == ["pending"] + ["in_progress"] * 4 + ["complete"] * 2
    assert counts == sorted(counts)
    assert (counts[0], counts[3], counts[5]) == (0, 5, 10)


def test_how_long_jobs_take_can_be_set(caller: Caller, clock: Clock) -> None:
    caller.gateway.job_seconds = 3600
    slow = _export(caller)
    caller.gateway.job_seconds = 0
    assert _export(caller)["status"] == "complete"
    clock.now += 3599
    assert _show(caller, slow)["status"] == "in_progress"


def test_nothing_that_matches_still_makes_a_job(caller: Caller, clock: Clock) -> None:
    job = _export(caller, call_id="nobody")
    clock.now += 30
    assert [_show(caller, job)[name] for name in ("status", "files_completed", "files_total")] == [
        "complete",
        0,
        0,
    ]


def test_a_finished_job_is_gone_after_a_week(caller: Caller, clock: Clock) -> None:
    job = _export(caller)
    clock.now += 30
    assert _show(caller, job)["valid_until"] == "2025-06-25T12:00:30+0000"
    clock.now += WEEK - 1
    caller.log_in()
    assert _show(caller, job)["status"] == "complete"
    clock.now += 1
    assert caller.gateway.jobs.all() == caller.get_list(JOBS).json()["_embedded"]["jobs"] == []
    assert caller.send("GET", f"{JOBS}/{job['id']}").status_code == 404
    caller.gateway.fault("expired-listed")
    assert [row["status"] for row in caller.gateway.jobs.all()] == ["expired"]


def test_jobs_are_listed_under_whoever_started_them(caller: Caller) -> None:
    other = caller.gateway.users.all()[1]["id"]
    caller.gateway.users.recordings(other).add()
    company, user = _export(caller), _export(caller, users_list(other))
    assert [row["id"] for row in caller.get_list(JOBS).json()["_embedded"]["jobs"]] == [company["id"]]
    listed = caller.get_list(f"{users_list(other)}/jobs").json()["_embedded"]["jobs"]
    assert [(row["id"], row["files_total"]) for row in listed] == [(user["id"], 1)]
    assert caller.send("GET", f"{JOBS}/{user['id']}").status_code == 404
    assert [row["id"] for row in caller.gateway.jobs.all("self")] == [company["id"]]
    assert [row["id"] for row in caller.gateway.jobs.all(other)] == [user["id"]]


@pytest.mark.parametrize(
    "prefix", [API, "/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]
)
def test_links_bear_the_prefix_and_the_real_ids(caller: Caller, prefix: str) -> None:
    caller.gateway.job_seconds = 0
    path = f"{prefix}/accounts/self/company_call_recordings"
    key = caller.send("POST", f"{path}/export", json={}).json()["job_ids"][0]
    page = caller.get_list(users_list(prefix=prefix) + "/jobs").json()
    rows = f"{caller.url}{users_list(745249, 549825, prefix)}/jobs"
    assert page["_links"]["self"]["href"] == f"{rows}?page=1"
    [row] = page["_embedded"]["jobs"]
    assert row["_links"]["self"]["href"] == f"{rows}/{key}"
    assert row["download_url"] == f"{caller.url}{prefix}/bulkDownload/retrieve?jobId={key}"
    assert _show(caller, row) == row


def test_the_list_has_pages_and_a_filter(caller: Caller) -> None:
    for number in range(23):
        caller.gateway.jobs.add(id=str(number), status="failed" if number % 2 else "complete")
    assert caller.get_list(JOBS).json()["total_items"] == 23
    page = caller.get_list(JOBS, status="failed", page=2).json()
    assert [row["id"] for row in page["_embedded"]["jobs"]] == ["1"]
    assert caller.get_list(JOBS, page="x").status_code == 400


def test_list_faults_and_hooks_apply(caller: Caller) -> None:
    caller.gateway.jobs.add()
    caller.gateway.before_page.append(lambda gateway, request: gateway.jobs.add())
    for spec in ("cap-7", "page-base-0", "missing-totals", "refuse-page-size", "new-field", "empty-404"):
        caller.gateway.fault(spec)
    page = caller.get_list(JOBS).json()
    assert [page[name] for name in ("page", "page_size", "total_pages")] == [0, 7, 1]
    assert "total_items" not in page
    assert all("sentiment" in row for row in page["_embedded"]["jobs"])
    assert caller.get_list(JOBS, page_size=101).status_code == 400
    assert caller.get_list(JOBS, page=2).status_code == 404


def test_a_job_can_be_put_in_changed_and_removed(caller: Caller) -> None:
    jobs = caller.gateway.jobs
    added = jobs.add(id="17", status="complete", files_total=4, mood="good")
    assert (added["files_completed"], added["mood"], added["valid_until"]) == (
        4,
        "good",
        "2025-06-25T12:00:30+0000",
    )
    assert added["download_url"].endswith("jobId=17")
    assert caller.get_list(JOBS).json()["_embedded"]["jobs"] == jobs.all() == [added]
    changed = jobs.change("17", status="in_progress", files_completed=1)
    assert changed == {
        **added,
        "status": "in_progress",
        "files_completed": 1,
        "download_url": None,
        "valid_until": None,
    }
    with pytest.raises(ValueError, match="job 17"):
        jobs.add(id="17")
    jobs.remove("17")
    assert jobs.all() == []
    for act in (jobs.change, jobs.remove):
        with pytest.raises(KeyError):
            act("17")


def test_a_job_put_in_without_a_status_goes_on_as_the_clock_does() -> None:
    clock = Clock()
    gateway = Gateway(clock=clock)
    gateway.jobs.add(745249, files_total=10)
    assert gateway.jobs.all("745249")[0]["status"] == "pending"
    clock.now += 18
    assert gateway.jobs.all()[0]["files_completed"] == 5


def test_a_job_whose_time_is_over_is_not_listed() -> None:
    gateway = Gateway(clock=Clock(NOON))
    gateway.jobs.add(status="complete", valid_until="2025-06-18T12:00:00+0000")
    assert gateway.jobs.all() == []


def test_an_account_of_ones_own_is_needed(caller: Caller) -> None:
    answer = caller.send("POST", f"{API}/accounts/1/company_call_recordings/export", json={})
    assert answer.status_code == 403
