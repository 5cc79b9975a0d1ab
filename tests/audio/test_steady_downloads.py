"""Downloads go on while files are stored and while the ledger is loaded, and never more than allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import pytest
from archiving import Prepare, Site, make_gateway

from vbc_source.api.client import Client
from vbc_source.audio import ledger
from vbc_source.load.ledgers import batches

PATIENCE = 10.0  # seconds


def wait_for_fetches(site: Site, count: int) -> bool:
    """Wait until so many files were requested; return whether they were."""
    end = time.monotonic() + PATIENCE
    while len(site.fetches()) < count and time.monotonic() < end:
        time.sleep(0.01)
    return len(site.fetches()) >= count


def test_downloads_go_on_while_the_ledger_is_loaded(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = prepare(make_gateway(30), SOURCES__VBC__MAX_CONCURRENCY="1")
    site.load()
    seen: list[bool] = []

    def load(*arguments: Any, **options: Any) -> None:
        if not seen:
            seen.append(wait_for_fetches(site, 30))
        load_rows(*arguments, **options)

    load_rows: Callable[..., None] = ledger.load_rows
    monkeypatch.setattr(ledger, "load_rows", load)
    monkeypatch.setattr(batches, "BATCH_ROWS", 2)
    assert site.archive().stored == 30
    assert seen == [True]


def test_no_more_files_are_received_at_a_time_than_the_setting_allows(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = prepare(make_gateway(40), SOURCES__VBC__MAX_CONCURRENCY="3")
    site.load()
    lock, received, most = Lock(), 0, 0

    def count(change: int) -> None:
        nonlocal received, most
        with lock:
            received += change
            most = max(most, received)

    def open_stream(self: Client, *arguments: Any) -> Any:
        count(1)
        response = open_(self, *arguments)
        close = response.close

        def close_once() -> None:
            count(-1)
            close()

        object.__setattr__(response, "close", close_once)
        return response

    open_ = Client._open_stream
    monkeypatch.setattr(Client, "_open_stream", open_stream)
    assert site.archive().stored == 40
    assert most == 3
