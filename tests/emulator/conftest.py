from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any

import pytest
from emulator_client import NOON, Client, Clock, Serve

from vbc_source.emulator import Emulator, Gateway


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def serve_module() -> Iterator[Serve]:
    yield from _serving()


@pytest.fixture
def serve() -> Iterator[Serve]:
    yield from _serving()


def _serving() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(clock: Clock | None = None, *, log_in: bool = True, **options: Any) -> Client:
            gateway = Gateway(clock=clock or Clock(), **options)
            client = Client(gateway, stack.enter_context(Emulator(gateway)))
            stack.callback(client.session.close)
            if log_in:
                client.log_in()
                gateway.clear()
            return client

        yield start


@pytest.fixture(scope="module")
def shared_client(serve_module: Serve) -> Client:
    return serve_module(recordings=250, until=datetime.fromtimestamp(NOON - 86_400, timezone.utc))


@pytest.fixture
def client(shared_client: Client) -> Iterator[Client]:
    """Client of a shared gateway; faults are switched off after each test."""
    shared_client.log_in()
    yield shared_client
    shared_client.gateway.heal()
    shared_client.gateway.clear()
