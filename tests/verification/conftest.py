from __future__ import annotations

import pytest
from loading import still_gateway
from verification_cases import Prepare, Stand, configure

from vbc_source.emulator import Gateway


@pytest.fixture
def prepare(serve: object, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Serve a gateway, configure this process for it, and load what it has."""

    def start(gateway: Gateway | None = None, *resources: str, load: bool = True, **settings: str) -> Stand:
        gateway = gateway or still_gateway(recordings=300)
        url = serve(gateway)  # type: ignore[operator]
        for name, value in configure(url, **settings).items():
            monkeypatch.setenv(name, value)
        stand = Stand(gateway, url)
        if load:
            stand.sync(*resources)
        gateway.clear()
        return stand

    return start
