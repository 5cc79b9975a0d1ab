"""Call logs: legs are distinguished, pages of them add up, and and none is requested without the setting."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from expected_rows import MAIN, state
from extraction import Extraction, load, make_resources
from loading import still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import NotSubscribed, SettingsError
from vbc_source.filters import CALL_LOG_FILTERS, check_filters
from vbc_source.pii import PiiPolicy
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import CALL_LOG
from vbc_source.schema.tables import build_table

Serve = Callable[[Gateway], str]
Row = dict[str, Any]

LOG: Row = {
    "id": "f27b937d-6dde-441a-9595-006e7302eac1",
    "in_network": True,
    "international": False,
    "from": 17325550100,
    "to": "17325550101",
    "direction": "Inbound",
    "length": 60,
    "start": "2019-01-01 00:00:00",
    "end": "2019-01-01 00:01:00",
    "charge": 0,
    "rate": 0.02,
    "destination_device_name": "Smith",
    "destination_user_full_name": "John Smith",
    "destination_user": "JSmith",
    "destination_sip_id": "VH1111111",
    "destination_extension": 1000,
    "source_device_name": None,
    "source_user_full_name": None,
    "source_user": None,
    "custom_tag": "Sales",
    "source_sip_id": None,
    "source_extension": None,
    "result": "Answered",
    "recorded": True,
}
PERSONAL = {
    "from",
    "to",
    "custom_tag",
    "destination_device_name",
    "destination_user_full_name",
    "destination_user",
}


def build(*pages: list[Row], **privacy: Any) -> list[Row]:
    """Build the table of a window's pages."""
    bodies = [json.dumps({"total_items": 9, "_embedded": {"call_logs": rows}}).encode() for rows in pages]
    read = [read_page(body, CALL_LOG).rows for body in bodies]
    table = build_table(read, {"account_id": "1"}, lambda _: None, CALL_LOG, PiiPolicy(**privacy))
    assert [field.name for field in table.schema if not field.nullable] == ["account_id", "leg", "id"]
    rows: list[Row] = table.to_pylist()
    return rows


def test_a_documented_log_becomes_typed_columns() -> None:
    (row,) = build([{**LOG, "queue": "sales"}])
    start = datetime(2019, 1, 1, tzinfo=timezone.utc)
    texts = {"from": "17325550100", "destination_extension": "1000", "charge": 0.0, "queue": "sales"}
    times = {"start": start, "end": start + timedelta(minutes=1)}
    assert row == {**LOG, **texts, **times, "account_id": "1", "leg": row["leg"]}
    assert len(row["leg"]) == 16


def test_numbers_and_names_are_hashed_or_dropped_and_the_leg_stays() -> None:
    (kept,) = build([LOG])
    (dropped,) = build([LOG], mode="drop")
    (hashed,) = build([LOG], mode="hash", key=b"k" * 16)
    changed = {name for name in kept if dropped[name] != kept[name]}
    assert changed == {name for name in kept if hashed[name] != kept[name]} == PERSONAL
    assert all(dropped[name] is None and len(hashed[name]) == 64 for name in PERSONAL)


def test_legs_are_distinguished_by_what_does_not_change() -> None:
    rings = {**LOG, "length": 0, "result": "Missed", "recorded": False, "destination_extension": 1001}
    later = {**LOG, "start": "2019-01-01 00:00:09"}
    first = {row["leg"]: row["length"] for row in build([LOG, rings, later])}
    # the length was corrected, and the rows stand on two pages, one of them on both
    again = {row["leg"]: row["length"] for row in build([{**LOG, "length": 61}, later], [rings, later])}
    assert (len(first), first.keys()) == (3, again.keys())
    assert sorted(again.values()) == [0, 60, 61]


def test_legs_that_differ_in_their_length_alone_are_numbered_in_the_same_order_on_any_page() -> None:
    short, long = {**LOG, "length": 5}, {**LOG, "length": 50}
    orders = [[[short, long]], [[long, short]], [[short], [long]], [[long], [short, long]]]
    built = [{row["leg"]: row["length"] for row in build(*pages)} for pages in orders]
    assert built == built[:1] * 4
    assert sorted(built[0].values()) == [5, 50]


def plant_twins(gateway: Gateway) -> None:
    """Add legs of one second, some of them equal, more than fit a page."""
    logs = gateway.call_logs
    call = logs.add(start="2026-01-05 10:00:00", length=30, result="Answered")
    for _ in range(4):
        logs.add(**call)
    logs.add(**{**call, "length": 31})


def rows_of(extraction: Extraction) -> list[tuple[Any, ...]]:
    names = ("id", "start", "direction", "length", "destination_extension", "result", "recorded")
    rows = extraction.tables["call_logs"]
    assert len({row["leg"] for row in rows}) == len(rows)
    return sorted((*(row[name] for name in names),) for row in rows)


