"""Start, stop and restart of the server."""

from __future__ import annotations

import socket
import time

import pytest
import requests
from emulator_client import Client

import vbc_source.emulator as package
from vbc_source.emulator import Emulator, Gateway


def test_server_accepts_requests_only_inside_the_block() -> None:
    with Emulator(Gateway()) as url:
        assert requests.get(url, timeout=5).status_code == 401
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=5)


def test_server_uses_the_given_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Emulator(Gateway(), port=port) as url:
        assert url == f"http://127.0.0.1:{port}"
        assert requests.get(url, timeout=5).status_code == 401


def test_gateway_can_be_served_again_with_its_data() -> None:
    gateway = Gateway(recordings=30)
    emulator = Emulator(gateway)
    tokens = []
    for _ in range(2):
        with emulator as url:
            client = Client(gateway, url)
            tokens.append(client.log_in().json()["access_token"])
            assert len(client.rows()) == len(gateway.company)
            client.session.close()
    assert gateway.tokens.logins == 2
    assert tokens[0] != tokens[1]


def test_server_stops_promptly_with_a_request_in_flight() -> None:
    gateway = Gateway(faults=["latency-60000"])
    with socket.socket() as waiting:
        with Emulator(gateway) as url:
            host, port = url.removeprefix("http://").split(":")
            waiting.connect((host, int(port)))
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            start = time.monotonic()
        assert time.monotonic() - start < 3


def test_several_servers_can_run_at_the_same_time() -> None:
    with Emulator(Gateway()) as first, Emulator(Gateway()) as second:
        assert first != second
        assert (
            requests.get(first, timeout=5).status_code == requests.get(second, timeout=5).status_code == 401
        )


def test_date_header_follows_the_clock_of_the_gateway() -> None:
    with Emulator(Gateway(clock=lambda: 0.0)) as url:
        assert requests.get(url, timeout=5).headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_public_names() -> None:
    assert package.__all__ == [
        *(
            "FAULTS",
            "Account",
            "CallLogs",
            "Emulator",
            "Gateway",
            "Jobs",
            "Recordings",
            "Request",
            "Users",
            "serve",
        )
    ]
