"""Every fault that strikes once, by name."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
import requests
from emulator_caller import API, LIST, NOON, USERS, Caller, Serve
from emulator_checks import Check, Checks, find_time, read_fault

from vbc_source.emulator import FAULTS, Gateway
from vbc_source.emulator.faults.catalogue import AUDIO, ONE_TIME

BROKEN = requests.exceptions.RequestException
CHECKS = Checks()


def strike(caller: Caller, spec: str, path: str = LIST) -> requests.Response:
    """Let a fault strike once, and see that it is over after that."""
    caller.gateway.fault(spec)
    answer = caller.send("GET", path)
    assert caller.send("GET", path).status_code == 200
    return answer


def read_codes(**expected: tuple[int, int]) -> None:
    for key, (status, code) in expected.items():
        name = key.replace("_", "-")

        def see(caller: Caller, name: str = name, status: int = status, code: int = code) -> None:
            for form in ("", ":wrapped", ":flat", ":xml"):
                answer = strike(caller, name + form)
                assert answer.status_code == status
                assert read_fault(answer)["code"] == str(code)
                assert read_fault(answer)["message"]
                assert read_fault(answer)["description"]

        CHECKS[name] = see


read_codes(
    hard_limit=(503, 900801),
    token_invalid=(401, 900901),
    token_missing=(401, 900902),
    token_expired=(401, 900904),
    unsubscribed=(403, 900908),
    scope=(403, 900910),
    suspended=(503, 303001),
    refused=(500, 101503),
    backend_timeout=(504, 101504),
)


def see_throttled(places: set[str]) -> Check:
    def see(caller: Caller) -> None:
        for form in ("xml", "wrapped", "flat"):
            name = next(name for name, function in CHECKS.items() if function is see)
            answer = strike(caller, f"{name}:{form}")
            fault = read_fault(answer)
            assert (answer.status_code, fault["code"]) == (429, "900804")
            found: dict[str, float] = {}
            if "retry-after" in answer.headers:
                found["header"] = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
            if "nextAccessTime" in fault:
                found["body"] = find_time(fault["nextAccessTime"])
            if "You can access API after " in fault["description"]:
                found["description"] = find_time(fault["description"].split("You can access API after ")[1])
            assert set(found) == places
            assert all(1 <= moment - NOON <= 2 for moment in found.values())

    return see


CHECKS["throttled"] = see_throttled({"header", "body"})
CHECKS["throttled-header-only"] = see_throttled({"header"})
CHECKS["throttled-body"] = see_throttled({"body"})
CHECKS["throttled-description"] = see_throttled({"description"})
CHECKS["throttled-silent"] = see_throttled(set())


@CHECKS.see("no-rights")
def see_no_rights(caller: Caller) -> None:
    answer = strike(caller, "no-rights")
    assert answer.status_code == 403
    assert answer.text == "User is not authorized to search CCR recordings for this account"


@CHECKS.see("bad-gateway")
def see_bad_gateway(caller: Caller) -> None:
    answer = strike(caller, "bad-gateway")
    assert (answer.status_code, answer.headers["content-type"][:9]) == (502, "text/html")


@CHECKS.see("not-found")
def see_not_found(caller: Caller) -> None:
    assert strike(caller, "not-found").status_code == 404


@CHECKS.see("empty-body")
def see_empty_body(caller: Caller) -> None:
    answer = strike(caller, "empty-body")
    assert (answer.status_code, answer.content) == (200, b"")


@CHECKS.see("html")
def see_html(caller: Caller) -> None:
    answer = strike(caller, "html")
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")


@CHECKS.see("not-json")
def see_not_json(caller: Caller) -> None:
    answer = strike(caller, "not-json")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


@CHECKS.see("fault-200")
def see_fault_200(caller: Caller) -> None:
    path = f"{API}/audio/recording/{caller.ids()[0]}"
    for form in ("xml", "wrapped", "flat"):
        answer = strike(caller, f"fault-200:{form}", path)
        assert (answer.status_code, read_fault(answer)["code"]) == (200, "101504")


@CHECKS.see("redirect")
def see_redirect(caller: Caller) -> None:
    answer = strike(caller, "redirect")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("http://127.0.0.2:9/")


@CHECKS.see("truncated")
def see_truncated(caller: Caller) -> None:
    whole = {path: caller.send("GET", path).content for path in _make_paths(caller)}
    for path, body in whole.items():
        caller.gateway.fault("truncated")
        with caller.send("GET", path, stream=True) as answer:
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == len(body)
            received = answer.raw.read(len(body) // 2)
            assert len(received) == len(body) // 2
            with pytest.raises(Exception, match="IncompleteRead"):
                answer.raw.read(1_000_000)
        assert caller.send("GET", path).status_code == 200


@CHECKS.see("cut-json")
def see_cut_json(caller: Caller) -> None:
    for path in _make_paths(caller):
        answer = strike(caller, "cut-json", path)
        whole = caller.send("GET", path).content
        assert answer.status_code == 200
        assert len(answer.content) == int(answer.headers["content-length"]) == len(whole) // 2
        assert answer.content == whole[: len(whole) // 2]


def _make_paths(caller: Caller) -> list[str]:
    row = caller.gateway.company.add(file_size_in_bytes=200_000)
    return [
        f"{LIST}?page_size=50&page=2&order=start:ASC",
        f"{LIST}/{row['id']}",
        f"{API}/audio/recording/{row['id']}",
    ]


@CHECKS.see("reset")
def see_reset(caller: Caller) -> None:
    caller.gateway.clear()
    caller.gateway.fault("reset")
    with pytest.raises(requests.exceptions.ConnectionError):
        caller.get_list()
    assert caller.get_list().status_code == 200
    assert [request.status for request in caller.gateway.requests] == [0, 200]


@CHECKS.see("login-down")
def see_login_down(caller: Caller) -> None:
    caller.gateway.fault("login-down")
    assert caller.get_list().status_code == 200
    assert caller.log_in().status_code == 503
    assert caller.log_in().status_code == 200


@CHECKS.see("login-html")
def see_login_html(caller: Caller) -> None:
    caller.gateway.fault("login-html")
    answer = caller.post_token(grant_type="password")
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")
    assert caller.log_in().status_code == 200


@CHECKS.see("wrong-totals")
def see_wrong_totals(caller: Caller) -> None:
    total = caller.get_list().json()["total_items"]
    caller.gateway.fault("wrong-totals")
    assert caller.send("GET", f"{LIST}/{caller.gateway.company.all()[0]['id']}").status_code == 200
    assert [caller.get_list().json()["total_items"] for _ in range(2)] == [total + 1, total]


@CHECKS.see("missing-totals")
def see_missing_totals(caller: Caller) -> None:
    caller.gateway.fault("missing-totals")
    assert ["total_items" in caller.get_list().json() for _ in range(2)] == [False, True]


@pytest.mark.parametrize("name", [name for name in ONE_TIME if name not in AUDIO])
def test_the_fault_does_what_the_catalogue_says(caller: Caller, name: str) -> None:
    CHECKS[name](caller)


def test_every_fault_is_described_in_one_line() -> None:
    assert all(text and "\n" not in text for text in FAULTS.values())
    assert set(CHECKS) == set(ONE_TIME) - set(AUDIO)


def test_a_fault_strikes_as_often_as_it_is_told(caller: Caller) -> None:
    caller.gateway.fault("suspended*3")
    assert [caller.get_list().status_code for _ in range(4)] == [503, 503, 503, 200]
    caller.gateway.fault("suspended*always")
    assert {caller.get_list().status_code for _ in range(20)} == {503}


def test_faults_strike_in_the_order_in_which_they_were_switched_on(caller: Caller) -> None:
    for spec in ("refused", "throttled", "not-found"):
        caller.gateway.fault(spec)
    assert [caller.get_list().status_code for _ in range(4)] == [500, 429, 404, 200]


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
def test_a_fault_can_be_for_some_paths_only(caller: Caller, spec: str, statuses: list[int]) -> None:
    caller.gateway.fault(spec)
    assert [caller.send("GET", path).status_code for path in (LIST, USERS, LIST)] == statuses


def test_a_habit_can_be_for_some_paths_only(caller: Caller) -> None:
    for spec in ("page-base-0@/provisioning/", "cap-7@/company", "wrong-totals@/provisioning/"):
        caller.gateway.fault(spec)
    recordings, users = (caller.get_list(path, page_size=50).json() for path in (LIST, USERS))
    assert [(page["page"], page["page_size"]) for page in (recordings, users)] == [(1, 7), (0, 50)]
    assert recordings["total_items"] == len(caller.gateway.company)
    assert users["total_items"] == len(caller.gateway.users) + 1


def test_quotas_of_different_paths_are_counted_apart(caller: Caller) -> None:
    caller.gateway.fault("quota*2@/company")
    caller.gateway.fault("quota*1@/provisioning/")
    paths = (LIST, USERS, LIST, USERS, LIST)
    assert [caller.send("GET", path).status_code for path in paths] == [200, 200, 200, 429, 429]


def test_api_faults_leave_the_token_endpoint_alone(caller: Caller) -> None:
    caller.gateway.fault("suspended*always")
    assert caller.log_in().status_code == 200


@pytest.mark.parametrize(
    "spec", ["", "nothing", "latency-N", "throttled:yaml", "throttled*", "throttled*-1", "throttled@", "T"]
)
def test_what_cannot_be_read_is_not_a_fault(spec: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        Gateway().fault(spec)


def test_faults_can_be_on_from_the_start(serve: Serve) -> None:
    assert serve(faults=["down"], log_in=False).log_in().status_code == 503