def expected_rows(gateway: Gateway) -> list[tuple[Any, ...]]:
    rows = []
    for row in gateway.call_logs.all():
        start = datetime.fromisoformat(row["start"]).replace(tzinfo=timezone.utc)
        extension = None if row["destination_extension"] is None else str(row["destination_extension"])
        rest = (row["direction"], row["length"], extension, row["result"], row["recorded"])
        rows.append((row["id"], start, *rest))
    return sorted(rows)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(("cap-7",), marks=pytest.mark.slow),
        pytest.param(("cap-quiet-7", "page-base-0"), marks=pytest.mark.slow),
        ("cap-20", "random-order", "wrong-totals*3@/call-logs"),
        ("refuse-page-size", "empty-404", "no-embedded", "no-total-pages", "missing-totals*2@/call-logs"),
        ("new-field", "truncated*2@/call-logs", "token-expired*1@/call-logs"),
    ],
)
@pytest.mark.usefixtures("quick_retries")
def test_all_legs_are_loaded_whatever_the_gateway_does(serve: Serve, faults: tuple[str, ...]) -> None:
    gateway = still_gateway(recordings=60, days=30)
    plant_twins(gateway)
    extraction, url = Extraction(), serve(gateway)
    for fault in faults:
        gateway.fault(fault)
    load(extraction, url, "call_logs", start_date="2025-12-01")
    windows = extraction.tables["scan_windows"]
    assert all(row["is_proven"] and row["resource"] == "call_logs" for row in windows)
    expected = [row for row in expected_rows(gateway) if row[1].year > 2025 or row[1].month == 12]
    assert rows_of(extraction) == expected
    assert sum(row["rows_loaded"] for row in windows) == len(expected)


def test_logs_that_come_late_are_read_by_the_next_run_which_changes_nothing_else(serve: Serve) -> None:
    gateway = still_gateway(recordings=50, days=20)
    late = [row["id"] for row in gateway.call_logs.all()][:1]
    gateway.call_logs.hold(late[0], 1e12)
    extraction, url = Extraction(), serve(gateway)
    load(extraction, url, "call_logs")
    before = rows_of(extraction)
    gateway.call_logs.hold(late[0], 0)
    load(extraction, url, "call_logs")
    after = rows_of(extraction)
    assert {row[0] for row in after} - {row[0] for row in before} == set(late)
    assert after == expected_rows(gateway)
    assert set(state(extraction, "call_logs")["cursors"]) == {MAIN}


def test_the_span_is_written_as_documented_and_self_is_resolved_once(serve: Serve) -> None:
    gateway = still_gateway(recordings=3)
    load(Extraction(), serve(gateway), "call_logs", call_log_filters={"direction": "Inbound"})
    paths = [request.path for request in gateway.requests if request.path != "/token"]
    assert [path.rsplit("/", 1)[1] for path in paths] == ["company_call_recordings", "call-logs"]
    query = gateway.requests[-1].query
    assert set(query) == {"start:gte", "start:lte", "page", "page_size", "direction"} or "page" not in query
    for bound in ("start:gte", "start:lte"):
        datetime.strptime(query[bound], "%Y-%m-%d %H:%M:%S")
    assert f"/accounts/{MAIN}/call-logs" in paths[-1]


def test_filters_of_the_reports_api_have_cursors_and_proofs_of_their_own(serve: Serve) -> None:
    gateway = still_gateway(recordings=40)
    extraction, url = Extraction(), serve(gateway)
    load(
        extraction, url, "call_logs", call_log_filters={"direction": "Outbound"}, filters={"duration:gte": 1}
    )
    (label,) = {row["filters"] for row in extraction.tables["scan_windows"]}
    assert label.startswith("direction#")
    assert {row["direction"] for row in extraction.tables["call_logs"]} == {"Outbound"}
    with pytest.raises(SettingsError, match="call_log_filters: direction must be one of Inbound, Outbound"):
        check_filters({"direction": "INBOUND"}, setting=CALL_LOG_FILTERS)
    ended = check_filters({"end:gte": "2025-01-31T08:00:00+01:00"}, setting=CALL_LOG_FILTERS)
    assert ended.params == {"end:gte": "2025-01-31 07:00:00"}


def test_call_logs_cost_no_request_unless_the_setting_asks_for_them(serve: Serve) -> None:
    gateway = still_gateway(recordings=5, users=2)
    url = serve(gateway)
    for enabled in (False, True):
        gateway.clear()
        resources = make_resources(url, extraction := Extraction(), call_logs=enabled)
        extraction.run(resources, *(e.name for e in resources.readers if resources.is_selected(e)))
        assert (gateway.count("/reports/") > 0, "call_logs" in extraction.tables) == (enabled, enabled)


def test_without_the_subscription_one_line_says_what_to_do(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = still_gateway(recordings=5)
    url = serve(gateway)
    gateway.fault("unsubscribed*always@/reports/")
    with pytest.raises(NotSubscribed) as refused:
        load(Extraction(), url, "call_logs")
    text = str(refused.value)
    assert f"Reports API, call logs of account {MAIN}" in text
    assert "subscribe it in the developer portal" in text
    assert text.endswith("or do without the calls: set call_logs = false in [sources.vbc]")
    extraction = Extraction()
    load(extraction, url, "company_recordings", "call_logs", on_forbidden="skip")
    assert len(extraction.tables["company_recordings"]) == 5
    assert "left out, since on_forbidden = skip: Reports API" in caplog.text
    assert extraction.metrics["call_logs"]["forbidden"] == [f"account {MAIN}"]
    (left_out,) = extraction.tables["user_access"]
    assert (left_out["resource"], left_out["access"], left_out["detail"]) == (
        "call_logs",
        "forbidden",
        "HTTP 403",
    )
    gateway.heal()
    load(extraction, url, "call_logs", on_forbidden="skip")
    (allowed,) = extraction.tables["user_access"]
    assert allowed["access"] == "allowed"
