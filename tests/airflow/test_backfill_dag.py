"""Two years, windows side by side on real workers, some of which are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from checksums import checksum
from conftest import execute
from gateway_fixtures import Stage
from stack import BIN, ENDED, PATIENCE, Stack, dlt_settings, try_dag, wait_until

START, END, DAYS = "2024-06-01", "2026-05-31", 92  # two years in eight windows
SPAN = {"start_date": START, "end_date": END, "window_days": DAYS}


def two_years(stage: Stage, recordings: int) -> Any:
    """A gateway whose clock stands still after the span has ended."""
    from datetime import datetime, timezone

    until = datetime(2026, 6, 10, tzinfo=timezone.utc)
    now = until.timestamp() + 86_400
    return stage.start(
        seed=1,
        recordings=recordings,
        days=730,
        until=until,
        clock=lambda: now,
        users=3,
        user_recordings=recordings // 20,
    )


def load_in_sequence(environment: dict[str, str], dataset: str, folder: Path) -> None:
    """Load the same span at once, by one process, as `vbc sync` does."""
    arguments = ("--start-date", START, "--end-date", END, "--destination", "postgres", "--dataset", dataset)
    subprocess.run(
        [BIN / "vbc", "sync", *arguments, "--pipeline", "sequential"],
        env={**environment, **dlt_settings(environment)},
        cwd=folder,
        check=True,
        timeout=PATIENCE,
    )


def running(stack: Stack, run: str) -> list[dict[str, Any]]:
    found = stack.tasks("vbc_backfill", run, "load_window")
    return [each for each in found if each["state"] == "running" and each["pid"]]


def most_at_once(tasks: list[dict[str, Any]]) -> int:
    """How many tasks ran at the same time, counting the last try of each."""
    return max(
        sum(other["start_date"] <= each["start_date"] <= other["end_date"] for other in tasks)
        for each in tasks
    )


def kill_one(stack: Stack, run: str, at_least: int = 1) -> int:
    """Kill the process of a mapped task that is at work; gives its place in the map."""
    chance = random.Random(run)

    def kill() -> dict[str, Any] | None:
        victims = running(stack, run)
        if len(victims) < at_least:
            return None
        victim = chance.choice(victims)
        try:
            os.kill(victim["pid"], signal.SIGKILL)
        except ProcessLookupError:  # it ended since Airflow listed it
            return None
        return victim

    return int(wait_until(kill, "tasks at work")["map_index"])


def test_two_years_by_eight_tasks_at_once_one_of_them_killed_equal_a_sequential_load(
    local: Stack, stage: Stage, environment: dict[str, str], warehouse: str, dataset: str, tmp_path: Path
) -> None:
    two_years(stage, 50_000)
    run = local.trigger("vbc_backfill", **SPAN)
    killed = kill_one(local, run, at_least=2)
    assert local.finish("vbc_backfill", run) == "success"
    tasks = local.tasks("vbc_backfill", run, "load_window")
    assert len(tasks) == 8
    assert most_at_once(tasks) >= 4
    assert {each["state"] for each in tasks} == {"success"}
    assert next(each["try_number"] for each in tasks if each["map_index"] == killed) > 1
    load_in_sequence(environment, "vbc_sequential", tmp_path)
    expected = checksum(warehouse, "vbc_sequential")
    assert expected["company_recordings"][0] > 40_000
    assert checksum(warehouse, dataset) == expected
    # nothing of the windows is left but what they loaded
    staging = execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'vbc_stg%'", warehouse)
    assert staging == [(0,)]
    # a cleared task does its window again, and changes nothing
    asked = len(stage.current.requests)
    local.call(
        "POST",
        "dags/vbc_backfill/clearTaskInstances",
        dry_run=False,
        only_failed=False,
        dag_run_id=run,
        task_ids=[["load_window", 3]],
        include_downstream=True,
    )
    assert local.finish("vbc_backfill", run) == "success"
    assert len(stage.current.requests) > asked
    assert checksum(warehouse, dataset) == expected
    # another run over the same span finds every window proven, and loads none
    again = local.trigger("vbc_backfill", **SPAN)
    assert local.finish("vbc_backfill", again) == "success"
    assert {each["state"] for each in local.tasks("vbc_backfill", again, "load_window")} == {"skipped"}
    assert checksum(warehouse, dataset) == expected


def test_eight_tasks_at_once_lose_nothing_when_workers_die(
    local: Stack,
    stage: Stage,
    environment: dict[str, str],
    warehouse: str,
    dataset: str,
    tmp_path: Path,
) -> None:
    """Once in Airflow; several times, without it, in `tests/backfills/test_backfill.py`."""
    two_years(stage, 4_000)
    run = local.trigger("vbc_backfill", **SPAN)
    for _ in range(2):
        kill_one(local, run)
        time.sleep(1)  # not to be right: two kills at once would hit the same process
    assert local.finish("vbc_backfill", run) == "success"
    load_in_sequence(environment, "vbc_sequential", tmp_path)
    assert checksum(warehouse, dataset) == checksum(warehouse, "vbc_sequential")


@pytest.mark.long
def test_a_run_without_a_tenant_starts_one_for_each_and_one_that_fails_stops_no_other(
    local_for_tenants: Stack, stage: Stage, warehouse: str, dataset: str
) -> None:
    two_years(stage, 200)
    stack = local_for_tenants
    first = stack.trigger("vbc_backfill", **{**SPAN, "window_days": 400})
    assert stack.finish("vbc_backfill", first) == "success"
    states = {each["task_id"]: each["state"] for each in stack.tasks("vbc_backfill", first)}
    assert (states["init"], states["finalize"], states["start"]) == ("skipped", "skipped", "success")
    wait_until(lambda: set(runs := stack.runs("vbc_backfill")) <= ENDED and len(runs) == 4, "all runs")
    assert sorted(stack.runs("vbc_backfill")) == ["failed", "success", "success", "success"]
    expected = sum(START <= row["start"] < END for row in stage.current.company.all())
    for tenant in ("acme", "globex"):
        ((rows,),) = execute(f"SELECT count(*) FROM vbc_{tenant}.company_recordings", warehouse)
        assert rows == expected


def test_a_window_that_never_adds_up_fails_the_run_after_the_rest_is_loaded(
    alone: dict[str, str], stage: Stage, warehouse: str, dataset: str
) -> None:
    gateway = two_years(stage, 40)
    gateway.fault("wrong-totals*always@/company_call_recordings")
    process = try_dag(alone, "vbc_backfill", "--conf", json.dumps({**SPAN, "window_days": 800}))
    assert process.returncode != 0
    assert "does not add up" in process.stdout + process.stderr
    expected = sum(START <= row["start"] < END for row in gateway.company.all())
    assert execute("SELECT count(*) FROM vbc_data.company_recordings", warehouse) == [(expected,)]


def test_dates_in_the_wrong_order_are_refused(alone: dict[str, str], stage: Stage, dataset: str) -> None:
    gateway = stage.start(recordings=1)
    span = json.dumps({"start_date": "2025-02-01", "end_date": "2025-01-01", "window_days": 30})
    process = try_dag(alone, "vbc_backfill", "--conf", span)
    assert process.returncode != 0
    assert "start_date 2025-02-01 is not before end_date 2025-01-01" in process.stdout + process.stderr
    assert not gateway.requests
