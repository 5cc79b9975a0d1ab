"""Export jobs: their status, counts and expiry follow the job's life, and what has expired stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from expected_rows import MAIN, count, requested_paths, users_of
from extraction import Extraction, extract, load
from loading import instant, query, still_gateway

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

DAY = 86_400


def jobs(pipeline: Any) -> list[tuple[Any, ...]]:
    return query(
        pipeline,
        "SELECT status, files_completed, files_total, download_url IS NOT NULL, epoch(valid_until) "
        "FROM export_jobs ORDER BY id",
    )


def test_a_job_appears_progresses_completes_and_expires_in_one_row(serve: Serve) -> None:
    began = time.time()
    passed = [0.0]
    gateway = Gateway(clock=lambda: began + passed[0], users=1)
    gateway.job_seconds = 1000
    url, pipeline = serve(gateway), Extraction()
    settings = {"user_ids": [], "account_id": MAIN}
    job = gateway.jobs.add(files_total=100)
    end = int(began + 1000 + 7 * DAY)
    for seconds, expected in (
        (1, ("pending", 0, 100, False, None)),
        (600, ("in_progress", 50, 100, False, None)),
        (1100, ("complete", 100, 100, True, end)),
        (8 * DAY, ("complete", 100, 100, True, end)),  # not listed any more
        (9 * DAY, ("expired", 100, 100, True, end)),  # listed as such
    ):
        passed[0] = seconds
        if expected[0] == "expired":
            gateway.fault("expired-listed")
        load(pipeline, url, "export_jobs", **settings)
        assert jobs(pipeline) == [expected]
    owner = query(pipeline, "SELECT account_id, user_id, id FROM export_jobs")
    assert owner == [(MAIN, gateway.users.api_user, job["id"])]


def test_jobs_of_all_users_and_of_self_are_loaded_once(serve: Serve) -> None:
    odd = ("cap-2", "page-base-0", "odd-times", "new-field", "jobs-partly")
    gateway = still_gateway(users=4, faults=odd)
    gateway.add_account("777", users=2)
    for account in (MAIN, "777"):
        for place, user in enumerate(users_of(gateway, account)):
            for _ in range(place + 1):
                gateway.accounts[account].jobs.add(
                    user, status="complete", files_total=3, valid_until="2099-01-01T00:00:00Z"
                )
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "export_jobs", account_id=["self", "777"])
    expected = sorted(
        (account, str(user), row["id"], row["status"], row["files_completed"], instant(row["valid_until"]))
        for account in (MAIN, "777")
        for user in users_of(gateway, account)
        for row in gateway.accounts[account].jobs.all(user)
    )
    rows = query(
        pipeline,
        "SELECT account_id, user_id, id, status, files_completed, valid_until FROM export_jobs",
    )
    assert sorted(rows) == expected


@pytest.mark.parametrize("users", [[], ["self", "own"], ["own"]], ids=str)
def test_company_exports_are_read_whatever_users_are_listed(serve: Serve, users: list[str]) -> None:
    gateway = still_gateway(users=3)
    own = gateway.users.api_user
    gateway.jobs.add(status="complete")
    gateway.jobs.add(status="in_progress")
    pipeline = Extraction()
    listed = [own if user == "own" else user for user in users]
    load(pipeline, serve(gateway), "export_jobs", user_ids=listed)
    assert query(pipeline, "SELECT user_id, count(*), count(DISTINCT id) FROM export_jobs GROUP BY 1") == [
        (own, 2, 2)
    ]


def test_jobs_of_self_are_requested_only_until_the_user_is_known(serve: Serve) -> None:
    gateway = still_gateway(users=4)
    gateway.jobs.add()
    url, pipeline = serve(gateway), Extraction()
    extract(pipeline, url, "export_jobs", account_id=MAIN)
    gateway.clear()
    extract(pipeline, url, "export_jobs", account_id=MAIN)
    assert len([path for path in requested_paths(gateway) if path.endswith("/jobs")]) == 4


def test_the_api_of_india_has_jobs(serve: Serve) -> None:
    gateway = still_gateway(users=2)
    prefix = "/t/vbc.prod/call_recording_india/api"
    extract(Extraction(), serve(gateway), "export_jobs", recording_api=prefix, account_id=MAIN)
    assert {path for path in requested_paths(gateway) if path.endswith("/jobs")} == {
        f"{prefix}/accounts/{MAIN}/users/{user}/call_recordings/jobs" for user in [*users_of(gateway), "self"]
    }


def test_jobs_of_forbidden_or_deleted_users_are_recorded_and_do_not_stop_the_run(serve: Serve) -> None:
    gateway = still_gateway(users=4)
    for user in users_of(gateway):
        gateway.jobs.add(user, status="complete")
    _, forbidden, gone, _ = users_of(gateway)
    gateway.users.forbid(forbidden)
    gateway.users.vanish(gone)
    pipeline = Extraction()
    load(pipeline, serve(gateway), "export_jobs", on_forbidden="skip")
    assert count(pipeline, "export_jobs") == 2
    noted = query(pipeline, "SELECT resource, user_id, access FROM user_access ORDER BY access")
    assert noted == [("export_jobs", forbidden, "forbidden"), ("export_jobs", gone, "not_found")]
