"""Every fault that changes the behaviour until it is switched off, by name."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from emulator_client import LIST, NOON, PROVISIONING, USERS, Client, users_list
from emulator_faults import Checks, find_time, read_fault

from vbc_source.emulator.faults.catalogue import BEHAVIOURS

CHECKS = Checks()


@CHECKS.add("quota")
def check_quota(client: Client) -> None:
    client.gateway.fault("quota*3")
    assert [client.get_list().status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    response = client.get_list()
    assert read_fault(response)["code"] == "900803"
    assert find_time(read_fault(response)["nextAccessTime"]) == NOON + 60
    assert client.log_in().status_code == 200


@CHECKS.add("down")
def check_down(client: Client) -> None:
    client.gateway.fault("down")
    assert [client.get_list().status_code, client.log_in().status_code, client.get_list().status_code] == [
        503
    ] * 3
    client.gateway.heal()
    assert client.get_list().status_code == 200


@CHECKS.add("latency-N")
def check_latency(client: Client) -> None:
    client.gateway.fault("latency-30")
    assert client.get_list().elapsed.total_seconds() >= 0.03


@CHECKS.add("keep-old-tokens")
def check_keep_old_tokens(client: Client) -> None:
    client.gateway.fault("keep-old-tokens")
    old = client.log_in().json()
    new = client.log_in().json()
    for token in (old, new):
        client.use(token["access_token"])
        assert client.get_list().status_code == 200
    response = client.post_token(grant_type="refresh_token", refresh_token=old["refresh_token"])
    assert response.status_code == 200


@CHECKS.add("revoked-expired")
def check_revoked_expired(client: Client) -> None:
    client.gateway.tokens.revoke_all()
    assert read_fault(client.get_list())["code"] == "900901"
    client.gateway.fault("revoked-expired")
    response = client.get_list()
    assert (response.status_code, read_fault(response)["code"]) == (401, "900904")


@CHECKS.add("page-base-0")
def check_page_base_0(client: Client) -> None:
    ids = client.ids(page_size=20)
    client.gateway.fault("page-base-0")
    pages = [client.get_list(page=number).json() for number in (0, 1)]
    assert [row["id"] for page in pages for row in page["_embedded"]["recordings"]] == ids
    assert [page["page"] for page in pages] == [0, 1]
    assert client.get_list().json()["page"] == 0
    assert pages[0]["_links"]["first"]["href"].endswith("page=0")
    last = client.send("GET", pages[0]["_links"]["last"]["href"]).json()
    assert last["_embedded"]["recordings"]
    assert "next" not in last["_links"]


@CHECKS.add("cap-7", "cap-100")
def check_cap(client: Client) -> None:
    for cap in (7, 100):
        client.gateway.fault(f"cap-{cap}")
        page = client.get_list(page_size=200).json()
        assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (cap, cap)
        assert page["total_pages"] == -(-page["total_items"] // cap)


@CHECKS.add("cap-quiet-7")
def check_cap_quiet(client: Client) -> None:
    ids = client.ids()
    client.gateway.fault("cap-quiet-7")
    page = client.get_list(page_size=200, page=2).json()
    assert page["page_size"] == 200
    assert [row["id"] for row in page["_embedded"]["recordings"]] == ids[7:14]


@CHECKS.add("refuse-page-size")
def check_refuse_page_size(client: Client) -> None:
    client.gateway.fault("refuse-page-size")
    assert [client.get_list(page_size=size).status_code for size in (100, 101)] == [200, 400]


@CHECKS.add("ignore-order")
def check_ignore_order(client: Client) -> None:
    client.gateway.fault("ignore-order")
    assert client.rows(order="start:ASC")[0]["start"] > client.rows(order="start:ASC")[-1]["start"]


@CHECKS.add("random-order")
def check_random_order(client: Client) -> None:
    ids = client.ids()
    client.gateway.fault("random-order")
    first, second = client.ids(), client.ids()
    assert first != second
    assert sorted(first) == sorted(second) == sorted(ids)


@CHECKS.add("no-embedded")
def check_no_embedded(client: Client) -> None:
    client.gateway.fault("no-embedded")
    page = client.get_list(call_id="nobody").json()
    assert "_embedded" not in page
    assert page["total_items"] == 0
    assert "_embedded" in client.get_list().json()


@CHECKS.add("no-total-pages")
def check_no_total_pages(client: Client) -> None:
    client.gateway.fault("no-total-pages")
    assert "total_pages" not in client.get_list().json()


@CHECKS.add("empty-404")
def check_empty_404(client: Client) -> None:
    client.gateway.fault("empty-404")
    assert [client.get_list(page=page, page_size=1000).status_code for page in (1, 2)] == [200, 404]
    assert client.get_list(call_id="nobody").status_code == 200


@CHECKS.add("churn")
def check_churn(client: Client) -> None:
    seen = [set(client.ids())]
    client.gateway.fault("churn")
    seen += [set(client.ids()) for _ in range(20)]
    changes = {(len(new - old), len(old - new)) for old, new in pairwise(seen)}
    assert changes == {(0, 1), (1, 0), (1, 1)}


@CHECKS.add("arrivals")
def check_arrivals(client: Client) -> None:
    before = client.ids()
    client.gateway.fault("arrivals")
    after = client.rows()
    assert len(after) == len(before) + 1
    new = next(row for row in after if row["id"] not in before)
    assert NOON - 4 * 3600 < datetime.strptime(new["start"], "%Y-%m-%dT%H:%M:%S%z").timestamp() < NOON


@CHECKS.add("churn-users")
def check_churn_users(client: Client) -> None:
    def read() -> set[int]:
        return {row["id"] for row in client.get_list(USERS, page_size=1000).json()["_embedded"]["data"]}

    for _ in range(5):
        client.gateway.users.add()
    seen = [read()]
    client.gateway.fault("churn-users")
    seen += [read() for _ in range(20)]
    changes = {(len(new - old), len(old - new)) for old, new in pairwise(seen)}
    assert changes == {(0, 1), (1, 0), (1, 1)}
    assert all(int(client.gateway.users.api_user) in ids for ids in seen)


@CHECKS.add("provisioning-no-self")
def check_provisioning_no_self(client: Client) -> None:
    paths = [f"{PROVISIONING}/accounts/{account}/users" for account in ("self", "549825")]
    assert [client.send("GET", path).status_code for path in paths] == [200, 200]
    client.gateway.fault("provisioning-no-self")
    assert [client.send("GET", path).status_code for path in paths] == [400, 200]


@CHECKS.add("jobs-partly")
def check_jobs_partly(client: Client) -> None:
    client.gateway.fault("jobs-partly")
    client.gateway.job_seconds = 0
    key = client.send("POST", f"{LIST}/export", json={}).json()["job_ids"][0]
    job = client.send("GET", f"{users_list()}/jobs/{key}").json()
    assert job["status"] == "partially_complete"
    assert job["files_completed"] == job["files_total"] - 1 == len(client.gateway.company) - 1


@CHECKS.add("expired-listed")
def check_expired_listed(client: Client) -> None:
    old = client.gateway.jobs.add(status="complete", valid_until="2019-01-01T00:00:00+0000")
    path = f"{users_list()}/jobs/{old['id']}"
    assert client.send("GET", path).status_code == 404
    client.gateway.fault("expired-listed")
    assert client.send("GET", path).json()["status"] == "expired"
    listed = client.get_list(f"{users_list()}/jobs", status="expired").json()["_embedded"]["jobs"]
    assert [job["id"] for job in listed] == [old["id"]]


@CHECKS.add("ids-as-text")
def check_ids_as_text(client: Client) -> None:
    ids = client.ids()
    client.gateway.fault("ids-as-text")
    assert client.ids() == [str(key) for key in ids]
    assert client.send("GET", f"{LIST}/{ids[0]}").json()["id"] == str(ids[0])


@CHECKS.add("lost-ids")
def check_lost_ids(client: Client) -> None:
    ids = client.ids()
    client.gateway.fault("lost-ids")
    changed = client.ids()
    assert 0 < changed.count(None) < len(ids) / 2
    assert [key for key in changed if key is not None] == [
        key for key, now in zip(ids, changed, strict=True) if now is not None
    ]


@CHECKS.add("lost-starts")
def check_lost_starts(client: Client) -> None:
    client.gateway.fault("lost-starts")
    starts = [row["start"] for row in client.rows()]
    assert 0 < starts.count(None) < len(starts) / 2


@CHECKS.add("new-field")
def check_new_field(client: Client) -> None:
    client.gateway.fault("new-field")
    kinds = {type(row["sentiment"]) for row in client.rows()}
    assert kinds >= {int, float, str, dict}


@CHECKS.add("odd-times")
def check_odd_times(client: Client) -> None:
    def read(text: str) -> datetime:
        return datetime.fromisoformat(text.replace("Z", "+0000").replace("+0000", "+00:00"))

    plain: list[dict[str, Any]] = client.rows()
    client.gateway.fault("odd-times")
    odd = client.rows()
    texts = [row["start"] for row in odd]
    assert any(text.endswith("Z") for text in texts)
    assert any(text.endswith("+05:30") for text in texts)
    assert any(".000" in text for text in texts)
    assert {row["id"]: read(row["start"]) for row in odd} == {row["id"]: read(row["start"]) for row in plain}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour_is_what_the_catalogue_describes(client: Client, name: str) -> None:
    CHECKS[name](client)


def test_every_behaviour_has_a_check() -> None:
    assert set(CHECKS) == set(BEHAVIOURS)


def test_cap_accepts_any_number(client: Client) -> None:
    client.gateway.fault("cap-13")
    assert len(client.rows()) == 13


def test_quota_starts_again_after_a_minute(client: Client) -> None:
    clock: Any = client.gateway.clock  # the clock of the fixture, which a test can move
    client.gateway.fault("quota")
    assert [client.get_list().status_code for _ in range(11)] == [200] * 10 + [429]
    clock.now += 60
    assert client.get_list().status_code == 200
    clock.now -= 60
