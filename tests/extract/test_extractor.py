"""Runs of company recordings: rows, cursors, backfills, and what a next run reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from expected_rows import ago
from extraction import Extraction, load
from gateway_fixtures import Seen, serve_bytes, write_answer, write_login
from loading import assert_equal, query, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import VbcError

Serve = Callable[[Gateway], str]


def cursors(pipeline: Extraction) -> dict[str, str]:
    state: dict[str, Any] = pipeline.state["sources"]["vbc"]["resources"]["company_recordings"]
    return state["cursors"]


def test_times_are_instants_in_utc(serve: Serve) -> None:
    pipeline = Extraction()
    gateway = still_gateway()
    gateway.company.add(id=1, start="2026-01-01T05:30:00.250+05:30", end="2026-01-01T00:10:00Z")
    load(pipeline, serve(gateway), start_date="2025-01-01")
    found = query(pipeline, 'SELECT epoch_ms(start), epoch_ms("end") FROM company_recordings')
    assert found == [(1767225600250, 1767226200000)]


def test_a_run_without_news_needs_one_list_request(serve: Serve) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url)
    gateway.clear()
    load(pipeline, url)
    assert [request.path for request in gateway.requests] == [
        "/t/vbc.prod/call_recording/api/accounts/self/company_call_recordings"
    ]
    assert_equal(pipeline, gateway)


def test_a_second_run_changes_nothing(serve: Serve) -> None:
    gateway = still_gateway(recordings=500)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url)
    before = cursors(pipeline)
    load(pipeline, url)
    assert cursors(pipeline) == before
    assert_equal(pipeline, gateway)


def test_a_long_call_that_appears_behind_later_ones_is_loaded(serve: Serve) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(id=5, start=ago(minutes=1), end=ago(seconds=30))
    load(pipeline, url)
    gateway.company.add(id=6, start=ago(hours=5), end=ago(hours=2))
    load(pipeline, url)
    assert query(pipeline, "SELECT count(*) FROM company_recordings WHERE id = 6") == [(1,)]
    assert_equal(pipeline, gateway)


def test_the_lookback_is_as_long_as_configured(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(id=1, start=ago(minutes=1), end=ago(seconds=30))
    load(pipeline, url)
    gateway.company.add(id=2, start=ago(hours=30), end=ago(hours=29))
    load(pipeline, url, lookback_hours=24)
    assert query(pipeline, "SELECT id FROM company_recordings") == [(1,)]
    load(pipeline, url, lookback_hours=36)
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (2,)]


def test_the_cursor_is_in_dlts_state_by_account_and_never_past_now(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(id=1, start="2026-03-01T10:00:00+0000")
    gateway.company.add(id=2, start="2099-03-01T10:00:00+0000")
    load(pipeline, url)
    assert cursors(pipeline) == {"549825": "2026-03-01T10:00:00Z"}


def test_a_backfill_reads_its_span_and_writes_no_state(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    for month in range(1, 7):
        gateway.company.add(id=month, start=f"2026-{month:02}-01T00:00:00+0000")
    load(pipeline, url, start_date="2026-02-01", end_date="2026-04-01T00:00:00Z")
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(2,), (3,), (4,)]
    assert "resources" not in pipeline.state.get("sources", {}).get("vbc", {})
    load(pipeline, url)
    before = pipeline.state["sources"]
    load(pipeline, url, start_date="2026-01-01", end_date="2026-02-01")
    assert pipeline.state["sources"] == before
    assert_equal(pipeline, gateway)


def test_an_earlier_start_date_reads_the_earlier_history(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(id=1, start=ago(days=800))
    gateway.company.add(id=2, start=ago(days=10))
    load(pipeline, url)
    assert query(pipeline, "SELECT id FROM company_recordings") == [(2,)]
    load(pipeline, url, start_date="2020-01-01")
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (2,)]
    gateway.clear()
    load(pipeline, url, start_date="2020-01-01")
    (request,) = gateway.requests
    assert request.query["start:gte"] > ago(days=13)


def test_a_changed_recording_is_updated_by_the_next_run(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(
        id=1, start=ago(hours=3), extensions=[101, 102, 103], rule_ids=[7, 8], cnam="JANE ROE"
    )
    gateway.company.add(id=2, start=ago(hours=2), extensions=[104], rule_ids=[9])
    load(pipeline, url)
    gateway.company.change(1, extensions=[103], rule_ids=[], cnam=None, file_name="renamed.mp3")
    gateway.company.change(2, extensions=None, rule_ids=[{}])
    load(pipeline, url)
    assert_equal(pipeline, gateway)
    assert query(pipeline, "SELECT extension FROM company_recordings__extensions") == [("103",)]
    assert query(pipeline, "SELECT count(*) FROM company_recordings__rule_ids") == [(0,)]


def test_new_fields_become_columns_and_values_of_other_types_become_variants(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), Extraction()
    gateway.company.add(id="17", start=ago(hours=3), caller_id="Anonymous", duration="unknown")
    load(pipeline, url)
    gateway.company.add(id=18, start=ago(hours=2), caller_id=12025550100, agentScore=3, tags={"vip": True})
    load(pipeline, url)
    gateway.company.add(id=19, start=ago(hours=1), agentScore="high", file_size_in_bytes=9_000_000_000)
    load(pipeline, url)
    found = query(
        pipeline,
        "SELECT id, duration__v_text, agent_score, agent_score__v_text, tags "
        "FROM company_recordings ORDER BY id",
    )
    assert found == [
        (17, "unknown", None, None, None),
        (18, None, 3, None, '{"vip":true}'),
        (19, None, None, "high", None),
    ]
    assert query(pipeline, "SELECT caller_id, file_size_in_bytes > 8e9 FROM company_recordings ORDER BY id")[
        0
    ] == (
        "Anonymous",
        False,
    )
    assert query(pipeline, "SELECT file_size_in_bytes FROM company_recordings WHERE id = 19") == [
        (9_000_000_000,)
    ]


def test_proven_windows_are_recorded_without_gaps(serve: Serve) -> None:
    gateway = still_gateway(recordings=2500)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, page_size=100)
    windows = query(
        pipeline,
        "SELECT window_start, window_end, total_items, rows_read FROM scan_windows ORDER BY window_start",
    )
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert all(rows >= total for *_, total, rows in windows)
    assert sum(total for *_, total, _ in windows) >= len(gateway.company)
    asked = query(pipeline, "SELECT sum(requests) FROM scan_windows")
    assert asked == [(gateway.count("company_call_recordings"),)]


def test_rows_never_carry_self_and_another_account_gets_its_own_history(serve: Serve) -> None:
    first, second = still_gateway(recordings=200), still_gateway(recordings=200, account_id="777", seed=2)
    pipeline = Extraction()
    load(pipeline, serve(first))
    load(pipeline, serve(second))
    counts = query(pipeline, "SELECT account_id, count(*) FROM company_recordings GROUP BY 1 ORDER BY 1")
    assert counts == [("549825", len(first.company)), ("777", len(second.company))]
    assert set(cursors(pipeline)) == {"549825", "777"}


def test_a_run_ended_by_rows_per_run_is_continued_by_the_next(serve: Serve) -> None:
    gateway = still_gateway(recordings=1500)
    url, pipeline = serve(gateway), Extraction()
    load(pipeline, url, rows_per_run=100)
    gateway.clear()
    load(pipeline, url, rows_per_run=100)
    assert_equal(pipeline, gateway)


def test_a_forbidden_account_stops_the_run_or_is_skipped_as_set(serve: Serve) -> None:
    gateway = still_gateway(recordings=50)
    url, pipeline = serve(gateway), Extraction()
    with pytest.raises(VbcError, match="account 999"):
        load(pipeline, url, account_id=["999", "549825"])
    load(pipeline, url, account_id=["999", "549825"], on_forbidden="skip")
    assert_equal(pipeline, gateway)


@pytest.mark.parametrize(
    "prefix", ["/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]
)
def test_the_other_api_paths_load_alike(serve: Serve, prefix: str) -> None:
    gateway = still_gateway(recordings=50)
    pipeline = Extraction()
    load(pipeline, serve(gateway), recording_api=prefix)
    assert query(pipeline, "SELECT count(*) FROM company_recordings") == [(len(gateway.company),)]


def test_windows_without_rows_and_links_are_proven_once_another_says_whose_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = (datetime.now(timezone.utc) - timedelta(days=90)).replace(microsecond=0)
    path = "/t/vbc.prod/call_recording/api/accounts/549825/company_call_recordings"
    starts = {id_: first + timedelta(days=60, hours=8 * id_) for id_ in range(1, 4)}

    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login("token")
        query = parse_qs(urlsplit(seen.path).query)
        lower, upper = (
            datetime.strptime(query[f"start:{bound}"][0].replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S%z")
            for bound in ("gte", "lte")
        )
        found = [id_ for id_, start in starts.items() if lower <= start <= upper]
        rows = [
            {"id": id_, "start": starts[id_].isoformat(), "_links": {"self": {"href": f"{path}/{id_}"}}}
            for id_ in found[:1]  # on every page: a window of several rows never adds up
        ]
        body = {"total_items": len(found), "page_size": 1}
        return write_answer(
            "200 OK", json.dumps(body | ({"_embedded": {"recordings": rows}} if rows else {})).encode()
        )

    pipeline = Extraction()
    with serve_bytes(answer) as server:
        load(pipeline, server.url, start_date=first.isoformat())
    windows = query(pipeline, "SELECT window_start, window_end FROM scan_windows ORDER BY window_start")
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (2,), (3,)]
    assert windows[0][0] == first
    assert all(end == start for (_, end), (start, _) in pairwise(windows))
    assert "does not say who it is" not in caplog.text
