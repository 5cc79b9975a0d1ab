"""A recording that arrives late is found in every lake, also where DuckDB cannot download its extensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from expected_rows import ago
from loading import LOGIN, still_gateway
from warehouses import set_up

from vbc_source import sync
from vbc_source.emulator import Gateway
from vbc_source.warehouse.queries import LoadedTables

ARRIVALS = 'SELECT recording_id, "start" < cursor_at FROM recording_arrivals ORDER BY 1'
BUCKETS = ("s3", "delta", "iceberg")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["parquet", *(pytest.param(name, marks=pytest.mark.destinations) for name in BUCKETS)]
)
def test_a_recording_behind_the_cursor_is_a_late_arrival(
    serve: Callable[[Gateway], str],
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
    name: str,
) -> None:
    gateway = still_gateway()
    monkeypatch.setenv("SOURCES__VBC__BASE_URL", serve(gateway))
    for secret, value in LOGIN.items():
        monkeypatch.setenv(f"SOURCES__VBC__CREDENTIALS__{secret.upper()}", value)
    gateway.company.add(id=1, start=ago(days=3), duration=60_000)
    gateway.company.add(id=2, start=ago(days=1), duration=60_000)
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        sync(warehouse.target)
        gateway.company.add(id=3, start=ago(days=1.5), end=ago(days=1.25))  # a long call, behind shorter ones
        gateway.company.add(id=4, start=ago(days=0.25), end=ago(days=0.125))
        sync(warehouse.target)
        assert LoadedTables(warehouse.target).query(ARRIVALS) == [(3, True), (4, False)]
