"""Users and extensions in Provisioning."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_client import PROVISIONING, USERS, Client, Clock, Serve

EXTENSIONS = f"{PROVISIONING}/accounts/549825/extensions"


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    return serve(clock, users=23)


def _rows(client: Client, path: str, **params: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get_list(path, **params).json()["_embedded"]["data"]
    return rows


def test_users_and_extensions_are_listed_in_pages(client: Client) -> None:
    for path, expected in (
        (USERS, client.gateway.users.all()),
        (EXTENSIONS, client.gateway.users.extensions()),
    ):
        assert len(expected) > 20
        assert [row for page in (1, 2, 3) for row in _rows(client, path, page=page)] == expected
        assert _rows(client, path, page=4) == []


def test_default_page_size_of_provisioning_is_ten(client: Client) -> None:
    page = client.get_list(USERS).json()
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [1, 10, 23, 3]
    assert len(_rows(client, USERS, page_size=50)) == 23


def test_links_point_to_the_other_pages_and_have_the_real_account(client: Client) -> None:
    page = client.get_list(f"{PROVISIONING}/accounts/self/users", page_size=5, page=2).json()
    assert set(page["_links"]) == {"self", "first", "prev", "next", "last"}
    href = page["_links"]["next"]["href"]
    assert href == f"{client.url}{USERS}?page_size=5&page=3"
    assert client.send("GET", href).json()["_embedded"]["data"] == client.gateway.users.all()[10:15]


def test_extension_contains_its_user(client: Client) -> None:
    user = client.gateway.users.all()[0]
    extension = client.gateway.users.extensions()[0]
    assert extension["extension_number"] == user["extensions"][0]["extension_number"]
    assert extension["dids"] == user["extensions"][0]["dids"]
    assert extension["user"].items() <= user.items()
    assert client.gateway.users.extensions()[0] == extension


@pytest.mark.parametrize("path", [USERS, EXTENSIONS])
def test_list_faults_apply_to_provisioning(client: Client, path: str) -> None:
    total = client.get_list(path).json()["total_items"]
    gateway = client.gateway
    for spec in ("cap-7", "page-base-0", "no-total-pages", "empty-404", "no-embedded", "wrong-totals"):
        gateway.fault(spec)
    page = client.get_list(path, page_size=100).json()
    assert [page[name] for name in ("page", "page_size", "total_items")] == [0, 7, total + 1]
    assert "total_pages" not in page
    assert client.get_list(path, page=9).status_code == 404
    gateway.heal()
    for spec in ("missing-totals", "cap-quiet-7", "refuse-page-size"):
        gateway.fault(spec)
    page = client.get_list(path, page_size=100).json()
    assert (len(page["_embedded"]["data"]), page["page_size"], "total_items" in page) == (7, 100, False)
    assert client.get_list(path, page_size=101).json()["invalid_parameters"][0]["name"] == "page_size"


def test_empty_list_can_lack_embedded(serve: Serve) -> None:
    client = serve(users=0, faults=["no-embedded"])
    assert "_embedded" not in client.get_list(USERS).json()


def test_rows_are_altered_by_faults(client: Client) -> None:
    plain = client.gateway.users.all()
    client.gateway.fault("ids-as-text")
    client.gateway.fault("new-field")
    users, extensions = (_rows(client, path, page_size=50) for path in (USERS, EXTENSIONS))
    assert [row["id"] for row in users] == [str(row["id"]) for row in plain]
    assert {row["user"]["id"] for row in extensions} <= {row["id"] for row in users}
    for rows in (users, extensions):
        assert len({type(row["sentiment"]) for row in rows}) > 2


def test_hook_runs_before_each_page(client: Client) -> None:
    client.gateway.before_page.append(
        lambda gateway, request: gateway.users.remove(gateway.users.all()[-1]["id"])
    )
    assert [client.get_list(path).json()["total_items"] for path in (USERS, USERS)] == [22, 21]


@pytest.mark.parametrize("params", [{"page": "x"}, {"page_size": "x"}, {"page_size": 0}])
def test_invalid_parameter_is_reported_with_its_name(client: Client, params: dict[str, Any]) -> None:
    response = client.get_list(USERS, **params)
    assert response.status_code == response.json()["status"] == 400
    assert [problem["name"] for problem in response.json()["invalid_parameters"]] == list(params)


def test_provisioning_requires_a_token(client: Client) -> None:
    assert client.send("GET", USERS, headers={"authorization": "Bearer no"}).status_code == 401
