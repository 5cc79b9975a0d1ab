"""Each user has a cursor of his own: what is read again, what is not, and in which order."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from expected_rows import (
    MAIN,
    ago,
    expected_extensions,
    expected_recordings,
    loaded,
    requested_paths,
    state,
    users_of,
)
from extraction import Extraction, extract, load, sync
from gateway_fixtures import Clock
from loading import (
    credentials,
    environment,
    instant,
    query,
    read_database,
    run_vbc,
    still_gateway,
    vbc,
)

from vbc_source.api.client import Client
from vbc_source.api.http.rate_limit import RateLimiter
from vbc_source.config import VbcConfig
from vbc_source.emulator import Emulator, Gateway
from vbc_source.errors import Forbidden, VbcError
from vbc_source.source import Resources

Serve = Callable[[Gateway], str]

PASSING = (
    "throttled",
    "throttled-body",
    "token-expired",
    "suspended",
    "bad-gateway",
    "truncated",
    "reset",
    "wrong-totals",
)
CHILDREN = "SELECT account_id, user_id, recording_id, position, extension FROM user_recordings__extensions"


@pytest.mark.parametrize("account", ["self", MAIN])
def test_a_run_without_news_needs_the_user_list_and_one_request_per_user(serve: Serve, account: str) -> None:
    gateway = still_gateway(users=9, user_recordings=200)
    url, pipeline = serve(gateway), Extraction()
    extract(pipeline, url, "users", "user_recordings", account_id=account)
    gateway.clear()
    extract(pipeline, url, "users", "user_recordings", account_id=account)
    lists = [
        f"/t/vbc.prod/call_recording/api/accounts/{MAIN}/users/{user}/call_recordings"
        for user in users_of(gateway)
    ]
    assert sorted(requested_paths(gateway)) == sorted(
        [*lists, f"/t/vbc.prod/provisioning/api/accounts/{MAIN}/users"]
    )


def test_a_start_that_is_still_to_come_is_said_to_read_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    url, names = serve(still_gateway(recordings=3)), ("company_recordings", "user_recordings")
    extract(Extraction(), url, "users", *names, start_date="2925-01-01")
    warned = [record.getMessage() for record in caplog.records if "is in the future" in record.getMessage()]
    assert warned == [
        f"start_date 2925-01-01T00:00:00Z is in the future: no {name} are read" for name in names
    ]


def test_a_user_who_appears_in_the_tenth_run_is_loaded_with_the_whole_history(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30)
    url, pipeline = serve(gateway), Extraction()
    since = {"start_date": ago(days=1500)}
    load(pipeline, url, "user_recordings", **since)
    for _ in range(8):
        extract(pipeline, url, "user_recordings", **since)
    gateway.users.add(id=5, recordings=300, days=730)
    gateway.clear()
    load(pipeline, url, "user_recordings", **since)
    assert loaded(pipeline) == expected_recordings(gateway)
    newest = {
        user: max(row[3] for row in expected_recordings(gateway, users=[user]))
        for user in {row[1] for row in expected_recordings(gateway)}
    }
    for user in newest.keys() - {"5"}:
        (begin,) = [request.query["start:gte"] for request in gateway.requests if user in request.path]
        assert instant(begin) == newest[user] - timedelta(hours=48)


def test_a_failed_user_is_loaded_completely_later_and_no_other_user_is_read_again(serve: Serve) -> None:
    gateway = still_gateway(users=4, user_recordings=60)
    gateway.users.add(id=5, recordings=50, days=400)
    url, pipeline = serve(gateway), Extraction()
    gateway.fault("suspended*always@/users/5/")
    settings = {"rows_per_run": 1000, "retry_seconds": 0.1}
    with pytest.raises(VbcError, match="user 5 of account"):
        sync(pipeline, url, "user_recordings", **settings)
    others = [user for user in users_of(gateway) if user != "5"]
    assert loaded(pipeline) == expected_recordings(gateway, users=others)
    gateway.heal()
    gateway.clear()
    sync(pipeline, url, "user_recordings", **settings)
    assert loaded(pipeline) == expected_recordings(gateway)
    windows = {
        request.path.split("/")[-2]: request.query["start:gte"]
        for request in gateway.requests
        if request.path.endswith("/call_recordings")
    }
    for user in {row[1] for row in expected_recordings(gateway, users=others)}:
        assert windows[user] > ago(days=400)
    assert windows["5"] < ago(days=720)


def test_ids_of_forbidden_users_are_named_after_the_others_are_loaded(serve: Serve) -> None:
    gateway = still_gateway(users=0)
    for number in range(1, 5):
        gateway.users.add(id=number, first_name="Ida", last_name=f"Oak{number}")
        gateway.users.forbid(number)
    for number in range(5, 20):
        gateway.users.add(id=number, recordings=30)
    url, pipeline = serve(gateway), Extraction()
    with pytest.raises(Forbidden) as failure:
        sync(pipeline, url, "user_recordings", rows_per_run=400, max_concurrency=2)
    for number in range(1, 5):
        assert f"user {number} of account {MAIN}" in str(failure.value)
    assert "Ida" not in str(failure.value)
    assert loaded(pipeline) == expected_recordings(gateway, users=[str(number) for number in range(5, 20)])


def test_a_gateway_that_fails_for_all_users_ends_the_run_early(serve: Serve) -> None:
    gateway = still_gateway(users=30, user_recordings=30)
    url = serve(gateway)
    gateway.fault("suspended*always@/call_recordings")
    with pytest.raises(VbcError, match="did not answer properly"):
        sync(Extraction(), url, "user_recordings", rows_per_run=1, retry_seconds=0.1)
    assert gateway.count("/call_recordings") < 30


def test_self_is_loaded_under_its_real_id(serve: Serve) -> None:
    gateway = still_gateway(users=3)
    own = gateway.users.api_user
    gateway.users.recordings(own).add(id=1, start=ago(days=300))
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "user_recordings", user_ids="self")
    assert loaded(pipeline) == expected_recordings(gateway, users=[own])
    assert state(pipeline)["cursors"].keys() == {f"{MAIN}/{own}"}
    gateway.clear()
    gateway.users.recordings(own).add(id=2, start=ago(hours=1))
    load(pipeline, url, "user_recordings", user_ids="self", account_id=MAIN)
    assert loaded(pipeline) == expected_recordings(gateway, users=[own])
    (request,) = gateway.requests
    assert request.query["start:gte"] > ago(days=303)


def test_a_backfill_of_users_reads_and_writes_no_state(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=60, recordings=20)
    forbidden = users_of(gateway)[1]
    gateway.users.forbid(forbidden)
    url, pipeline = serve(gateway), Extraction()
    start, end = ago(days=200), ago(days=100)
    span = {"start_date": start, "end_date": end, "on_forbidden": "skip"}
    load(pipeline, url, "user_recordings", "export_jobs", **span)
    bounds = instant(start), instant(end)
    inside = [row for row in expected_recordings(gateway) if bounds[0] <= row[3] <= bounds[1]]
    assert loaded(pipeline) == [row for row in inside if row[1] != forbidden] != []
    assert pipeline.state.get("sources", {}).get("vbc", {}) == {}
    extract(pipeline, url, on_forbidden="skip")
    before = pipeline.state["sources"]
    extract(pipeline, url, **span)
    assert pipeline.state["sources"] == before


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 100])
def test_runs_of_bounded_size_come_to_an_end(serve: Serve, most: int) -> None:
    """Two accounts, users and jobs, each with more in the lookback than a run may read.

    Rounds of unequal lengths must not wait for a run in which all of them happen to end.
    """
    gateway = still_gateway(users=3)
    gateway.add_account("777", users=2)
    recent = 3 if most == 1 else 40
    for account in gateway.accounts.values():
        for hours in range(recent):
            account.company.add(start=ago(hours=1 + hours))
            for user in account.users.all():
                account.users.recordings(user["id"]).add(start=ago(hours=1 + hours))
        for user in account.users.all():
            account.jobs.add(user["id"], status="complete")
    url, pipeline = serve(gateway), Extraction()

    def give_up(endless: Gateway, _: Any) -> None:
        if len(endless.requests) > 250:
            endless.fault("scope*always")

    gateway.before_page.append(give_up)
    for _ in range(2):
        gateway.clear()
        sync(pipeline, url, rows_per_run=most, account_id=["self", "777"])
    for account in (MAIN, "777"):
        assert loaded(pipeline, account) == expected_recordings(gateway, account)


@pytest.mark.slow
def test_windows_that_never_add_up_are_known_gaps_and_all_rows_are_loaded(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30)
    gateway.users.add(id=5, recordings=20)
    gateway.fault("wrong-totals*always@/users/5/")
    url, pipeline = serve(gateway), Extraction()
    metrics = sync(pipeline, url, "user_recordings")
    assert loaded(pipeline) == expected_recordings(gateway)
    assert all(f"user 5 of account {MAIN}" in gap for gap in metrics["user_recordings"]["gaps"])
    gateway.heal()
    sync(pipeline, url, "user_recordings")
    assert state(pipeline)["gaps"].keys() == {f"{MAIN}/5"}  # it is read again in an hour


def test_rows_without_an_id_are_known_gaps_and_all_others_are_loaded(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=40)
    gateway.fault("lost-ids@call_recordings")
    pipeline = Extraction()
    metrics = sync(pipeline, serve(gateway), "user_recordings")
    rows = loaded(pipeline)
    gaps = metrics["user_recordings"]["gaps"]
    assert len(expected_recordings(gateway)) - len(rows) == len(gaps) > 0
    assert set(rows) <= set(expected_recordings(gateway))
    assert all("1 more than it lists; rows without a usable id are left out" in gap for gap in gaps)


def test_new_users_are_read_first_and_then_those_left_unread(serve: Serve) -> None:
    gateway = still_gateway(users=0)
    for user in range(1, 7):
        gateway.users.add(id=user)
        gateway.users.recordings(user).add(start=ago(hours=user))
    url, pipeline = serve(gateway), Extraction()
    listed = {"user_ids": [1, 2, 3, 4, 5, 6], "account_id": MAIN, "max_concurrency": 1}
    load(pipeline, url, "user_recordings", **listed)
    gateway.clear()
    extract(pipeline, url, "user_recordings", **listed, rows_per_run=2)
    left = state(pipeline)["unread"]
    assert left
    assert set(left).isdisjoint(f"{MAIN}/{path.split('/')[-2]}" for path in requested_paths(gateway)[:2])
    gateway.users.add(id=9)
    gateway.users.recordings(9).add(start=ago(days=300))
    gateway.clear()
    extract(pipeline, url, "user_recordings", **{**listed, "user_ids": [*range(1, 7), 9]})
    order = [f"{MAIN}/{path.split('/')[-2]}" for path in requested_paths(gateway)]
    assert order[0] == f"{MAIN}/9"
    assert set(order[1 : 1 + len(left)]) == set(left)


def test_the_request_budget_holds_for_all_users_in_any_minute() -> None:
    """On a clock that moves only while somebody waits; the journal is the gateway's own."""
    clock = Clock(time.time())
    gateway = Gateway(clock=clock, users=150, user_recordings=50)
    with Emulator(gateway) as url:
        # one request in flight, of whichever thread: else the clock jumps while another one is on its way
        gate = RateLimiter(60, clock, clock.wait)
        client = Client(url, credentials(), rate_limiter=gate, clock=clock, connections=1)
        config = VbcConfig.from_values(account_id=MAIN)

        extraction = Extraction()
        extraction.run(Resources(config, client, extraction), "users", "user_recordings")
    moments = [request.time for request in gateway.requests]
    assert len(moments) >= 151
    assert max(sum(start <= moment < start + 60 for moment in moments) for start in moments) <= 60
    assert moments[-1] - moments[0] >= 120


