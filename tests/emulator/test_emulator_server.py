"""Starting, stopping and restarting."""

from __future__ import annotations

import socket
import time

import pytest
import requests
from emulator_caller import Caller

import vbc_source.emulator as package
from vbc_source.emulator import Emulator, Gateway


def test_it_answers_inside_the_block_and_not_after() -> None:
    with Emulator(Gateway()) as url:
        assert requests.get(url, timeout=5).status_code == 401
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=5)


def test_it_takes_the_port_it_is_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Emulator(Gateway(), port=port) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert requests.get(url, timeout=5).status_code == 401


def test_a_gateway_can_be_served_again_with_all_it_knew() -> None:
    gateway = Gateway(recordings=30)
    emulator = Emulator(gateway)
    tokens = []
    for _ in range(2):
        with emulator as url:
            caller = Caller(gateway, url)
            tokens.append(caller.log_in().json()["access_token"])
            assert len(caller.rows()) == len(gateway.company)
            caller.session.close()
    assert gateway.tokens.logins == 2
    assert tokens[0] != tokens[1]


def test_it_stops_promptly_although_someone_is_still_waiting() -> None:
    gateway = Gateway(faults=["latency-60000"])
    with socket.socket() as waiting:
        with Emulator(gateway) as url:
            host, port = url.removeprefix("http://").split(":")
            waiting.connect((host, int(port)))
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            begun = time.monotonic()
        assert time.monotonic() - begun < 3


def test_several_can_run_side_by_side() -> None:
    with Emulator(Gateway()) as one, Emulator(Gateway()) as two:
        assert one != two
        assert requests.get(one, timeout=5).status_code == requests.get(two, timeout=5).status_code == 401


def test_dates_follow_the_gateways_clock() -> None:
    with Emulator(Gateway(clock=lambda: 0.0)) as url:
        assert requests.get(url, timeout=5).headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_what_is_public_is_named() -> None:
    assert package.__all__ == [
        *("FAULTS", "Account", "Emulator", "Gateway", "Jobs", "Recordings", "Request", "Users", "serve")
    ]
