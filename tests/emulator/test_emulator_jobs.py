"""Export jobs: start, progress, list, expiry."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_client import API, LIST, NOON, Client, Clock, Serve, users_list

from vbc_source.emulator import Gateway

JOBS = f"{users_list()}/jobs"
WEEK = 7 * 86_400
NAMES = {"_links", "download_url", "files_completed", "files_total", "id", "status", "valid_until"}


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    client = serve(clock, users=2)
    for hour in range(10):
        client.gateway.company.add(
            id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00Z", duration=hour * 60_000, cnam=f"N {hour % 2}"
        )
    return client


def _export(client: Client, path: str = LIST, **filters: Any) -> dict[str, Any]:
    """Start a job and return it as the API lists it."""
    filters = {name.replace("_gte", ":gte").replace("_lte", ":lte"): value for name, value in filters.items()}
    response = client.send("POST", f"{path}/export", json=filters)
    assert response.status_code == 202, response.text
    [key] = response.json()["job_ids"]
    return next(row for row in client.gateway.jobs.all() if row["id"] == key)


def _get(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = client.send("GET", job["_links"]["self"]["href"]).json()
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
def test_export_contains_the_recordings_that_match_when_it_starts(
    client: Client, filters: dict[str, Any], count: int
) -> None:
    job = _export(client, **filters)
    client.gateway.company.add(cnam="N 1")
    assert job["files_total"] == _get(client, job)["files_total"] == count


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"no", b'{"start:gte": "yesterday"}', b'{"duration:gte": "x"}', b'{"call_direction": "UP"}'],
)
def test_export_with_an_invalid_body_returns_400(client: Client, body: bytes) -> None:
    for path in (LIST, users_list()):
        assert client.send("POST", f"{path}/export", data=body).status_code == 400
    assert client.gateway.jobs.all() == []


def test_job_progresses_with_the_clock(client: Client, clock: Clock) -> None:
    job = _export(client)
    assert set(job) == NAMES
    seen = []
    for _ in range(7):
        row = _get(client, job)
        seen.append((row["status"], row["files_completed"]))
        assert (row["download_url"] is None) == (row["valid_until"] is None) == (row["status"] != "complete")
        clock.now += 6
    counts = [count for _, count in seen]
    assert [status for status, _ in seen] == ["pending"] + ["in_progress"] * 4 + ["complete"] * 2
    assert counts == sorted(counts)
    assert (counts[0], counts[3], counts[5]) == (0, 5, 10)


def test_duration_of_jobs_can_be_set(client: Client, clock: Clock) -> None:
    client.gateway.job_seconds = 3600
    slow = _export(client)
    client.gateway.job_seconds = 0
    assert _export(client)["status"] == "complete"
    clock.now += 3599
    assert _get(client, slow)["status"] == "in_progress"


def test_export_without_matches_is_a_job_without_files(client: Client, clock: Clock) -> None:
    job = _export(client, call_id="nobody")
    clock.now += 30
    assert [_get(client, job)[name] for name in ("status", "files_completed", "files_total")] == [
        "complete",
        0,
        0,
    ]


def test_finished_job_is_not_listed_after_a_week(client: Client, clock: Clock) -> None:
    job = _export(client)
    clock.now += 30
    assert _get(client, job)["valid_until"] == "2025-06-25T12:00:30+0000"
    clock.now += WEEK - 1
    client.log_in()
    assert _get(client, job)["status"] == "complete"
    clock.now += 1
    assert client.gateway.jobs.all() == client.get_list(JOBS).json()["_embedded"]["jobs"] == []
    assert client.send("GET", f"{JOBS}/{job['id']}").status_code == 404
    client.gateway.fault("expired-listed")
    assert [row["status"] for row in client.gateway.jobs.all()] == ["expired"]


def test_jobs_are_listed_under_the_user_who_started_them(client: Client) -> None:
    other = client.gateway.users.all()[1]["id"]
    client.gateway.users.recordings(other).add()
    company, user = _export(client), _export(client, users_list(other))
    assert [row["id"] for row in client.get_list(JOBS).json()["_embedded"]["jobs"]] == [company["id"]]
    listed = client.get_list(f"{users_list(other)}/jobs").json()["_embedded"]["jobs"]
    assert [(row["id"], row["files_total"]) for row in listed] == [(user["id"], 1)]
    assert client.send("GET", f"{JOBS}/{user['id']}").status_code == 404
    assert [row["id"] for row in client.gateway.jobs.all("self")] == [company["id"]]
    assert [row["id"] for row in client.gateway.jobs.all(other)] == [user["id"]]


@pytest.mark.parametrize(
    "prefix", [API, "/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]
)
def test_links_have_the_requested_prefix_and_the_real_ids(client: Client, prefix: str) -> None:
    client.gateway.job_seconds = 0
    path = f"{prefix}/accounts/self/company_call_recordings"
    key = client.send("POST", f"{path}/export", json={}).json()["job_ids"][0]
    page = client.get_list(users_list(prefix=prefix) + "/jobs").json()
    rows = f"{client.url}{users_list(745249, 549825, prefix)}/jobs"
    assert page["_links"]["self"]["href"] == f"{rows}?page=1"
    [row] = page["_embedded"]["jobs"]
    assert row["_links"]["self"]["href"] == f"{rows}/{key}"
    assert row["download_url"] == f"{client.url}{prefix}/bulkDownload/retrieve?jobId={key}"
    assert _get(client, row) == row


def test_list_of_jobs_has_pages_and_a_status_filter(client: Client) -> None:
    for number in range(23):
        client.gateway.jobs.add(id=str(number), status="failed" if number % 2 else "complete")
    assert client.get_list(JOBS).json()["total_items"] == 23
    page = client.get_list(JOBS, status="failed", page=2).json()
    assert [row["id"] for row in page["_embedded"]["jobs"]] == ["1"]
    assert client.get_list(JOBS, page="x").status_code == 400


def test_list_faults_and_page_hooks_apply_to_jobs(client: Client) -> None:
    client.gateway.jobs.add()
    client.gateway.before_page.append(lambda gateway, request: gateway.jobs.add())
    for spec in ("cap-7", "page-base-0", "missing-totals", "refuse-page-size", "new-field", "empty-404"):
        client.gateway.fault(spec)
    page = client.get_list(JOBS).json()
    assert [page[name] for name in ("page", "page_size", "total_pages")] == [0, 7, 1]
    assert "total_items" not in page
    assert all("sentiment" in row for row in page["_embedded"]["jobs"])
    assert client.get_list(JOBS, page_size=101).status_code == 400
    assert client.get_list(JOBS, page=2).status_code == 404


def test_job_can_be_added_changed_and_removed(client: Client) -> None:
    jobs = client.gateway.jobs
    added = jobs.add(id="17", status="complete", files_total=4, mood="good")
    assert (added["files_completed"], added["mood"], added["valid_until"]) == (
        4,
        "good",
        "2025-06-25T12:00:30+0000",
    )
    assert added["download_url"].endswith("jobId=17")
    assert client.get_list(JOBS).json()["_embedded"]["jobs"] == jobs.all() == [added]
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
    for method in (jobs.change, jobs.remove):
        with pytest.raises(KeyError):
            method("17")


def test_added_job_without_a_status_progresses_with_the_clock() -> None:
    clock = Clock()
    gateway = Gateway(clock=clock)
    gateway.jobs.add(745249, files_total=10)
    assert gateway.jobs.all("745249")[0]["status"] == "pending"
    clock.now += 18
    assert gateway.jobs.all()[0]["files_completed"] == 5


def test_expired_job_is_not_listed() -> None:
    gateway = Gateway(clock=Clock(NOON))
    gateway.jobs.add(status="complete", valid_until="2025-06-18T12:00:00+0000")
    assert gateway.jobs.all() == []


def test_export_of_an_unknown_account_returns_403(client: Client) -> None:
    response = client.send("POST", f"{API}/accounts/1/company_call_recordings/export", json={})
    assert response.status_code == 403
