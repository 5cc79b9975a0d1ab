"""The source in a dlt pipeline: limits, refresh, dev mode, schema contracts, lost folders, configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from expected_rows import ago, extract
from loading import assert_equal, credentials, load, open_pipeline, query, still_gateway

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.errors import VbcError
from vbc_source.load.failures import explaining

Serve = Callable[[Gateway], str]


@pytest.mark.slow
def test_every_recording_and_child_row_is_loaded_as_the_gateway_has_it(serve: Serve) -> None:
    gateway = still_gateway(recordings=3000)
    pipeline = open_pipeline()
    # selecting the resource brings its child tables
    load(pipeline, serve(gateway))
    assert len(gateway.company) > 2900
    assert_equal(pipeline, gateway)


def test_an_account_without_recordings_still_gets_its_tables(serve: Serve) -> None:
    pipeline = open_pipeline()
    load(pipeline, serve(still_gateway()))
    for table in ("company_recordings", "company_recordings__extensions", "company_recordings__rule_ids"):
        assert query(pipeline, f"SELECT count(*) FROM {table}") == [(0,)]
    assert query(pipeline, "SELECT total_items FROM scan_windows") == [(0,)]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("refresh", ["drop_sources", "drop_resources", "drop_data"])
def test_refresh_reads_the_whole_history_again(serve: Serve, refresh: Any) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    gateway.company.add(id=3, start=ago(days=200))
    pipeline.run(vbc_source(credentials=credentials(), base_url=url), refresh=refresh)
    assert_equal(pipeline, gateway)


@pytest.mark.slow
def test_dev_mode_loads_everything_again(serve: Serve) -> None:
    gateway = still_gateway(recordings=100)
    url = serve(gateway)
    for _ in range(2):
        pipeline = dlt.pipeline(
            "dev", destination=dlt.destinations.duckdb("dev_db.duckdb"), dataset_name="vbc", dev_mode=True
        )
        load(pipeline, url)
        assert_equal(pipeline, gateway)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_deleted_database_is_loaded_whole_again(serve: Serve, own_folder: Any) -> None:
    gateway = still_gateway(recordings=300)
    url = serve(gateway)
    load(open_pipeline(), url)
    (own_folder / "test_db.duckdb").unlink()
    load(open_pipeline(), url)
    assert_equal(open_pipeline(), gateway)


@pytest.mark.slow
def test_a_lost_working_folder_loses_nothing(serve: Serve, own_folder: Any) -> None:
    gateway = still_gateway(recordings=300)
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url)
    pipeline.drop()
    gateway.clear()
    load(open_pipeline(), url)
    assert gateway.count("company_call_recordings") == 1
    assert_equal(open_pipeline(), gateway)


def test_a_schedulers_interval_and_the_lookback_before_it_are_read_when_configured(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway()
    url, pipeline = serve(gateway), open_pipeline()
    monkeypatch.setenv("DLT_INTERVAL_START", "2026-03-05T00:00:00Z")
    monkeypatch.setenv("DLT_INTERVAL_END", "2026-03-06T00:00:00Z")
    extract(pipeline, url, "company_recordings", allow_external_schedulers=True, lookback_hours=24)
    (request,) = [request.query for request in gateway.requests if request.path != "/token"]
    assert (request["start:gte"], request["start:lte"]) == ("2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z")
    assert "resources" not in pipeline.state.get("sources", {}).get("vbc", {})
    gateway.clear()
    extract(pipeline, url, "company_recordings")
    (request,) = [request.query for request in gateway.requests if request.path != "/token"]
    assert request["start:gte"] < "2026-03-04"


def test_a_missing_scheduler_raises_an_error_that_names_the_settings(serve: Serve) -> None:
    with pytest.raises(VbcError, match="DLT_INTERVAL_START"), explaining():
        load(open_pipeline(), serve(still_gateway()), allow_external_schedulers=True)


def test_constructing_the_source_sends_nothing_and_needs_no_credentials() -> None:
    source = vbc_source(base_url="http://127.0.0.1:9")
    assert list(source.resources) == [
        *("company_recordings", "call_logs", "users", "extensions", "user_recordings", "export_jobs"),
    ]


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
