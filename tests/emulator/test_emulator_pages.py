"""Pages of lists: order, size, links and numbers."""

from __future__ import annotations

import pytest
from emulator_client import API, LIST, NOON, Client, Clock, Serve

from vbc_source.emulator import Gateway, Request

PREFIXES = [API, "/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]


@pytest.fixture(scope="module")
def client(serve_module: Serve) -> Client:
    client = serve_module()
    for hour in range(23):
        client.gateway.company.add(id=hour + 1, start=f"2025-06-01T{hour:02d}:00:00+0000")
    return client


def test_default_order_is_newest_first(client: Client) -> None:
    ids = list(range(1, 24))
    assert client.ids() == ids[::-1]
    assert client.ids(order="start:DESC") == ids[::-1]
    assert client.ids(order="start:ASC") == ids


def test_default_page_size_is_ten(client: Client) -> None:
    page = client.get_list().json()
    assert len(page["_embedded"]["recordings"]) == 10
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [1, 10, 23, 3]


@pytest.mark.parametrize("order", ["start:ASC", "start:DESC"])
@pytest.mark.parametrize("size", [1, 7, 23, 24])
def test_pages_together_contain_the_whole_list(client: Client, order: str, size: int) -> None:
    pages = [client.ids(order=order, page=number, page_size=size) for number in range(1, -(-23 // size) + 1)]
    assert [key for page in pages for key in page] == client.ids(order=order)


def test_page_after_the_last_one_is_empty(client: Client) -> None:
    response = client.get_list(page=4)
    assert response.status_code == 200
    assert response.json()["_embedded"] == {"recordings": []}
    assert response.json()["total_items"] == 23


def test_empty_list_has_no_pages(client: Client) -> None:
    page = client.get_list(call_id="nobody").json()
    assert page["_embedded"] == {"recordings": []}
    assert (page["total_items"], page["total_pages"]) == (0, 0)


def test_links_point_to_the_other_pages_and_keep_the_filters(client: Client) -> None:
    params = {"page_size": 5, "order": "start:ASC", "start_gte": "2025-06-01T01:00:00+0000"}
    page = client.get_list(page=2, **params).json()
    ids = [row["id"] for row in page["_embedded"]["recordings"]]
    assert set(page["_links"]) == {"self", "first", "prev", "next", "last"}
    again = client.send("GET", page["_links"]["self"]["href"]).json()
    assert [row["id"] for row in again["_embedded"]["recordings"]] == ids
    following = client.send("GET", page["_links"]["next"]["href"]).json()
    assert following["page"] == 3
    assert following["_embedded"]["recordings"][0]["id"] == ids[-1] + 1
    assert client.send("GET", page["_links"]["last"]["href"]).json()["page"] == 5


def test_first_page_has_no_prev_link_and_last_page_no_next_link(client: Client) -> None:
    assert "prev" not in client.get_list(page=1).json()["_links"]
    assert "next" not in client.get_list(page=3).json()["_links"]


def test_page_size_is_capped_and_reported(serve: Serve) -> None:
    client = serve(recordings=60)
    client.gateway.page_size_cap = 50
    page = client.get_list(page_size=1000).json()
    assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (50, 50)


def test_page_has_at_most_a_thousand_rows(serve: Serve) -> None:
    client = serve(recordings=1500)
    page = client.get_list(page_size=5000).json()
    assert (len(page["_embedded"]["recordings"]), page["page_size"]) == (1000, 1000)


def test_page_zero_is_the_first_page(client: Client) -> None:
    assert client.get_list(page=0).json()["page"] == 1


def test_rows_with_equal_start_have_a_new_order_in_every_response(serve: Serve) -> None:
    client = serve()
    for number in range(1, 31):
        client.gateway.company.add(id=number, start=f"2025-06-01T0{number % 3}:00:00Z")
    lists = [client.ids(order="start:ASC") for _ in range(5)]
    assert len({tuple(ids) for ids in lists}) == 5
    for ids in lists:
        assert [set(ids[:10]), set(ids[10:20]), set(ids[20:])] == [
            {number for number in range(1, 31) if number % 3 == rest} for rest in range(3)
        ]


def test_rows_with_equal_start_can_change_their_page(serve: Serve) -> None:
    client = serve()
    for number in range(1, 21):
        client.gateway.company.add(id=number, start="2025-06-01T00:00:00Z")
    assert len({tuple(sorted(client.ids(page_size=10, page=1))) for _ in range(5)}) > 1


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("account", ["self", "549825"])
def test_every_prefix_works_with_self_and_with_the_account_id(
    client: Client, prefix: str, account: str
) -> None:
    page = client.get_list(f"{prefix}/accounts/{account}/company_call_recordings").json()
    root = f"{client.url}{prefix}"
    row = page["_embedded"]["recordings"][0]
    assert page["_links"]["self"]["href"].startswith(f"{root}/accounts/549825/company_call_recordings?")
    assert row["_links"]["self"]["href"] == f"{root}/accounts/549825/company_call_recordings/{row['id']}"
    assert row["download_url"] == f"{root}/audio/recording/{row['id']}"


def test_links_have_the_host_of_the_request(client: Client) -> None:
    page = client.send("GET", LIST, headers={"host": "emulator.example:81"}).json()
    row = page["_embedded"]["recordings"][0]
    assert row["download_url"].startswith("http://emulator.example:81/")
    assert page["_links"]["self"]["href"].startswith("http://emulator.example:81/")


def test_company_recordings_of_an_unknown_account_return_403(client: Client) -> None:
    for path in ("", "/1"):
        response = client.send("GET", f"{API}/accounts/1/company_call_recordings{path}")
        assert response.status_code == 403
        assert response.text == "User is not authorized to search CCR recordings for this account"


def test_lists_have_the_content_type_json(client: Client) -> None:
    assert client.get_list().headers["content-type"] == "application/json"


def test_hook_can_change_the_list_before_each_page(serve: Serve) -> None:
    client = serve(recordings=20, clock=Clock(NOON + 86_400))
    seen: list[Request] = []

    def hook(gateway: Gateway, request: Request) -> None:
        seen.append(request)
        gateway.company.delete(gateway.company.all()[0]["id"])

    client.gateway.before_page.append(hook)
    newest = client.gateway.company.all()
    assert client.rows(page=1, page_size=1)[0]["id"] == newest[1]["id"]
    assert client.rows(page=2, page_size=1)[0]["id"] == newest[3]["id"]
    assert [request.query["page"] for request in seen] == ["1", "2"]
