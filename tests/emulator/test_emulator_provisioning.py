"""Provisioning: users and extensions."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_caller import PROVISIONING, USERS, Caller, Clock, Serve

EXTENSIONS = f"{PROVISIONING}/accounts/549825/extensions"


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    return serve(clock, users=23)


def _rows(caller: Caller, path: str, **params: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = caller.get_list(path, **params).json()["_embedded"]["data"]
    return rows


def test_users_and_extensions_are_listed_page_by_page(caller: Caller) -> None:
    for path, expected in (
        (USERS, caller.gateway.users.all()),
        (EXTENSIONS, caller.gateway.users.extensions()),
    ):
        assert len(expected) > 20
        assert [row for page in (1, 2, 3) for row in _rows(caller, path, page=page)] == expected
        assert _rows(caller, path, page=4) == []


def test_a_page_has_ten_rows_unless_asked_otherwise(caller: Caller) -> None:
    page = caller.get_list(USERS).json()
    assert [page[name] for name in ("page", "page_size", "total_items", "total_pages")] == [1, 10, 23, 3]
    assert len(_rows(caller, USERS, page_size=50)) == 23


def test_links_lead_through_the_pages_and_bear_the_real_account(caller: Caller) -> None:
    page = caller.get_list(f"{PROVISIONING}/accounts/self/users", page_size=5, page=2).json()
    assert set(page["_links"]) == {"self", "first", "prev", "next", "last"}
    href = page["_links"]["next"]["href"]
    assert href == f"{caller.url}{USERS}?page_size=5&page=3"
    assert caller.send("GET", href).json()["_embedded"]["data"] == caller.gateway.users.all()[10:15]


def test_an_extension_tells_whose_it_is(caller: Caller) -> None:
    user = caller.gateway.users.all()[0]
    extension = caller.gateway.users.extensions()[0]
    assert extension["extension_number"] == user["extensions"][0]["extension_number"]
    assert extension["dids"] == user["extensions"][0]["dids"]
    assert extension["user"].items() <= user.items()
    assert caller.gateway.users.extensions()[0] == extension


@pytest.mark.parametrize("path", [USERS, EXTENSIONS])
def test_list_faults_apply(caller: Caller, path: str) -> None:
    total = caller.get_list(path).json()["total_items"]
    gateway = caller.gateway
    for spec in ("cap-7", "page-base-0", "no-total-pages", "empty-404", "no-embedded", "wrong-totals"):
        gateway.fault(spec)
    page = caller.get_list(path, page_size=100).json()
    assert [page[name] for name in ("page", "page_size", "total_items")] == [0, 7, total + 1]
    assert "total_pages" not in page
    assert caller.get_list(path, page=9).status_code == 404
    gateway.heal()
    for spec in ("missing-totals", "cap-quiet-7", "refuse-page-size"):
        gateway.fault(spec)
    page = caller.get_list(path, page_size=100).json()
    assert (len(page["_embedded"]["data"]), page["page_size"], "total_items" in page) == (7, 100, False)
    assert caller.get_list(path, page_size=101).json()["invalid_parameters"][0]["name"] == "page_size"


def test_an_empty_list_can_come_without_embedded(serve: Serve) -> None:
    caller = serve(users=0, faults=["no-embedded"])
    assert "_embedded" not in caller.get_list(USERS).json()


def test_rows_are_disguised(caller: Caller) -> None:
    plain = caller.gateway.users.all()
    caller.gateway.fault("ids-as-text")
    caller.gateway.fault("new-field")
    users, extensions = (_rows(caller, path, page_size=50) for path in (USERS, EXTENSIONS))
    assert [row["id"] for row in users] == [str(row["id"]) for row in plain]
    assert {row["user"]["id"] for row in extensions} <= {row["id"] for row in users}
    for rows in (users, extensions):
        assert len({type(row["sentiment"]) for row in rows}) > 2


def test_a_hook_is_called_before_each_page(caller: Caller) -> None:
    caller.gateway.before_page.append(
        lambda gateway, request: gateway.users.remove(gateway.users.all()[-1]["id"])
    )
    assert [caller.get_list(path).json()["total_items"] for path in (USERS, USERS)] == [22, 21]


@pytest.mark.parametrize("params", [{"page": "x"}, {"page_size": "x"}, {"page_size": 0}])
def test_parameters_that_cannot_be_read_are_refused_with_their_name(
    caller: Caller, params: dict[str, Any]
) -> None:
    answer = caller.get_list(USERS, **params)
    assert answer.status_code == answer.json()["status"] == 400
    assert [problem["name"] for problem in answer.json()["invalid_parameters"]] == list(params)


def test_a_token_is_needed(caller: Caller) -> None:
    assert caller.send("GET", USERS, headers={"authorization": "Bearer no"}).status_code == 401
