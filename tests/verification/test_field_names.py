"""Fields of the API that are named like our columns: keys, views, filters and tombstones stay right."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from loading import still_gateway
from verification_cases import Prepare, Stand, ago, configure
from warehouses import set_up

from vbc_source.emulator import Gateway

NEW = {
    **{
        "user_id": "745249",
        "account_id": 1,
        "recording_type": "COMPLIANCE",
        "recording_id": 2,
        "position": 3,
    },
    **{"is_empty": True, "gone_at": "never", "_dlt_load_id": "4", "_dlt_id": "5", "Call_ID": "6", "xmin": 7},
}
KINDS = ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)]


def make_gateway() -> Gateway:
    gateway = still_gateway(recordings=0, users=0)
    for id_ in range(1, 6):
        direction = "INBOUND" if id_ < 4 else "OUTBOUND"
        fields: dict[str, Any] = {**NEW, "score": id_, "call_direction": direction, "extensions": [100 + id_]}
        gateway.company.add(id=id_, start=ago(100 - id_), duration=60_000, **fields)
    user = {"account_id": 8, "gone_at": "x", "_dlt_load_id": "y", "position": 9}
    items = [{"extension_number": "101", "user_id": 1, "isEmpty": True, "position": "2", "extension": "3"}]
    gateway.users.add(id=7, recordings=0, extensions=items, **user)
    gateway.users.recordings("7").add(id=1, start=ago(50), duration=60_000, **NEW, score="high")
    gateway.users.recordings("7").add(id=2, start=ago(49), duration=60_000, **NEW, score="low")
    return gateway


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_fields_named_like_our_columns_change_nothing(
    kind: str, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    with set_up(kind, monkeypatch, dict) if kind != "duckdb" else nullcontext() as warehouse:
        gateway = make_gateway()
        stand = prepare(gateway, load=False)
        if warehouse:
            stand.destination, stand.dataset = kind, warehouse.dataset
        stand.sync("company_recordings", "user_recordings", "users", "extensions")
        gateway.company.delete(2)
        gateway.users.recordings("7").delete(1)
        stand.add_late(9, **NEW, score=1)
        done = stand.verify(repair=True, deep=True)  # as many new ones as gone ones
        assert (done.ok, done.loaded, done.tombstoned) == (True, 1, 2)
        assert (stand.current(), stand.current("user")) == ({1, 3, 4, 5, 9}, {2})
        check_tables(stand)
        for name, value, selected in (("call_direction", "INBOUND", 3), ("extension", "104", 1)):
            filters = {"SOURCES__VBC__FILTERS": f'{{"{name}": "{value}"}}'}
            for setting, text in configure(stand.url, **filters).items():
                monkeypatch.setenv(setting, text)
            totals = stand.verify(types=["company"]).totals
            assert [(total.api, total.loaded - total.tombstoned) for total in totals] == [
                (selected, selected)
            ]


def check_tables(stand: Stand) -> None:
    theirs = "user_id__api, account_id__api, recording_type__api, position__api, is_empty__api, gone_at__api"
    row = ("745249", 1, "COMPLIANCE", 3, True, "never")
    for table in ("company_recordings", "user_recordings"):
        assert set(stand.query(f"SELECT {theirs} FROM {table}")) == {row}
        other = "recording_id__api, dlt_load_id, dlt_id, call_id__api, xmin__api"
        assert set(stand.query(f"SELECT {other} FROM {table}")) == {(2, "4", "5", "6", 7)}
    view = "SELECT DISTINCT account_id, recording_type, user_id, score FROM current_recordings WHERE id < 3"
    assert sorted(stand.query(view)) == [("549825", "company", None, "1"), ("549825", "user", "7", "low")]
    users = (
        "SELECT id, account_id, gone_at, account_id__api, gone_at__api, dlt_load_id, position__api FROM users"
    )
    assert stand.query(users) == [("7", "549825", None, 8, "x", "y", 9)]
    items = (
        "user_id, position, extension, is_empty, user_id__api, is_empty__api, position__api, extension__api"
    )
    found = stand.query(f"SELECT {items} FROM users__extensions")
    assert found == [("7", 0, "101", None, "1", "true", "2", "3")]
