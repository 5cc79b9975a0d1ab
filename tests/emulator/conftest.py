from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any

import pytest
from emulator_caller import NOON, Caller, Clock, Serve

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

        def start(clock: Clock | None = None, *, log_in: bool = True, **options: Any) -> Caller:
            gateway = Gateway(clock=clock or Clock(), **options)
            caller = Caller(gateway, stack.enter_context(Emulator(gateway)))
            stack.callback(caller.session.close)
            if log_in:
                caller.log_in()
                gateway.clear()
            return caller

        yield start


@pytest.fixture(scope="module")
def shared_caller(serve_module: Serve) -> Caller:
    return serve_module(recordings=250, until=datetime.fromtimestamp(NOON - 86_400, timezone.utc))


@pytest.fixture
def caller(shared_caller: Caller) -> Iterator[Caller]:
    """A caller of a gateway without faults, which a test may add."""
    shared_caller.log_in()
    yield shared_caller
    shared_caller.gateway.heal()
    shared_caller.gateway.clear()
