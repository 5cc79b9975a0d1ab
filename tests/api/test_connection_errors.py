"""What is said of an address that cannot be reached."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from gateway_fixtures import make_credentials

from vbc_source.api.client import Client
from vbc_source.errors import Unavailable


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://nohost.invalid", "the name of the host is not known"),
        ("http://127.0.0.1:{port}", "nothing listens there"),
    ],
)
def test_the_reason_and_the_setting_are_named(address: str, reason: str) -> None:
    address = address.format(port=free_port())
    with (
        closing(Client(address, make_credentials(), retry_seconds=0)) as client,
        pytest.raises(Unavailable, match=f"ConnectionError: {reason} at {address}, the base_url"),
    ):
        client.get("/x", None, lambda body: body, what="x")
