"""The DAG files as Airflow reads them, all day: quickly, and without looking around."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from stack import DAGS

FILES = sorted(DAGS.glob("*_dag.py"))
OF_AIRFLOW = {"airflow", "croniter", "packaging", "sqlalchemy"}  # what defining a DAG imports by itself
READ = """
import json, socket, sys
import airflow.sdk
from importlib import import_module
from pathlib import Path
def refuse(*_):
    raise AssertionError("a DAG file looks around while it is parsed")
socket.socket.connect = refuse
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
module = import_module(sys.argv[2])
imported = {name.partition(".")[0] for name in set(sys.modules) - before}
own = {path.stem for path in Path(sys.argv[1]).iterdir()}
from airflow.sdk import DAG
(dag,) = [value for value in map(lambda make: make(), [getattr(module, sys.argv[2].removesuffix("_dag"))])]
print(json.dumps({
    "heavy": sorted({"dlt", "pyarrow", "pandas", "vbc_source"} & set(sys.modules)),
    "imported": sorted(imported - own - sys.stdlib_module_names),
    "tasks": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
    "mapped": sorted(task.task_id for task in dag.tasks if task.is_mapped),
    "retries": {task.task_id: task.retries for task in dag.tasks},
    "catchup": dag.catchup,
    "max_active_runs": dag.max_active_runs,
    "schedule": dag.timetable.summary if hasattr(dag.timetable, "summary") else str(dag.schedule),
    "cron": str(dag.schedule),
    "pools": {task.task_id: task.pool for task in dag.tasks},
    "outlets": {task.task_id: [asset.uri for asset in task.outlets] for task in dag.tasks if task.outlets},
    "pauses": {task.task_id: [task.retry_delay.total_seconds(), bool(task.retry_exponential_backoff),
               task.execution_timeout.total_seconds(), bool(task.on_failure_callback)] for task in dag.tasks},
}))
"""


@cache
def read_dag(name: str, pool: str = "default_pool", **environment: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "-c", READ, str(DAGS), name],
        env={**os.environ, "VBC_POOL": pool, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


def test_calls_are_reconciled_after_the_comparison_only_where_they_are_loaded() -> None:
    assert read_dag("vbc_verify_dag")["tasks"] == {"verify": []}
    found = read_dag("vbc_verify_dag", SOURCES__VBC__CALL_LOGS="true")
    assert found["tasks"] == {"verify": ["reconcile"], "reconcile": []}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_parsing_imports_nothing_heavy_and_connects_to_nothing(file: Any) -> None:
    dag = read_dag(file.stem)
    assert dag["heavy"] == []
    assert set(dag["imported"]) <= OF_AIRFLOW
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)
def test_each_file_is_small(file: Any) -> None:
    assert len(file.read_text().splitlines()) < 120


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_task_pauses_before_a_retry_and_has_a_time_limit_and_reports_failures(file: Any) -> None:
    assert set(map(tuple, read_dag(file.stem)["pauses"].values())) == {(60.0, True, 6 * 3600.0, True)}


def test_tasks_that_send_requests_run_in_the_pool_of_the_setting() -> None:
    pools = {file.stem: read_dag(file.stem, pool="vbc")["pools"] for file in FILES}
    assert pools == {
        "vbc_audio_dag": {"archive": "vbc"},
        "vbc_backfill_dag": {
            "init": "vbc",
            "plan": "default_pool",
            "load_window": "vbc",
            "finalize": "default_pool",
            "check": "default_pool",
        },
        "vbc_incremental_dag": {"load": "vbc", "publish": "default_pool", "check": "default_pool"},
        "vbc_models_dag": {"build": "default_pool"},
        "vbc_verify_dag": {"verify": "vbc"},
    }


def test_loads_tell_the_models_and_audio_that_there_are_new_recordings() -> None:
    recordings = "vbc://postgres/vbc_data/recordings"
    assert read_dag("vbc_incremental_dag")["outlets"] == {"publish": [recordings]}
    assert read_dag("vbc_backfill_dag")["outlets"] == {"finalize": [recordings]}
    for name in ("vbc_models_dag", "vbc_audio_dag"):
        assert recordings in read_dag(name)["schedule"] or "Asset" in read_dag(name)["schedule"]


def test_the_incremental_dag_runs_every_ten_minutes_and_retries() -> None:
    dag = read_dag("vbc_incremental_dag")
    assert (dag["cron"], dag["tasks"], dag["retries"]) == (
        "*/10 * * * *",
        {"load": ["check", "publish"], "publish": [], "check": []},
        {"load": 2, "publish": 2, "check": 2},
    )


def test_the_backfill_maps_windows_between_a_plan_and_a_count() -> None:
    dag = read_dag("vbc_backfill_dag")
    assert dag["tasks"] == {
        "init": ["plan"],
        "plan": ["load_window"],
        "load_window": ["finalize"],
        "finalize": ["check"],
        "check": [],
    }
    assert dag["mapped"] == ["load_window"]
    assert set(dag["retries"].values()) == {2}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_with_tenants_the_same_tasks_are_mapped_over_them(file: Any) -> None:
    if file.stem == "vbc_backfill_dag":  # its windows are mapped already: each tenant has a run
        dag = read_dag(file.stem, VBC_TENANTS="acme,globex")
        assert dag["tasks"] == {**read_dag(file.stem)["tasks"], "spread": ["start"], "start": []}
        assert dag["mapped"] == ["load_window", "start"]
        return
    alone, dag = read_dag(file.stem), read_dag(file.stem, VBC_TENANTS="acme,globex")
    assert set(dag["tasks"]) == {"tenants", *(f"tenant.{name}" for name in alone["tasks"])}
    assert set(dag["tasks"]["tenants"]) >= {
        f"tenant.{name}" for name in alone["tasks"] if name != "check"
    } - {"tenant.publish"}
    assert dag["heavy"] == []
    assert {f"tenant.{name}": pool for name, pool in alone["pools"].items()}.items() <= dag["pools"].items()


@pytest.mark.parametrize("folder", ["", "teams/telephony"], ids=["top", "below"])
def test_airflow_finds_every_dag_and_no_error(
    environment: dict[str, str], tmp_path: Path, folder: str
) -> None:
    shutil.copytree(DAGS, tmp_path / folder, dirs_exist_ok=True)
    script = (
        "import json, pathlib, sys; from airflow.dag_processing.dagbag import BundleDagBag; "
        "folder = sys.argv[1]; sys.path = [path for path in sys.path if path != ''] + [folder]; "
        "bag = BundleDagBag(folder, bundle_path=pathlib.Path(folder), bundle_name='dags'); "
        "print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, tmp_path], env=environment, capture_output=True, text=True, check=True
    )
    names, errors = json.loads(process.stdout.splitlines()[-1])
    dags = ["vbc_audio", "vbc_backfill", "vbc_incremental", "vbc_models", "vbc_verify"]
    assert (names, errors) == (dags, {})
