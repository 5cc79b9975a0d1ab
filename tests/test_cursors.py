"""Each user has a cursor of his own: what is read again, what is not, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from holdings import MAIN, ago, asked, extract, held, loaded, only, state, users_of
from loading import instant, load, open_pipeline, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.faults import Forbidden, VbcError
from vbc_source.sync import run_sync

Serve = Callable[[Gateway], str]


@pytest.mark.parametrize("account", ["self", MAIN])
def test_an_idle_run_is_the_user_list_and_one_request_a_user(serve: Serve, account: str) -> None:
    gateway = still_gateway(users=9, user_recordings=200)
    url, pipeline = serve(gateway), open_pipeline()
    extract(pipeline, url, "users", "user_recordings", account_id=account)
    gateway.clear()
    extract(pipeline, url, "users", "user_recordings", account_id=account)
    lists = [
        f"/t/vbc.prod/call_recording/api/accounts/{MAIN}/users/{user}/call_recordings"
        for user in users_of(gateway)
    ]
    assert sorted(asked(gateway)) == sorted([*lists, f"/t/vbc.prod/provisioning/api/accounts/{MAIN}/users"])


def test_a_user_who_appears_in_the_tenth_run_has_all_his_history(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30)
    url, pipeline = serve(gateway), open_pipeline()
    since = {"start_date": ago(days=1500)}
    load(pipeline, url, "user_recordings", **since)
    for _ in range(8):
        extract(pipeline, url, "user_recordings", **since)
    pipeline.abort_packages()
    gateway.users.add(id=5, recordings=300, days=730)
    gateway.clear()
    load(pipeline, url, "user_recordings", **since)
    assert loaded(pipeline) == held(gateway)
    newest = {
        user: max(row[3] for row in held(gateway, users=[user])) for user in {row[1] for row in held(gateway)}
    }
    for user in newest.keys() - {"5"}:
        (begin,) = [request.query["start:gte"] for request in gateway.requests if user in request.path]
        assert instant(begin) == newest[user] - timedelta(hours=48)


def test_a_user_who_failed_has_all_his_history_afterwards_and_nobody_else_is_read_again(serve: Serve) -> None:
    gateway = still_gateway(users=4, user_recordings=60)
    gateway.users.add(id=5, recordings=50, days=400)
    url, pipeline = serve(gateway), open_pipeline()
    gateway.fault("suspended*always@/users/5/")
    settings = {"rows_per_run": 1000, "retry_seconds": 0.1}
    with pytest.raises(VbcError, match="user 5 of account"):
        run_sync(pipeline, only(url, "user_recordings", **settings))
    others = [user for user in users_of(gateway) if user != "5"]
    assert loaded(pipeline) == held(gateway, users=others)
    gateway.heal()
    gateway.clear()
    run_sync(pipeline, only(url, "user_recordings", **settings))
    assert loaded(pipeline) == held(gateway)
    windows = {
        request.path.split("/")[-2]: request.query["start:gte"]
        for request in gateway.requests
        if request.path.endswith("/call_recordings")
    }
    for user in {row[1] for row in held(gateway, users=others)}:
        assert windows[user] > ago(days=400)
    assert windows["5"] < ago(days=720)


def test_users_who_are_forbidden_are_all_named_and_the_others_loaded_first(serve: Serve) -> None:
    gateway = still_gateway(users=0)
    for number in range(1, 5):
        gateway.users.add(id=number, first_name="Ida", last_name=f"Oak{number}")
        gateway.users.forbid(number)
    for number in range(5, 20):
        gateway.users.add(id=number, recordings=30)
    url, pipeline = serve(gateway), open_pipeline()
    with pytest.raises(Forbidden) as failure:
        run_sync(pipeline, only(url, "user_recordings", rows_per_run=100, max_concurrency=2))
    for number in range(1, 5):
        assert f"Ida Oak{number} (user {number} of account {MAIN})" in str(failure.value)
    assert loaded(pipeline) == held(gateway, users=[str(number) for number in range(5, 20)])


def test_a_gateway_that_fails_for_everybody_is_given_up_soon(serve: Serve) -> None:
    gateway = still_gateway(users=30, user_recordings=30)
    url = serve(gateway)
    gateway.fault("suspended*always@/call_recordings")
    with pytest.raises(VbcError, match="did not answer properly"):
        run_sync(open_pipeline(), only(url, "user_recordings", rows_per_run=1, retry_seconds=0.1))
    assert gateway.count("/call_recordings") < 30


@pytest.mark.parametrize("account", ["self", MAIN])
def test_self_is_loaded_under_its_real_id(serve: Serve, account: str) -> None:
    gateway = still_gateway(users=3)
    own = gateway.users.api_user
    gateway.users.recordings(own).add(id=1, start=ago(days=300))
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url, "user_recordings", user_ids="self", account_id=account)
    assert loaded(pipeline) == held(gateway, users=[own])
    assert state(pipeline)["cursors"].keys() == {f"{MAIN}/{own}"}
    gateway.clear()
    gateway.users.recordings(own).add(id=2, start=ago(hours=1))
    load(pipeline, url, "user_recordings", user_ids="self", account_id=account)
    assert loaded(pipeline) == held(gateway, users=[own])
    (request,) = gateway.requests
    assert request.query["start:gte"] > ago(days=303)


def test_a_backfill_with_users_leaves_state_alone(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=60, recordings=20)
    forbidden = users_of(gateway)[1]
    gateway.users.forbid(forbidden)
    url, pipeline = serve(gateway), open_pipeline()
    start, end = ago(days=200), ago(days=100)
    span = {"start_date": start, "end_date": end, "on_forbidden": "skip"}
    load(pipeline, url, "user_recordings", "export_jobs", **span)
    bounds = instant(start), instant(end)
    inside = [row for row in held(gateway) if bounds[0] <= row[3] <= bounds[1]]
    assert loaded(pipeline) == [row for row in inside if row[1] != forbidden] != []
    assert pipeline.state.get("sources", {}).get("vbc", {}) == {}
    extract(pipeline, url, on_forbidden="skip")
    before = pipeline.state["sources"]
    extract(pipeline, url, **span)
    assert pipeline.state["sources"] == before
