"""The source as a dlt user meets it: rows, cursor, backfills, and dlt's own habits."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from loading import assert_equal, credentials, load, open_pipeline, query, still_gateway

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.errors import VbcError
from vbc_source.load.failures import explaining
from vbc_source.load.sync import run_pipeline

Serve = Callable[[Gateway], str]


def ago(**span: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%S+0000")


def cursors(pipeline: dlt.Pipeline) -> dict[str, str]:
    state: dict[str, Any] = pipeline.state["sources"]["vbc"]["resources"]["company_recordings"]
    return state["cursors"]


def test_every_recording_and_child_row_lands_as_the_gateway_has_it(serve: Serve) -> None:
    gateway = still_gateway(recordings=3000)
    pipeline = open_pipeline()
    load(pipeline, serve(gateway))
    assert len(gateway.company) > 2900
    assert_equal(pipeline, gateway)


def test_times_are_instants_in_utc(serve: Serve) -> None:
    pipeline = open_pipeline()
    gateway = still_gateway()
    gateway.company.add(id=1, start="2026-01-01T05:30:00.250+05:30", end="2026-01-01T00:10:00Z")
    load(pipeline, serve(gateway), start_date="2025-01-01")
    found = query(pipeline, 'SELECT epoch_ms(start), epoch_ms("end") FROM company_recordings')
    assert found == [(1767225600250, 1767226200000)]
    types = query(
        pipeline,
        "SELECT DISTINCT data_type FROM information_schema.columns WHERE table_name = 'company_recordings' "
        "AND column_name IN ('start', 'end')",
    )
    assert types == [("TIMESTAMP WITH TIME ZONE",)]


def test_an_idle_run_is_one_list_request(serve: Serve) -> None:
    gateway = still_gateway(recordings=2000)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    gateway.clear()
    load(pipeline, url)
    assert [request.path for request in gateway.requests] == [
        "/t/vbc.prod/call_recording/api/accounts/self/company_call_recordings"
    ]
    assert_equal(pipeline, gateway)


def test_a_second_run_changes_nothing(serve: Serve) -> None:
    gateway = still_gateway(recordings=500)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    before = cursors(pipeline)
    load(pipeline, url)
    assert cursors(pipeline) == before
    assert_equal(pipeline, gateway)


def test_a_long_call_that_appears_behind_later_ones_is_loaded(serve: Serve) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), open_pipeline()
    gateway.company.add(id=5, start=ago(minutes=1), end=ago(seconds=30))
    load(pipeline, url)
    gateway.company.add(id=6, start=ago(hours=5), end=ago(hours=2))
    load(pipeline, url)
    assert query(pipeline, "SELECT count(*) FROM company_recordings WHERE id = 6") == [(1,)]
    assert_equal(pipeline, gateway)


def test_the_lookback_is_as_long_as_set(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
    gateway.company.add(id=1, start=ago(minutes=1), end=ago(seconds=30))
    load(pipeline, url)
    gateway.company.add(id=2, start=ago(hours=30), end=ago(hours=29))
    load(pipeline, url, lookback_hours=24)
    assert query(pipeline, "SELECT id FROM company_recordings") == [(1,)]
    load(pipeline, url, lookback_hours=36)
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(1,), (2,)]


def test_the_cursor_is_in_dlts_state_by_account_and_never_past_now(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
    gateway.company.add(id=1, start="2026-03-01T10:00:00+0000")
    gateway.company.add(id=2, start="2099-03-01T10:00:00+0000")
    load(pipeline, url)
    assert cursors(pipeline) == {"549825": "2026-03-01T10:00:00Z"}


def test_a_backfill_reads_its_span_and_leaves_state_alone(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
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


def test_an_earlier_start_date_reads_the_history_before_too(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
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


def test_a_changed_recording_is_as_the_gateway_has_it_after_the_next_run(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
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


def test_new_fields_become_columns_and_odd_values_are_kept_beside(serve: Serve) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
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


def test_an_account_without_recordings_still_gets_its_tables(serve: Serve) -> None:
    pipeline = open_pipeline()
    load(pipeline, serve(still_gateway()))
    for table in ("company_recordings", "company_recordings__extensions", "company_recordings__rule_ids"):
        assert query(pipeline, f"SELECT count(*) FROM {table}") == [(0,)]
    assert query(pipeline, "SELECT total_items FROM scan_windows") == [(0,)]


def test_what_was_proven_is_recorded_without_gaps(serve: Serve) -> None:
    gateway = still_gateway(recordings=2500)
    url, pipeline = serve(gateway), open_pipeline()
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
    pipeline = open_pipeline()
    load(pipeline, serve(first))
    load(pipeline, serve(second))
    counts = query(pipeline, "SELECT account_id, count(*) FROM company_recordings GROUP BY 1 ORDER BY 1")
    assert counts == [("549825", len(first.company)), ("777", len(second.company))]
    assert set(cursors(pipeline)) == {"549825", "777"}


def test_with_resources_brings_the_child_tables(serve: Serve) -> None:
    gateway = still_gateway(recordings=200)
    pipeline = open_pipeline()
    source = vbc_source(credentials=credentials(), base_url=serve(gateway))
    pipeline.run(source.with_resources("company_recordings"))
    assert_equal(pipeline, gateway)


def test_a_limit_takes_whole_windows_and_the_next_run_completes(serve: Serve) -> None:
    gateway = still_gateway(recordings=400)
    gateway.company.add(start=ago(hours=1))
    url, pipeline = serve(gateway), open_pipeline()
    source = vbc_source(credentials=credentials(), base_url=url, page_size=100)
    pipeline.run(source.with_resources("company_recordings").add_limit(1))
    loaded = query(pipeline, "SELECT count(*) FROM company_recordings")[0][0]
    children = query(
        pipeline,
        "SELECT count(*) FROM company_recordings "
        "WHERE id IN (SELECT recording_id FROM company_recordings__rule_ids)",
    )[0][0]
    assert 0 < loaded < len(gateway.company)
    assert children > loaded / 2
    load(pipeline, url)
    assert_equal(pipeline, gateway)


def test_a_run_that_ends_early_by_setting_goes_on_in_the_next(serve: Serve) -> None:
    gateway = still_gateway(recordings=1500)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url, rows_per_run=100)
    gateway.clear()
    load(pipeline, url, rows_per_run=100)
    assert_equal(pipeline, gateway)


@pytest.mark.parametrize(
    "refresh",
    [
        "drop_sources",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("drop_resources", "drop_data")),
    ],
)
def test_refresh_reads_the_whole_history_again(serve: Serve, refresh: Any) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    gateway.company.add(id=3, start=ago(days=200))
    pipeline.run(vbc_source(credentials=credentials(), base_url=url), refresh=refresh)
    assert_equal(pipeline, gateway)


def test_dev_mode_loads_everything_anew(serve: Serve) -> None:
    gateway = still_gateway(recordings=100)
    url = serve(gateway)
    for _ in range(2):
        pipeline = dlt.pipeline(
            "dev", destination=dlt.destinations.duckdb("dev_db.duckdb"), dataset_name="vbc", dev_mode=True
        )
        load(pipeline, url)
        assert_equal(pipeline, gateway)


def test_a_frozen_schema_refuses_a_new_column_and_loses_nothing(serve: Serve) -> None:
    gateway = still_gateway(recordings=100)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    gateway.company.add(id=3, start=ago(hours=1), surprise=True)
    source = vbc_source(credentials=credentials(), base_url=url)
    source.schema_contract = {"columns": "freeze"}
    with pytest.raises(PipelineStepFailed, match="surprise"):
        pipeline.run(source)
    load(pipeline, url)
    assert_equal(pipeline, gateway)
    assert query(pipeline, "SELECT surprise FROM company_recordings WHERE id = 3") == [(True,)]


def test_a_deleted_database_is_loaded_whole_again(serve: Serve, own_folder: Any) -> None:
    gateway = still_gateway(recordings=300)
    url = serve(gateway)
    load(open_pipeline(), url)
    (own_folder / "test_db.duckdb").unlink()
    load(open_pipeline(), url)
    assert_equal(open_pipeline(), gateway)


def test_a_lost_working_folder_costs_nothing(serve: Serve, own_folder: Any) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    pipeline.drop()
    gateway.clear()
    load(open_pipeline(), url)
    assert gateway.count("company_call_recordings") == 1
    assert_equal(open_pipeline(), gateway)


def test_a_schedulers_interval_is_taken_when_asked_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
    for day in range(1, 9):
        gateway.company.add(id=day, start=f"2026-03-0{day}T12:00:00+0000")
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-03-05T00:00:00Z")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-03-06T00:00:00Z")
    load(pipeline, url, allow_external_schedulers=True, lookback_hours=24)
    assert query(pipeline, "SELECT id FROM company_recordings ORDER BY id") == [(4,), (5,)]
    load(pipeline, url)
    assert query(pipeline, "SELECT count(*) FROM company_recordings") == [(8,)]


def test_a_missing_scheduler_is_told_with_what_to_do(serve: Serve) -> None:
    with pytest.raises(VbcError, match="DLT_INTERVAL_START"), explaining():
        load(open_pipeline(), serve(still_gateway()), allow_external_schedulers=True)


def test_constructing_the_source_sends_nothing_and_needs_no_credentials() -> None:
    source = vbc_source(base_url="http://127.0.0.1:9")
    assert list(source.resources) == [
        *("company_recordings", "users", "extensions", "user_recordings", "export_jobs"),
    ]


def test_a_forbidden_account_stops_the_run_or_is_skipped_as_set(serve: Serve) -> None:
    gateway = still_gateway(recordings=50)
    url, pipeline = serve(gateway), open_pipeline()
    with pytest.raises(VbcError, match="account 999"), explaining():
        load(pipeline, url, account_id=["999", "549825"])
    load(pipeline, url, account_id=["999", "549825"], on_forbidden="skip")
    assert_equal(pipeline, gateway)


@pytest.mark.parametrize(
    "prefix", ["/t/vbc.prod/call_recording/v1/api", "/t/vbc.prod/call_recording_india/api"]
)
def test_the_other_prefixes_load_alike(serve: Serve, prefix: str) -> None:
    gateway = still_gateway(recordings=50)
    pipeline = open_pipeline()
    load(pipeline, serve(gateway), recording_api=prefix)
    assert query(pipeline, "SELECT count(*) FROM company_recordings") == [(len(gateway.company),)]


def test_database_and_dataset_may_have_the_same_name(serve: Serve) -> None:
    gateway = still_gateway(recordings=50)
    pipeline = dlt.pipeline("vbc", destination="duckdb", dataset_name="vbc")
    url = serve(gateway)
    load(pipeline, url)
    load(pipeline, url)
    assert_equal(pipeline, gateway)
    assert len(pipeline.dataset().company_recordings.fetchall()) == len(gateway.company)


@pytest.mark.parametrize(
    "name",
    [
        *("page_size", "max_concurrency", "requests_per_minute", "rows_per_run", "lookback_hours"),
        *("start_date", "end_date", "account_id", "on_forbidden", "base_url", "retry_seconds"),
        "allow_external_schedulers",
    ],
)
def test_every_argument_is_configuration(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each is refused by its name when the environment holds nonsense for it."""
    monkeypatch.setenv(f"SOURCES__VBC__{name.upper()}", "-?-")
    with pytest.raises(VbcError, match=name), explaining():
        vbc_source()


@pytest.mark.parametrize("fails", [False, True])
def test_a_sync_leaves_pythons_garbage_collection_as_it_was(serve: Serve, fails: bool) -> None:
    gateway = still_gateway(recordings=20, faults=("no-rights",) if fails else ())
    source = vbc_source(credentials=credentials(), base_url=serve(gateway))
    before = gc.get_threshold()
    with pytest.raises(VbcError) if fails else nullcontext():
        run_pipeline(open_pipeline(), source.with_resources("company_recordings"))
    assert gc.get_threshold() == before
