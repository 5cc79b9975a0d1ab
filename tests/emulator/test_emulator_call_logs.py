"""Call logs: consistent with the recordings, in pages, with the faults of other lists."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timezone
from typing import Any

import pytest
from emulator_client import NOON, Client, Clock, Serve

LOGS = "/t/vbc.prod/reports/accounts/549825/call-logs"
SPAN = {"start:gte": "2000-01-01 00:00:00", "start:lte": "2100-01-01 00:00:00"}


@pytest.fixture(scope="module")
def shared(serve_module: Serve) -> Client:
    until = datetime.fromtimestamp(NOON - 86_400, timezone.utc)
    return serve_module(recordings=450, users=20, user_recordings=60, until=until, call_log_gaps=0.02)


def _get(client: Client, **params: object) -> Any:
    return client.get_list(LOGS, **{**SPAN, **params})


def _rows(client: Client, **params: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _get(client, **{"page_size": 1000, **params}).json()["_embedded"][
        "call_logs"
    ]
    return rows


def test_logs_have_every_kind_of_call_and_the_ids_of_the_recordings(shared: Client) -> None:
    gateway, legs = shared.gateway, defaultdict(list)
    for row in gateway.call_logs.all():
        legs[row["id"]].append(row)
    users = gateway.users
    recorded = {row["call_id"] for row in gateway.company.all()}
    recorded |= {row["call_id"] for user in users.ids() for row in users.recordings(user).all()}
    flagged = {id_ for id_, rows in legs.items() if any(row["recorded"] for row in rows)}
    assert recorded <= legs.keys()
    assert min(len(flagged - recorded), len(recorded - flagged)) > 0
    assert len(flagged & recorded) > 400
    assert {row["result"] for rows in legs.values() for row in rows} == {"Answered", "Missed", "Voicemail"}
    assert {row["direction"] for rows in legs.values() for row in rows} == {"Inbound", "Outbound"}
    assert any(len({row["direction"] for row in rows}) == 2 for rows in legs.values())  # internal
    assert any(len({row["start"] for row in rows}) == 2 for rows in legs.values())  # transferred
    assert any({row["recorded"] for row in rows} == {True, False} for rows in legs.values())


def test_pages_hold_each_leg_once_and_dates_and_filters_select(shared: Client) -> None:
    every = shared.gateway.call_logs.all()
    body = _get(shared).json()
    assert [body[name] for name in ("page", "page_size", "total_items")] == [1, 10, len(every)]
    assert len(every) < 1000
    assert sorted(map(repr, _rows(shared))) == sorted(map(repr, every))
    assert len(_rows(shared, page=len(every) // 100 + 1, page_size=100)) == len(every) % 100
    first, last = sorted(row["start"] for row in every)[20:60:39]
    inside = [row for row in every if first <= row["start"] <= last]
    assert len(_rows(shared, **{"start:gte": first, "start:lte": last})) == len(inside) >= 40
    ended = [row for row in every if first <= row["end"] <= last]
    assert len(_rows(shared, **{"end:gte": first, "end:lte": last})) == len(ended)
    for name in ("direction", "from", "source_user"):
        value = next(row[name] for row in every if row[name])
        expected = [row for row in every if row[name] == value]
        assert len(_rows(shared, **{name: value})) == len(expected)


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"start:gte": None}, "start:gte"),
        ({"start:lte": None}, "start:lte"),
        ({"start:gte": "2025-01-01T00:00:00Z"}, "start:gte"),
        ({"direction": "INBOUND"}, "direction"),
        ({"page_size": 0}, "page_size"),
    ],
)
def test_an_invalid_parameter_is_named(shared: Client, params: dict[str, Any], name: str) -> None:
    response = _get(shared, **params)
    assert (response.status_code, response.json()["invalid_parameters"][0]["name"]) == (400, name)


def test_self_and_foreign_accounts_are_refused(shared: Client) -> None:
    assert shared.get_list(LOGS.replace("549825", "self"), **SPAN).status_code == 400
    assert shared.get_list(LOGS.replace("549825", "1"), **SPAN).status_code == 403


def test_logs_appear_minutes_after_the_call(serve: Serve) -> None:
    clock = Clock()
    client = serve(clock)
    client.gateway.company.add(
        call_id="c1", call_direction="INBOUND", start="2025-06-18T11:50:00Z", duration=300_000
    )
    assert "c1" not in {row["id"] for row in _rows(client)}
    clock.now += 60  # five minutes of talk, then eight to thirteen until it is listed
    assert "c1" not in {row["id"] for row in _rows(client)}
    clock.now += 840
    assert "c1" in {row["id"] for row in _rows(client)}


def test_a_test_can_plant_gaps_and_faults_apply(serve: Serve) -> None:
    client = serve(recordings=30)
    logs = client.gateway.call_logs
    added = logs.add(recorded=True, result="Answered", length=60)
    logs.add(added["id"], recorded=False, length=5)
    assert [row["length"] for row in _rows(client) if row["id"] == added["id"]] in ([60, 5], [5, 60])
    logs.change(added["id"], recorded=False, start="2020-01-01 00:00:00")
    assert [row["recorded"] for row in _rows(client)[-2:]] == [False, False]
    logs.hold(added["id"], NOON + 60)
    assert added["id"] not in {row["id"] for row in _rows(client)}
    logs.delete(added["id"])
    total = len(logs)
    for spec in ("cap-7", "wrong-totals", "new-field", "odd-times"):
        client.gateway.fault(spec)
    body = _get(client, page_size=100).json()
    assert (len(body["_embedded"]["call_logs"]), body["total_items"]) == (7, total + 1)
    assert "sentiment" in body["_embedded"]["call_logs"][0]
    client.gateway.heal()
    client.gateway.fault("arrivals")
    assert [_get(client).json()["total_items"] for _ in range(2)] == [total + 1, total + 2]
    client.gateway.heal()
    client.gateway.fault("unsubscribed@/reports/")
    assert _get(client).status_code == 403
