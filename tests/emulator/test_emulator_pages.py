"""Pages, their order and what stands around the rows."""

from __future__ import annotations

import pytest
from emulator_caller import API, LIST, NOON, Caller, Clock, Serve

from vbc_source.emulator import Gateway, Request

PREFIXES = [API, "/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]


@pytest.fixture(scope="module")
def caller(serve_module: Serve) -> Caller:
    caller = serve_module()
    for hour in range(23):
        caller.gateway.company.add(id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00+0000")
    return caller


def test_newest_come_first_unless_asked_otherwise(caller: Caller) -> None:
    ids = list(range(1, 24))
    assert caller.ids() == ids[::-1]
    assert caller.ids(order="start:DESC") == ids[::-1]
    assert caller.ids(order="start:ASC") == ids


def test_a_page_has_ten_rows_unless_asked_otherwise(caller: Caller) -> None:
    page = caller.get_list().json()
    assert len(page["_embedded"]["recordings"]) == 10
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [1, 10, 23, 3]


@pytest.mark.parametrize("order", ["start:ASC", "start:DESC"])
@pytest.mark.parametrize("size", [1, 7, 23, 24])
def test_pages_together_are_the_whole_list(caller: Caller, order: str, size: int) -> None:
    pages = [caller.ids(order=order, page=number, page_size=size) for number in range(1, -(-23 // size) + 1)]
    assert [key for page in pages for key in page] == caller.ids(order=order)


def test_a_page_beyond_the_end_is_empty(caller: Caller) -> None:
    answer = caller.get_list(page=4)
    assert answer.status_code == 200
    assert answer.json()["_embedded"] == {"recordings": []}
    assert answer.json()["total_items"] == 23


def test_an_empty_list_has_no_pages(caller: Caller) -> None:
    page = caller.get_list(call_id="nobody").json()
    assert page["_embedded"] == {"recordings": []}
    assert (page["total_items"], page["total_pages"]) == (0, 0)


def test_links_lead_through_the_pages_and_keep_the_filters(caller: Caller) -> None:
    params = {"page_size": 5, "order": "start:ASC", "start_gte": "2025-06-01T01:00:00+0000"}
    page = caller.get_list(page=2, **params).json()
    ids = [row["id"] for row in page["_embedded"]["recordings"]]
    assert set(page["_links"]) == {"self", "first", "prev", "next", "last"}
    again = caller.send("GET", page["_links"]["self"]["href"]).json()
    assert [row["id"] for row in again["_embedded"]["recordings"]] == ids
    following = caller.send("GET", page["_links"]["next"]["href"]).json()
    assert following["page"] == 3
    assert following["_embedded"]["recordings"][0]["id"] == ids[-1] + 1
    assert caller.send("GET", page["_links"]["last"]["href"]).json()["page"] == 5


def test_the_outer_pages_have_no_links_outwards(caller: Caller) -> None:
    assert "prev" not in caller.get_list(page=1).json()["_links"]
    assert "next" not in caller.get_list(page=3).json()["_links"]


def test_too_large_a_page_is_cut_and_says_so(serve: Serve) -> None:
    caller = serve(recordings=60)
    caller.gateway.page_size_cap = 50
    page = caller.get_list(page_size=1000).json()
    assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (50, 50)


def test_at_most_a_thousand_rows_make_a_page(serve: Serve) -> None:
    caller = serve(recordings=1500)
    page = caller.get_list(page_size=5000).json()
    assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (1000, 1000)


def test_page_zero_is_the_first_page(caller: Caller) -> None:
    assert caller.get_list(page=0).json()["page"] == 1


def test_rows_of_equal_start_change_their_order_from_request_to_request(serve: Serve) -> None:
    caller = serve()
    for number in range(1, 31):
        caller.gateway.company.add(id=number, start=f"2025-06-01T0{number % 3}:00:00Z")
    lists = [caller.ids(order="start:ASC") for _ in range(5)]
    assert len({tuple(ids) for ids in lists}) == 5
    for ids in lists:
        assert [set(ids[:10]), set(ids[10:20]), set(ids[20:])] == [
            {number for number in range(1, 31) if number % 3 == rest} for rest in range(3)
        ]


def test_ties_reach_across_the_edges_of_a_page(serve: Serve) -> None:
    caller = serve()
    for number in range(1, 21):
        caller.gateway.company.add(id=number, start="2025-06-01T00:00:00Z")
    assert len({tuple(sorted(caller.ids(page_size=10, page=1))) for _ in range(5)}) > 1


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("account", ["self", "549825"])
def test_every_prefix_answers_for_self_and_for_the_account(caller: Caller, prefix: str, account: str) -> None:
    page = caller.get_list(f"{prefix}/accounts/{account}/company_call_recordings").json()
    root = f"{caller.url}{prefix}"
    row = page["_embedded"]["recordings"][0]
    assert page["_links"]["self"]["href"].startswith(f"{root}/accounts/549825/company_call_recordings?")
    assert row["_links"]["self"]["href"] == f"{root}/accounts/549825/company_call_recordings/{row['id']}"
    assert row["download_url"] == f"{root}/audio/recording/{row['id']}"


def test_links_name_the_host_the_caller_named(caller: Caller) -> None:
    page = caller.send("GET", LIST, headers={"host": "emulator.example:81"}).json()
    row = page["_embedded"]["recordings"][0]
    assert row["download_url"].startswith("http://emulator.example:81/")
    assert page["_links"]["self"]["href"].startswith("http://emulator.example:81/")


def test_another_account_is_refused_in_plain_words(caller: Caller) -> None:
    for path in ("", "/1"):
        answer = caller.send("GET", f"{API}/accounts/1/company_call_recordings{path}")
        assert answer.status_code == 403
        assert answer.text == "User is not authorized to search CCR recordings for this account"


def test_lists_are_json(caller: Caller) -> None:
    assert caller.get_list().headers["content-type"] == "application/json"


def test_a_hook_can_change_the_list_before_each_page(serve: Serve) -> None:
    caller = serve(recordings=20, clock=Clock(NOON + 86_400))
    seen: list[Request] = []

    def hook(gateway: Gateway, request: Request) -> None:
        seen.append(request)
        gateway.company.delete(gateway.company.all()[0]["id"])

    caller.gateway.before_page.append(hook)
    newest = caller.gateway.company.all()
    assert caller.rows(page=1, page_size=1)[0]["id"] == newest[1]["id"]
    assert caller.rows(page=2, page_size=1)[0]["id"] == newest[3]["id"]
    assert [request.query["page"] for request in seen] == ["1", "2"]
