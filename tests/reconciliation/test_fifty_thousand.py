"""Fifty thousand calls, a hundred and twenty gaps among them: all are found, none is invented."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from planting import expect_classes, plant_gaps
from test_reconcile import ago, classes, query
from verification_cases import configure

from vbc_source import reconcile, sync
from vbc_source.emulator import Gateway
from vbc_source.windows import format_instant


@pytest.mark.slow
def test_all_planted_gaps_are_found_among_fifty_thousand_calls(
    serve: Callable[[Gateway], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    clock = [began]
    gateway = Gateway(
        clock=lambda: clock[0], recordings=50_000, users=3, user_recordings=300, call_log_gaps=0
    )
    planted = plant_gaps(gateway, 24, ago(300), ago(4))
    held = {row["id"] for row in gateway.call_logs.all()}
    late = [
        row["call_id"] for row in gateway.company.all() if row["start"] > ago(1.5) and row["call_id"] in held
    ]
    for call in late:
        gateway.call_logs.hold(call, began + 3600)
    settings = {
        "SOURCES__VBC__CALL_LOGS": "true",
        "SOURCES__VBC__VBC_TIMEZONE": "Asia/Kolkata",
        "SOURCES__VBC__RETRY_SECONDS": "60",
    }
    for name, value in configure(serve(gateway), **settings).items():
        monkeypatch.setenv(name, value)
    for fault in (
        "wrong-totals*3@/call-logs",
        "truncated*2@/call-logs",
        "token-expired*1@/call-logs",
        "cap-700",
    ):
        gateway.fault(fault)
    assert sync().ok
    clock[0] += 7200  # the late logs appear, and are read by the lookback
    assert sync().ok
    first = reconcile()
    assert first.judged_until is not None
    found, expected = classes(first), expect_classes(gateway, format_instant(first.judged_until))
    for kind in ("missing", "unexpected", "length_differs", "without_call"):
        assert found[kind] == expected[kind] == planted[kind]
    # a call that ended after the judged span is not judged yet
    ended = expect_classes(gateway, format_instant(first.judged_until - timedelta(hours=4)))
    assert planted["not_flagged"] < ended["not_flagged"] <= found["not_flagged"] <= expected["not_flagged"]
    assert sum(map(len, planted.values())) == 120
    assert len(late) > 20
    [(legs, calls)] = query("SELECT count(*), count(DISTINCT id) FROM call_logs")
    assert (calls, legs > calls) == (first.calls, True)
    second = reconcile()
    assert (second.ok, second.new, second.closed, second.gaps) == (True, 0, 0, ())