@pytest.mark.slow
def test_two_hundred_users_are_loaded_completely_twice_despite_faults(serve: Serve) -> None:
    gateway = still_gateway(users=0, faults=("no-embedded",))
    rng = random.Random(7)
    sizes = [5000] * 6 + [rng.choice((0, 0, 1, 20, 150, 300)) for _ in range(194)]
    for number, size in enumerate(sizes, 1000):
        gateway.users.add(id=number, recordings=size, days=600)
    url, pipeline = serve(gateway), Extraction()
    # a second token that is refused while others renew theirs would be the last word on its request
    faults = [name for name in PASSING for _ in range(1 if name.startswith("token") else 3)]
    rng.shuffle(faults)

    def strike(struck: Gateway, _: Any) -> None:
        if faults and rng.random() < 0.3:
            struck.fault(faults.pop())

    gateway.before_page.append(strike)
    for _ in range(2):
        sync(pipeline, url, "users", "user_recordings", start_date="2000-01-01", rows_per_run=20_000)
        assert loaded(pipeline) == expected_recordings(gateway)
        assert sorted(query(pipeline, CHILDREN)) == expected_extensions(gateway)
        for number in rng.sample(range(1000, 1200), 30):
            gateway.users.recordings(number).add(start=ago(hours=rng.uniform(0, 40)))
    gateway.before_page.clear()
    gateway.heal()
    load(pipeline, url, "users", "user_recordings", start_date="2000-01-01")
    assert loaded(pipeline) == expected_recordings(gateway)
    gateway.clear()
    extract(pipeline, url, "users", "user_recordings", start_date="2000-01-01")
    assert len(requested_paths(gateway)) == 201


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(5))
def test_a_kill_at_a_random_moment_loses_no_recording_of_a_user(
    serve: Serve, own_folder: Path, trial: int
) -> None:
    gateway = still_gateway(users=40, user_recordings=6000, faults=("latency-5",))
    url = serve(gateway)
    options = {"SOURCES__VBC__ROWS_PER_RUN": "700", "SOURCES__VBC__START_DATE": "2000-01-01"}
    command = vbc("sync", "--resources", "users,user_recordings")
    with subprocess.Popen(
        command, cwd=own_folder, env=environment(url, own_folder, **options), stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and gateway.count("/call_recordings") < 4 + 9 * trial:
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=random.Random(trial).uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
    gateway.clear()
    finished = run_vbc(own_folder, url, *command[3:], **options)
    assert finished.returncode == 0, finished.stderr
    rows = read_database(own_folder, "SELECT account_id, user_id, id FROM vbc_data.user_recordings")
    assert sorted(rows) == [row[:3] for row in expected_recordings(gateway)]
    children = read_database(own_folder, CHILDREN.replace("FROM ", "FROM vbc_data."))
    assert sorted(children) == expected_extensions(gateway)
