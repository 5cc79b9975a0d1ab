"""Every one-time fault, by name."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
import requests
from emulator_client import API, LIST, NOON, USERS, Client, Serve
from emulator_faults import Check, Checks, find_time, read_fault

from vbc_source.emulator import FAULTS, Gateway
from vbc_source.emulator.faults.catalogue import AUDIO, ONE_TIME

BROKEN = requests.exceptions.RequestException
CHECKS = Checks()


def trigger(client: Client, spec: str, path: str = LIST) -> requests.Response:
    """Send a request with a fault, and check that the next one succeeds."""
    client.gateway.fault(spec)
    response = client.send("GET", path)
    assert client.send("GET", path).status_code == 200
    return response


def check_codes(**expected: tuple[int, int]) -> None:
    for key, (status, code) in expected.items():
        name = key.replace("_", "-")

        def check(client: Client, name: str = name, status: int = status, code: int = code) -> None:
            for form in ("", ":wrapped", ":flat", ":xml"):
                response = trigger(client, name + form)
                assert response.status_code == status
                assert read_fault(response)["code"] == str(code)
                assert read_fault(response)["message"]
                assert read_fault(response)["description"]

        CHECKS[name] = check


check_codes(
    hard_limit=(503, 900801),
    token_invalid=(401, 900901),
    token_missing=(401, 900902),
    token_expired=(401, 900904),
    unsubscribed=(403, 900908),
    scope=(403, 900910),
    suspended=(503, 303001),
    refused=(500, 101503),
    backend_timeout=(504, 101504),
    rejected_200=(200, 900901),
)


def check_throttled(places: set[str]) -> Check:
    def check(client: Client) -> None:
        for form in ("xml", "wrapped", "flat"):
            name = next(name for name, function in CHECKS.items() if function is check)
            response = trigger(client, f"{name}:{form}")
            fault = read_fault(response)
            assert (response.status_code, fault["code"]) == (429, "900804")
            times: dict[str, float] = {}
            if "retry-after" in response.headers:
                times["header"] = parsedate_to_datetime(response.headers["retry-after"]).timestamp()
            if "nextAccessTime" in fault:
                times["body"] = find_time(fault["nextAccessTime"])
            if "You can access API after " in fault["description"]:
                times["description"] = find_time(fault["description"].split("You can access API after ")[1])
            assert set(times) == places
            assert all(1 <= moment - NOON <= 2 for moment in times.values())

    return check


CHECKS["throttled"] = check_throttled({"header", "body"})
CHECKS["throttled-header-only"] = check_throttled({"header"})
CHECKS["throttled-body"] = check_throttled({"body"})
CHECKS["throttled-description"] = check_throttled({"description"})
CHECKS["throttled-silent"] = check_throttled(set())


@CHECKS.add("no-rights")
def check_no_rights(client: Client) -> None:
    response = trigger(client, "no-rights")
    assert response.status_code == 403
    assert response.text == "User is not authorized to search CCR recordings for this account"


@CHECKS.add("bad-gateway")
def check_bad_gateway(client: Client) -> None:
    response = trigger(client, "bad-gateway")
    assert (response.status_code, response.headers["content-type"][:9]) == (502, "text/html")


@CHECKS.add("not-found")
def check_not_found(client: Client) -> None:
    assert trigger(client, "not-found").status_code == 404


@CHECKS.add("no-resource")
def check_no_resource(client: Client) -> None:
    response = trigger(client, "no-resource")
    assert response.status_code == 404
    assert "The requested resource is not available" in response.text


@CHECKS.add("bad-request")
def check_bad_request(client: Client) -> None:
    assert trigger(client, "bad-request").status_code == 400


@CHECKS.add("empty-body")
def check_empty_body(client: Client) -> None:
    response = trigger(client, "empty-body")
    assert (response.status_code, response.content) == (200, b"")


@CHECKS.add("html")
def check_html(client: Client) -> None:
    response = trigger(client, "html")
    assert response.status_code == 200
    assert response.text.startswith("<!DOCTYPE html>")


@CHECKS.add("not-json")
def check_not_json(client: Client) -> None:
    response = trigger(client, "not-json")
    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


@CHECKS.add("fault-200")
def check_fault_200(client: Client) -> None:
    path = f"{API}/audio/recording/{client.ids()[0]}"
    for form in ("xml", "wrapped", "flat"):
        response = trigger(client, f"fault-200:{form}", path)
        assert (response.status_code, read_fault(response)["code"]) == (200, "101504")


@CHECKS.add("redirect")
def check_redirect(client: Client) -> None:
    response = trigger(client, "redirect")
    assert response.status_code == 302
    assert response.headers["location"].startswith("http://127.0.0.2:9/")


@CHECKS.add("truncated")
def check_truncated(client: Client) -> None:
    whole = {path: client.send("GET", path).content for path in _make_paths(client)}
    for path, body in whole.items():
        client.gateway.fault("truncated")
        with client.send("GET", path, stream=True) as response:
            assert response.status_code == 200
            assert int(response.headers["content-length"]) == len(body)
            received = response.raw.read(len(body) // 2)
            assert len(received) == len(body) // 2
            with pytest.raises(Exception, match="IncompleteRead"):
                response.raw.read(1_000_000)
        assert client.send("GET", path).status_code == 200


@CHECKS.add("cut-json")
def check_cut_json(client: Client) -> None:
    for path in _make_paths(client):
        response = trigger(client, "cut-json", path)
        whole = client.send("GET", path).content
        assert response.status_code == 200
        assert len(response.content) == int(response.headers["content-length"]) == len(whole) // 2
        assert response.content == whole[: len(whole) // 2]


def _make_paths(client: Client) -> list[str]:
    row = client.gateway.company.add(file_size_in_bytes=200_000)
    return [
        f"{LIST}?page_size=50&page=2&order=start:ASC",
        f"{LIST}/{row['id']}",
        f"{API}/audio/recording/{row['id']}",
    ]


@CHECKS.add("reset")
def check_reset(client: Client) -> None:
    client.gateway.clear()
    client.gateway.fault("reset")
    with pytest.raises(requests.exceptions.ConnectionError):
        client.get_list()
    assert client.get_list().status_code == 200
    assert [request.status for request in client.gateway.requests] == [0, 200]


@CHECKS.add("login-down")
def check_login_down(client: Client) -> None:
    client.gateway.fault("login-down")
    assert client.get_list().status_code == 200
    assert client.log_in().status_code == 503
    assert client.log_in().status_code == 200


@CHECKS.add("login-html")
def check_login_html(client: Client) -> None:
    client.gateway.fault("login-html")
    response = client.post_token(grant_type="password")
    assert (response.status_code, response.headers["content-type"][:9]) == (200, "text/html")
    assert client.log_in().status_code == 200


@CHECKS.add("wrong-totals")
def check_wrong_totals(client: Client) -> None:
    total = client.get_list().json()["total_items"]
    client.gateway.fault("wrong-totals")
    assert client.send("GET", f"{LIST}/{client.gateway.company.all()[0]['id']}").status_code == 200
    assert [client.get_list().json()["total_items"] for _ in range(2)] == [total + 1, total]


@CHECKS.add("missing-totals")
def check_missing_totals(client: Client) -> None:
    client.gateway.fault("missing-totals")
    assert ["total_items" in client.get_list().json() for _ in range(2)] == [False, True]


@pytest.mark.parametrize("name", [name for name in ONE_TIME if name not in AUDIO])
def test_fault_does_what_the_catalogue_describes(client: Client, name: str) -> None:
    CHECKS[name](client)


def test_every_fault_has_a_check_and_a_one_line_description() -> None:
    assert all(text and "\n" not in text for text in FAULTS.values())
    assert set(CHECKS) == set(ONE_TIME) - set(AUDIO)


def test_fault_affects_the_given_number_of_requests(client: Client) -> None:
    client.gateway.fault("suspended*3")
    assert [client.get_list().status_code for _ in range(4)] == [503, 503, 503, 200]
    client.gateway.fault("suspended*always")
    assert {client.get_list().status_code for _ in range(20)} == {503}


def test_faults_are_used_in_the_order_in_which_they_were_switched_on(client: Client) -> None:
    for spec in ("refused", "throttled", "not-found"):
        client.gateway.fault(spec)
    assert [client.get_list().status_code for _ in range(4)] == [500, 429, 404, 200]


@pytest.mark.parametrize(
    ("spec", "statuses"),
    [
        ("suspended*2@/company", [503, 200, 503]),
        ("unsubscribed*always@/provisioning/", [200, 403, 200]),
        ("unsubscribed:xml@/nowhere/", [200, 200, 200]),
        ("quota*0@provisioning", [200, 429, 200]),
        ("down@company_call", [503, 200, 503]),
        ("not-found@/accounts/self/", [404, 200, 200]),
    ],
)
def test_fault_can_be_limited_to_a_path(client: Client, spec: str, statuses: list[int]) -> None:
    client.gateway.fault(spec)
    assert [client.send("GET", path).status_code for path in (LIST, USERS, LIST)] == statuses


def test_behaviour_can_be_limited_to_a_path(client: Client) -> None:
    for spec in ("page-base-0@/provisioning/", "cap-7@/company", "wrong-totals@/provisioning/"):
        client.gateway.fault(spec)
    recordings, users = (client.get_list(path, page_size=50).json() for path in (LIST, USERS))
    assert [(page["page"], page["page_size"]) for page in (recordings, users)] == [(1, 7), (0, 50)]
    assert recordings["total_items"] == len(client.gateway.company)
    assert users["total_items"] == len(client.gateway.users) + 1


def test_quotas_of_different_paths_are_counted_separately(client: Client) -> None:
    client.gateway.fault("quota*2@/company")
    client.gateway.fault("quota*1@/provisioning/")
    paths = (LIST, USERS, LIST, USERS, LIST)
    assert [client.send("GET", path).status_code for path in paths] == [200, 200, 200, 429, 429]


def test_api_faults_do_not_affect_the_token_endpoint(client: Client) -> None:
    client.gateway.fault("suspended*always")
    assert client.log_in().status_code == 200


@pytest.mark.parametrize(
    "spec", ["", "nothing", "latency-N", "throttled:yaml", "throttled*", "throttled*-1", "throttled@", "T"]
)
def test_invalid_fault_raises(spec: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Gateway().fault(spec)


def test_faults_can_be_switched_on_in_the_constructor(serve: Serve) -> None:
    assert serve(faults=["down"], log_in=False).log_in().status_code == 503
