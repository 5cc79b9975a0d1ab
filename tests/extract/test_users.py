"""Users and extensions as Provisioning has them, and each user's own recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from expected_rows import (
    MAIN,
    ago,
    count,
    expected_extensions,
    expected_recordings,
    loaded,
    requested_paths,
    users_of,
)
from extraction import Extraction, extract, load, sync
from loading import TOKEN_REJECTED, query, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import BadRequest, Forbidden, TokenRejected
from vbc_source.load.failures import explaining

Serve = Callable[[Gateway], str]


TABLES = ("company_recordings", "users", "user_recordings", "export_jobs")


def people(pipeline: Any) -> list[tuple[Any, ...]]:
    return sorted(query(pipeline, "SELECT id, email, login_name, first_name, last_name FROM users"))


def test_users_and_extensions_are_loaded_as_the_provisioning_api_has_them(serve: Serve) -> None:
    gateway = still_gateway(users=40)
    pipeline = Extraction()
    load(pipeline, serve(gateway), "users", "extensions")
    rows = gateway.users.all()
    names = ("id", "email", "login_name", "first_name", "last_name")
    assert people(pipeline) == sorted(tuple(str(row[name]) for name in names) for row in rows)
    assert sorted(
        query(pipeline, "SELECT account_id, user_id, position, extension, dids FROM users__extensions")
    ) == sorted(
        (
            MAIN,
            str(row["id"]),
            place,
            item["extension_number"],
            json.dumps(item["dids"], separators=(",", ":")),
        )
        for row in rows
        for place, item in enumerate(row["extensions"])
    )
    assert sorted(
        query(pipeline, "SELECT user_id, position, type, value FROM users__contact_numbers")
    ) == sorted(
        (str(row["id"]), place, item["type"], item["value"])
        for row in rows
        for place, item in enumerate(row["contact_numbers"])
    )
    assert sorted(
        query(pipeline, "SELECT extension, user_id, user_last_name, caller_id, vtt_enabled FROM extensions")
    ) == sorted(
        (
            row["extension_number"],
            str(row["user"]["id"]),
            row["user"]["last_name"],
            row["caller_id"],
            row["vtt_enabled"],
        )
        for row in gateway.users.extensions()
    )
    assert count(pipeline, "users", "gone_at IS NOT NULL") == 0


def test_a_user_who_leaves_is_kept_and_marked_as_gone_until_the_user_returns(serve: Serve) -> None:
    gateway = still_gateway(users=5)
    url, pipeline = serve(gateway), Extraction()
    leaver = gateway.users.add(
        id=77,
        extensions=[{"extension_number": "7700", "dids": []}],
        contact_numbers=[{"type": "Work", "value": "1"}],
    )
    load(pipeline, url, "users", "extensions")
    before = people(pipeline)
    gateway.users.remove(77)
    load(pipeline, url, "users", "extensions")
    assert query(pipeline, "SELECT id FROM users WHERE gone_at IS NOT NULL") == [("77",)]
    assert query(pipeline, "SELECT extension FROM extensions WHERE gone_at IS NOT NULL") == [("7700",)]
    assert people(pipeline) == before
    assert count(pipeline, "users__contact_numbers", "user_id = '77'") == 1
    first = query(pipeline, "SELECT gone_at FROM users WHERE id = '77'")
    gateway.users.add()
    load(pipeline, url, "users")
    assert query(pipeline, "SELECT gone_at FROM users WHERE id = '77'") == first
    gateway.users.add(**{**leaver, "last_name": "Back"})
    load(pipeline, url, "users")
    assert query(pipeline, "SELECT last_name, gone_at FROM users WHERE id = '77'") == [("Back", None)]


def test_a_user_who_leaves_is_marked_although_a_new_field_appears_at_once(serve: Serve) -> None:
    gateway = still_gateway(users=3)
    url, pipeline = serve(gateway), Extraction()
    gateway.users.add(id=77)
    load(pipeline, url, "users")
    gateway.users.remove(77)
    gateway.users.change(gateway.users.api_user, department="Sales")
    load(pipeline, url, "users")
    assert query(pipeline, "SELECT id FROM users WHERE gone_at IS NOT NULL") == [("77",)]
    assert count(pipeline, "users", "department = 'Sales'") == 1


def test_an_empty_user_list_marks_nobody_as_gone_and_reads_no_recordings(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=20)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "users", "user_recordings")
    before = loaded(pipeline)
    for user in users_of(gateway):
        gateway.users.hide(user)
    gateway.clear()
    load(pipeline, url, "users", "user_recordings")
    assert count(pipeline, "users", "gone_at IS NULL") == 3
    assert requested_paths(gateway) == [f"/t/vbc.prod/provisioning/api/accounts/{MAIN}/users"]
    assert loaded(pipeline) == before


@pytest.mark.parametrize(
    "behaviours",
    [
        ("cap-7", "page-base-0", "random-order", "no-embedded", "ids-as-text"),
        pytest.param(
            ("cap-quiet-7", "empty-404", "no-total-pages", "odd-times", "new-field", "provisioning-no-self"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["capped", "quietly-capped"],
)
def test_users_of_two_accounts_are_loaded_completely_however_the_gateway_pages(
    serve: Serve, behaviours: tuple[str, ...]
) -> None:
    """Also where both accounts hold the same user ids with recordings of equal ids."""
    gateway = still_gateway(users=12, user_recordings=60, faults=behaviours)
    gateway.add_account("777", users=9, user_recordings=30)
    first, second = users_of(gateway)[:2]
    for account, user in ((MAIN, first), (MAIN, second), ("777", first)):
        if account == "777":
            gateway.accounts[account].users.add(id=first)
        gateway.accounts[account].users.recordings(user).add(
            id=4711, cnam=f"{account} {user}", start=ago(days=9)
        )
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "users", "user_recordings", account_id=["self", "777"], start_date="2000-01-01")
    for account in (MAIN, "777"):
        assert loaded(pipeline, account) == expected_recordings(gateway, account)
        assert count(pipeline, "users", f"account_id = '{account}'") == len(users_of(gateway, account))
        extensions = query(
            pipeline,
            "SELECT account_id, user_id, recording_id, position, extension "
            f"FROM user_recordings__extensions WHERE account_id = '{account}'",
        )
        assert sorted(extensions) == expected_extensions(gateway, account)
    names = query(pipeline, "SELECT account_id || ' ' || user_id, cnam FROM user_recordings WHERE id = 4711")
    assert len(names) == 3
    assert all(key == cnam for key, cnam in names)


def test_a_list_that_changes_while_it_is_read_is_read_again(serve: Serve) -> None:
    gateway = still_gateway(users=30, faults=("cap-20",))
    moves = iter(range(2))

    def shift(moved: Gateway, request: Any) -> None:
        if request.path.endswith("/users") and request.query["page"] == "2" and next(moves, None) is not None:
            moved.users.remove(users_of(moved)[1])

    gateway.before_page.append(shift)
    pipeline = Extraction()
    load(pipeline, serve(gateway), "users")
    assert sorted(row[0] for row in people(pipeline)) == sorted(users_of(gateway))


def test_a_user_who_leaves_while_another_comes_marks_no_third_user_as_gone(serve: Serve) -> None:
    """The counts agree, and yet the one who moved to the page before was not seen."""
    gateway = still_gateway(users=30, faults=("cap-20",))
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "users")
    moves = iter(range(1))

    def swap(moved: Gateway, request: Any) -> None:
        if request.query["page"] == "2" and next(moves, None) is not None:
            moved.users.remove(users_of(moved)[1])
            moved.users.add()

    gateway.before_page.append(swap)
    load(pipeline, url, "users")
    gone = query(pipeline, "SELECT id FROM users WHERE gone_at IS NOT NULL")
    assert not {user for (user,) in gone} & set(users_of(gateway))


@pytest.mark.parametrize("resource", ["users", "extensions", "user_recordings"])
def test_a_list_of_several_pages_is_read_once_while_nobody_comes_or_leaves(
    serve: Serve, resource: str
) -> None:
    gateway = still_gateway(users=50, faults=("cap-20",))
    url, pipeline = serve(gateway), Extraction()

    def count_pages() -> int:
        gateway.clear()
        load(pipeline, url, resource)
        lists = "/extensions" if resource == "extensions" else "/users"
        return sum(path.endswith(lists) for path in requested_paths(gateway))

    assert count_pages() > 3
    assert count_pages() == 3
    gateway.users.add()
    assert count_pages() == 6
    assert count_pages() == 3


def test_a_user_who_is_forbidden_fails_the_run_by_id_or_is_skipped(serve: Serve, capsys: Any) -> None:
    gateway = still_gateway(users=4, user_recordings=60)
    gateway.users.add(id=5, recordings=20, days=500, first_name="Ada", last_name="Ashdown")
    gateway.users.forbid(5)
    url, pipeline = serve(gateway), Extraction()
    with (
        pytest.raises(Forbidden, match=r"user 5 of account 549825.*on_forbidden"),
        explaining(),
    ):
        load(pipeline, url, "user_recordings")
    load(pipeline, url, "user_recordings", on_forbidden="skip")
    others = [user for user in users_of(gateway) if user != "5"]
    assert loaded(pipeline) == expected_recordings(gateway, users=others)
    noted = "SELECT account_id, resource, user_id, user_name, access, detail FROM user_access"
    assert query(pipeline, noted) == [(MAIN, "user_recordings", "5", "Ada Ashdown", "forbidden", "HTTP 403")]
    gateway.users.allow(5)
    gateway.clear()
    load(pipeline, url, "user_recordings", on_forbidden="skip")
    assert loaded(pipeline) == expected_recordings(gateway)
    assert query(pipeline, noted)[0][4:] == ("allowed", None)


@pytest.mark.parametrize("fault", ["rejected-200", TOKEN_REJECTED, "bad-request"])
def test_a_list_that_is_refused_while_others_are_answered_fails_alone(serve: Serve, fault: str) -> None:
    gateway = still_gateway(users=4, user_recordings=60, recordings=9)
    gateway.users.add(id=5, recordings=20)
    gateway.fault(f"{fault}*always@/users/5/")
    url, pipeline = serve(gateway), Extraction()
    with pytest.raises((TokenRejected, BadRequest), match="user 5 of account 549825"):
        sync(pipeline, url, "user_recordings", rows_per_run=1000)
    assert loaded(pipeline) == expected_recordings(
        gateway, users=[user for user in users_of(gateway) if user != "5"]
    )
    gateway.heal()
    sync(pipeline, url, "user_recordings", rows_per_run=1000)
    assert loaded(pipeline) == expected_recordings(gateway)


def test_a_deleted_user_is_recorded_and_does_not_stop_the_run(serve: Serve) -> None:
    gateway = still_gateway(users=4, user_recordings=60)
    gateway.users.add(id=5, recordings=20)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, "user_recordings")
    before = loaded(pipeline)
    gateway.users.vanish(5)
    metrics = sync(pipeline, url, "user_recordings")["user_recordings"]
    assert tuple(metrics["not_found"]) == (f"user 5 of account {MAIN}",)
    assert loaded(pipeline) == before
    assert query(pipeline, "SELECT user_id, access, detail FROM user_access") == [
        ("5", "not_found", "HTTP 404")
    ]


def test_without_the_provisioning_subscription_the_error_names_the_api_and_the_setting(serve: Serve) -> None:
    gateway = still_gateway(users=3, recordings=5)
    gateway.fault("unsubscribed*always@/provisioning/")
    with pytest.raises(Forbidden) as failure:
        extract(Extraction(), serve(gateway))
    for word in ("Provisioning API", "not subscribed to this API", "user_ids"):
        assert word in str(failure.value)


def test_with_skip_a_missing_subscription_leaves_out_the_users_alone(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=9, recordings=5)
    gateway.fault("unsubscribed*always@/provisioning/")
    pipeline = Extraction()
    load(pipeline, serve(gateway), *TABLES, on_forbidden="skip")
    assert count(pipeline, "company_recordings") == len(gateway.company)
    assert gateway.count("/call_recordings/jobs") == 1


def test_listed_users_are_read_without_the_provisioning_api(serve: Serve) -> None:
    gateway = still_gateway(users=6, user_recordings=80)
    chosen = users_of(gateway)[2:4]
    url, pipeline = serve(gateway), Extraction()
    extract(pipeline, url, account_id=MAIN, user_ids=",".join(chosen))
    assert gateway.count("/provisioning/") == 0
    assert {
        path.split("/")[8] for path in requested_paths(gateway) if path.endswith("/call_recordings")
    } == set(chosen)
    load(pipeline, url, "users")
    assert count(pipeline, "users") == 6


def test_without_users_no_request_for_users_is_sent(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30, recordings=10)
    extract(Extraction(), serve(gateway), user_ids=[])
    assert gateway.count("/provisioning/") == 0
    assert [path for path in requested_paths(gateway) if path.endswith("/call_recordings")] == []


def test_the_api_of_india_gets_no_request_for_on_demand_recordings(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30, recordings=10)
    extract(Extraction(), serve(gateway), recording_api="/t/vbc.prod/call_recording_india/api")
    assert [path for path in requested_paths(gateway) if path.endswith("/call_recordings")] == []
    assert gateway.count("/call_recording_india/api/accounts/self/company_call_recordings") == 1
    assert gateway.count("/provisioning/") == 2


def test_the_v1_prefix_has_the_same_users(serve: Serve) -> None:
    gateway = still_gateway(users=3, user_recordings=30)
    prefix = "/t/vbc.prod/call_recording/v1/api"
    extract(Extraction(), serve(gateway), "user_recordings", recording_api=prefix, account_id=MAIN)
    assert {path for path in requested_paths(gateway) if path.endswith("/call_recordings")} == {
        f"{prefix}/accounts/{MAIN}/users/{user}/call_recordings" for user in users_of(gateway)
    }
