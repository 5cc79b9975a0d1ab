"""Every fault that stays, by name."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from emulator_caller import LIST, NOON, PROVISIONING, USERS, Caller, users_list
from emulator_checks import Checks, find_time, read_fault

from vbc_source.emulator.faults.catalogue import BEHAVIOURS

CHECKS = Checks()


@CHECKS.see("quota")
def see_quota(caller: Caller) -> None:
    caller.gateway.fault("quota*3")
    assert [caller.get_list().status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = caller.get_list()
    assert read_fault(answer)["code"] == "900803"
    assert find_time(read_fault(answer)["nextAccessTime"]) == NOON + 60
    assert caller.log_in().status_code == 200


@CHECKS.see("down")
def see_down(caller: Caller) -> None:
    caller.gateway.fault("down")
    assert [caller.get_list().status_code, caller.log_in().status_code, caller.get_list().status_code] == [
        503
    ] * 3
    caller.gateway.heal()
    assert caller.get_list().status_code == 200


@CHECKS.see("latency-N")
def see_latency(caller: Caller) -> None:
    caller.gateway.fault("latency-30")
    assert caller.get_list().elapsed.total_seconds() >= 0.03


@CHECKS.see("keep-old-tokens")
def see_keep_old_tokens(caller: Caller) -> None:
    caller.gateway.fault("keep-old-tokens")
    old = caller.log_in().json()
    new = caller.log_in().json()
    for token in (old, new):
        caller.use(token["access_token"])
        assert caller.get_list().status_code == 200
    answer = caller.post_token(grant_type="refresh_token", refresh_token=old["refresh_token"])
    assert answer.status_code == 200


@CHECKS.see("page-base-0")
def see_page_base_0(caller: Caller) -> None:
    ids = caller.ids(page_size=20)
    caller.gateway.fault("page-base-0")
    pages = [caller.get_list(page=number).json() for number in (0, 1)]
    assert [row["id"] for page in pages for row in page["_embedded"]["recordings"]] == ids
    assert [page["page"] for page in pages] == [0, 1]
    assert caller.get_list().json()["page"] == 0
    assert pages[0]["_links"]["first"]["href"].endswith("page=0")
    last = caller.send("GET", pages[0]["_links"]["last"]["href"]).json()
    assert last["_embedded"]["recordings"]
    assert "next" not in last["_links"]


@CHECKS.see("cap-7", "cap-100")
def see_cap(caller: Caller) -> None:
    for cap in (7, 100):
        caller.gateway.fault(f"cap-{cap}")
        page = caller.get_list(page_size=200).json()
        assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (cap, cap)
        assert page["total_pages"] == -(-page["total_items"] // cap)


@CHECKS.see("cap-quiet-7")
def see_cap_quiet(caller: Caller) -> None:
    ids = caller.ids()
    caller.gateway.fault("cap-quiet-7")
    page = caller.get_list(page_size=200, page=2).json()
    assert page["page_size"] == 200
    assert [row["id"] for row in page["_embedded"]["recordings"]] == ids[7:14]


@CHECKS.see("refuse-page-size")
def see_refuse_page_size(caller: Caller) -> None:
    caller.gateway.fault("refuse-page-size")
    assert [caller.get_list(page_size=size).status_code for size in (100, 101)] == [200, 400]


@CHECKS.see("ignore-order")
def see_ignore_order(caller: Caller) -> None:
    caller.gateway.fault("ignore-order")
    assert caller.rows(order="start:ASC")[0]["start"] > caller.rows(order="start:ASC")[-1]["start"]


@CHECKS.see("random-order")
def see_random_order(caller: Caller) -> None:
    ids = caller.ids()
    caller.gateway.fault("random-order")
    first, second = caller.ids(), caller.ids()
    assert first != second
    assert sorted(first) == sorted(second) == sorted(ids)


@CHECKS.see("no-embedded")
def see_no_embedded(caller: Caller) -> None:
    caller.gateway.fault("no-embedded")
    page = caller.get_list(call_id="nobody").json()
    assert "_embedded" not in page
    assert page["total_items"] == 0
    assert "_embedded" in caller.get_list().json()


@CHECKS.see("no-total-pages")
def see_no_total_pages(caller: Caller) -> None:
    caller.gateway.fault("no-total-pages")
    assert "total_pages" not in caller.get_list().json()


@CHECKS.see("empty-404")
def see_empty_404(caller: Caller) -> None:
    caller.gateway.fault("empty-404")
    assert [caller.get_list(page=page, page_size=1000).status_code for page in (1, 2)] == [200, 404]
    assert caller.get_list(call_id="nobody").status_code == 200


@CHECKS.see("churn")
def see_churn(caller: Caller) -> None:
    seen = [set(caller.ids())]
    caller.gateway.fault("churn")
    seen += [set(caller.ids()) for _ in range(20)]
    changes = {(len(new - old), len(old - new)) for old, new in pairwise(seen)}
    assert changes == {(0, 1), (1, 0), (1, 1)}


@CHECKS.see("arrivals")
def see_arrivals(caller: Caller) -> None:
    before = caller.ids()
    caller.gateway.fault("arrivals")
    after = caller.rows()
    assert len(after) == len(before) + 1
    new = next(row for row in after if row["id"] not in before)
    assert NOON - 4 * 3600 < datetime.strptime(new["start"], "%Y-%m-%dT%H:%M:%S%z").timestamp() < NOON


@CHECKS.see("churn-users")
def see_churn_users(caller: Caller) -> None:
    def read() -> set[int]:
        return {row["id"] for row in caller.get_list(USERS, page_size=1000).json()["_embedded"]["data"]}

    for _ in range(5):
        caller.gateway.users.add()
    seen = [read()]
    caller.gateway.fault("churn-users")
    seen += [read() for _ in range(20)]
    changes = {(len(new - old), len(old - new)) for old, new in pairwise(seen)}
    assert changes == {(0, 1), (1, 0), (1, 1)}
    assert all(int(caller.gateway.users.api_user) in ids for ids in seen)


@CHECKS.see("provisioning-no-self")
def see_provisioning_no_self(caller: Caller) -> None:
    paths = [f"{PROVISIONING}/accounts/{account}/users" for account in ("self", "549825")]
    assert [caller.send("GET", path).status_code for path in paths] == [200, 200]
    caller.gateway.fault("provisioning-no-self")
    assert [caller.send("GET", path).status_code for path in paths] == [400, 200]


@CHECKS.see("jobs-partly")
def see_jobs_partly(caller: Caller) -> None:
    caller.gateway.fault("jobs-partly")
    caller.gateway.job_seconds = 0
    key = caller.send("POST", f"{LIST}/export", json={}).json()["job_ids"][0]
    job = caller.send("GET", f"{users_list()}/jobs/{key}").json()
    assert job["status"] == "partially_complete"
    assert job["files_completed"] == job["files_total"] - 1 == len(caller.gateway.company) - 1


@CHECKS.see("expired-listed")
def see_expired_listed(caller: Caller) -> None:
    old = caller.gateway.jobs.add(status="complete", valid_until="2019-01-01T00:00:00+0000")
    path = f"{users_list()}/jobs/{old['id']}"
    assert caller.send("GET", path).status_code == 404
    caller.gateway.fault("expired-listed")
    assert caller.send("GET", path).json()["status"] == "expired"
    listed = caller.get_list(f"{users_list()}/jobs", status="expired").json()["_embedded"]["jobs"]
    assert [job["id"] for job in listed] == [old["id"]]


@CHECKS.see("ids-as-text")
def see_ids_as_text(caller: Caller) -> None:
    ids = caller.ids()
    caller.gateway.fault("ids-as-text")
    assert caller.ids() == [str(key) for key in ids]
    assert caller.send("GET", f"{LIST}/{ids[0]}").json()["id"] == str(ids[0])


@CHECKS.see("new-field")
def see_new_field(caller: Caller) -> None:
    caller.gateway.fault("new-field")
    kinds = {type(row["sentiment"]) for row in caller.rows()}
    assert kinds >= {int, float, str, dict}


@CHECKS.see("odd-times")
def see_odd_times(caller: Caller) -> None:
    def read(text: str) -> datetime:
        return datetime.fromisoformat(text.replace("Z", "+0000").replace("+0000", "+00:00"))

    plain: list[dict[str, Any]] = caller.rows()
    caller.gateway.fault("odd-times")
    odd = caller.rows()
    texts = [row["start"] for row in odd]
    assert any(text.endswith("Z") for text in texts)
    assert any(text.endswith("+05:30") for text in texts)
    assert any(".000" in text for text in texts)
    assert {row["id"]: read(row["start"]) for row in odd} == {row["id"]: read(row["start"]) for row in plain}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_habit_is_what_the_catalogue_says(caller: Caller, name: str) -> None:
    CHECKS[name](caller)


def test_every_habit_is_looked_at() -> None:
    assert set(CHECKS) == set(BEHAVIOURS)


def test_a_number_may_be_any(caller: Caller) -> None:
    caller.gateway.fault("cap-13")
    assert len(caller.rows()) == 13


def test_the_quota_begins_anew_after_a_minute(caller: Caller) -> None:
    clock: Any = caller.gateway.clock  # the clock of the fixture, which a test may move
    caller.gateway.fault("quota")
    assert [caller.get_list().status_code for _ in range(11)] == [200] * 10 + [429]
    clock.now += 60
    assert caller.get_list().status_code == 200
    clock.now -= 60
