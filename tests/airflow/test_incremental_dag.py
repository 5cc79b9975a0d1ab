"""The incremental DAG, run after run, over a gateway where recordings arrive late."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from checksums import held, ids
from conftest import execute
from gateway_fixtures import Stage
from stack import Stack, dlt_settings, run_dag, try_dag, wait_until

from vbc_source.emulator import Gateway


@contextmanager
def arriving(gateway: Gateway, seconds: float) -> Iterator[None]:
    """Have recordings appear all the time that began up to two days before, in no order."""
    chance, stopped = random.Random(1), threading.Event()

    def arrive() -> None:
        while not stopped.wait(seconds * chance.random() * 2):
            start = datetime.now(timezone.utc) - timedelta(hours=chance.uniform(0, 47))
            gateway.company.add(start=start.strftime("%Y-%m-%dT%H:%M:%S+0000"))

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def start_gateway(stage: Stage) -> Gateway:
    """A gateway with ten recordings that are not processed yet, though later ones are."""
    gateway = stage.start(recordings=3_000, users=3, user_recordings=100)
    for hours in range(1, 41, 4):
        start = datetime.now(timezone.utc) - timedelta(hours=hours)
        late = gateway.company.add(start=start.strftime("%Y-%m-%dT%H:%M:%S+0000"))
        gateway.company.hold(late["id"], float("inf"))
    return gateway


def assert_nothing_lost_or_doubled(gateway: Gateway, warehouse: str, dataset: str) -> None:
    assert ids(warehouse, dataset) == held(gateway)


@pytest.mark.parametrize("given_by", ["connections", "environment"])
def test_the_dag_runs_by_itself(
    alone: dict[str, str], stage: Stage, warehouse: str, dataset: str, given_by: str
) -> None:
    gateway = start_gateway(stage)
    if given_by == "environment":
        alone = {**alone, **dlt_settings(alone)}
        del alone["AIRFLOW_CONN_VBC"], alone["AIRFLOW_CONN_VBC_DESTINATION"]
    run_dag(alone, "vbc_incremental")
    assert_nothing_lost_or_doubled(gateway, warehouse, dataset)
    # a run that did no task would be a success too
    assert execute("SELECT count(*) FROM vbc_data._dlt_loads WHERE status = 0", warehouse) == [(1,)]


def test_audio_is_archived_once_it_is_loaded(
    alone: dict[str, str], stage: Stage, warehouse: str, dataset: str, tmp_path: Path
) -> None:
    gateway = stage.start(recordings=20)
    alone = {**alone, "SOURCES__VBC__AUDIO__BUCKET_URL": str(tmp_path / "bucket")}
    run_dag(alone, "vbc_incremental")
    run_dag(alone, "vbc_audio")
    files = [path for path in (tmp_path / "bucket").rglob("*") if path.suffix in (".mp3", ".wav")]
    assert len(files) == len(gateway.company)


def test_a_command_that_fails_fails_its_task(alone: dict[str, str], dataset: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_dag(alone, "vbc_audio")  # no bucket is configured


def test_what_a_retry_cannot_mend_fails_at_once_and_is_reported(
    alone: dict[str, str], stage: Stage, dataset: str, tmp_path: Path
) -> None:
    stage.start(recordings=1)
    (tmp_path / "site_alarm.py").write_text(
        "def ring(context):\n    open(__file__ + '.rang', 'a').write(context['ti'].task_id)\n"
    )
    connection = json.loads(alone["AIRFLOW_CONN_VBC"])
    connection["extra"]["client_id"] = 12345  # a number, as JSON allows
    broken = {
        **alone,
        "AIRFLOW_CONN_VBC": json.dumps({**connection, "password": "wrong"}),
        "VBC_ON_FAILURE": "site_alarm:ring",
        "PYTHONPATH": str(tmp_path),
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
    }
    process = try_dag(broken, "vbc_incremental")
    assert process.returncode != 0
    assert "AirflowFailException" in process.stdout + process.stderr
    assert (tmp_path / "site_alarm.py.rang").read_text() == "load"


def test_extra_fields_of_the_database_may_be_numbers_and_settings_of_airflow_itself(
    alone: dict[str, str], stage: Stage, warehouse: str, dataset: str
) -> None:
    gateway = stage.start(recordings=3)
    connection = {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "login": "postgres",
        "password": "p@ss:%/w",
        "schema": warehouse,
        "extra": {
            "connect_timeout": 10,
            "keepalives": 1,
            "options": "-c work_mem=8MB",
            "cursor": "dictcursor",
        },
    }
    run_dag({**alone, "AIRFLOW_CONN_VBC_DESTINATION": json.dumps(connection)}, "vbc_incremental")
    assert execute("SELECT count(*) FROM vbc_data.company_recordings", warehouse) == [(len(gateway.company),)]


def test_a_load_with_rows_rebuilds_the_models_and_one_without_does_not(
    local: Stack, stage: Stage, warehouse: str, dataset: str
) -> None:
    gateway = stage.start(recordings=30)
    local.pause("vbc_models", False)
    try:
        assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
        wait_until(lambda: "success" in local.runs("vbc_models"), "the models after a load")
        assert execute("SELECT count(*) FROM vbc_models.recordings", warehouse) == [(len(gateway.company),)]
        # the second load writes the recordings of the lookback once more
        assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
        wait_until(lambda: set(local.runs("vbc_models")) == {"success"}, "the models")
        built = len(local.runs("vbc_models"))
        run = local.trigger("vbc_incremental")
        assert local.finish("vbc_incremental", run) == "success"
        assert [task["state"] for task in local.tasks("vbc_incremental", run, "publish")] == ["skipped"]
        assert len(local.runs("vbc_models")) == built
    finally:
        local.pause("vbc_models", True)


def test_a_tenant_that_is_refused_stops_no_other(
    environment_of_tenants: dict[str, str], stage: Stage, warehouse: str, dataset: str
) -> None:
    gateway = stage.start(recordings=30)
    assert try_dag(environment_of_tenants, "vbc_incremental").returncode != 0
    for tenant in ("acme", "globex"):
        rows = f"SELECT count(*) FROM vbc_{tenant}.company_recordings"
        assert execute(rows, warehouse) == [(len(gateway.company),)]


@pytest.mark.long
def test_tenants_are_loaded_side_by_side_and_the_models_of_those_with_rows_follow(
    local_for_tenants: Stack, stage: Stage, warehouse: str, dataset: str
) -> None:
    """Three customers in one database: the models are built for those that were loaded."""
    stage.start(recordings=30)
    stack = local_for_tenants
    stack.pause("vbc_models", False)
    run = stack.trigger("vbc_incremental")
    assert stack.finish("vbc_incremental", run) == "failed"
    states = {
        (task["task_id"], task["map_index"]): task["state"] for task in stack.tasks("vbc_incremental", run)
    }
    for name in ("load", "publish", "check"):
        found = [states[f"tenant.{name}", index] for index in range(3)]
        assert found == ["success", "failed" if name == "load" else "upstream_failed", "success"]

    def are_built() -> bool:  # one run for both, or one for each: as their events arrive
        names = (
            "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'vbc_%_models' AND tablename = 'recordings'"
        )
        return execute(names, warehouse) == [(2,)]

    wait_until(are_built, "the models after a load")


def test_verification_fails_while_something_differs(
    alone: dict[str, str], stage: Stage, warehouse: str, dataset: str
) -> None:
    gateway = stage.start(recordings=20, days=200)
    run_dag(alone, "vbc_incremental")
    run_dag(alone, "vbc_verify")
    start = datetime.now(timezone.utc) - timedelta(days=100)
    gateway.company.add(start=start.strftime("%Y-%m-%dT%H:%M:%S+0000"))
    with pytest.raises(subprocess.CalledProcessError):
        run_dag(alone, "vbc_verify")


def test_eight_runs_while_recordings_arrive_late_lose_and_double_nothing(
    local: Stack, stage: Stage, warehouse: str, dataset: str
) -> None:
    """Back to back, to be quick; twenty by the clock in the test marked `long`."""
    gateway = start_gateway(stage)
    with arriving(gateway, 0.5):
        for turn in range(8):
            run = local.trigger("vbc_incremental")
            assert local.finish("vbc_incremental", run) == "success"
            if turn == 4:
                gateway.release()
    assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
    assert len(gateway.company) > 3_010
    assert_nothing_lost_or_doubled(gateway, warehouse, dataset)


def test_increments_and_a_backfill_at_once_double_nothing(
    local: Stack, stage: Stage, warehouse: str, dataset: str
) -> None:
    """Both write the same recordings at the same time: they merge in turns."""
    gateway = start_gateway(stage)
    today = datetime.now(timezone.utc)
    span = {
        "start_date": (today - timedelta(days=400)).strftime("%Y-%m-%d"),
        "end_date": (today + timedelta(days=1)).strftime("%Y-%m-%d"),
        "window_days": 50,
    }
    backfill = local.trigger("vbc_backfill", **span)
    for _ in range(3):
        assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
    assert local.finish("vbc_backfill", backfill) == "success"
    assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
    assert_nothing_lost_or_doubled(gateway, warehouse, dataset)


@pytest.mark.long
def test_twice_a_minute_for_ten_minutes(local: Stack, stage: Stage, warehouse: str, dataset: str) -> None:
    gateway = start_gateway(stage)
    began = time.monotonic()
    with arriving(gateway, 1):
        for turn in range(20):
            assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
            if turn == 10:
                gateway.release()
            time.sleep(max(0.0, began + 30 * (turn + 1) - time.monotonic()))
    assert time.monotonic() - began >= 600
    assert local.finish("vbc_incremental", local.trigger("vbc_incremental")) == "success"
    assert_nothing_lost_or_doubled(gateway, warehouse, dataset)
