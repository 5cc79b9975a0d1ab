"""The DAG files as Airflow reads them, all day: quickly, and without looking around."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from stack import DAGS

FILES = sorted(DAGS.glob("*_dag.py"))
READ = """
import json, socket, sys, time
import airflow.sdk
from importlib import import_module
def refuse(*_):
    raise AssertionError("a DAG file looks around while it is parsed")
socket.socket.connect = refuse
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
module = import_module(sys.argv[2])
seconds = time.perf_counter() - began
from airflow.sdk import DAG
(dag,) = [value for value in map(lambda make: make(), [getattr(module, sys.argv[2].removesuffix("_dag"))])]
print(json.dumps({
    "seconds": seconds,
    "heavy": sorted({"dlt", "pyarrow", "pandas", "vbc_source"} & set(sys.modules)),
    "tasks": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
    "mapped": sorted(task.task_id for task in dag.tasks if task.is_mapped),
    "retries": {task.task_id: task.retries for task in dag.tasks},
    "catchup": dag.catchup,
    "max_active_runs": dag.max_active_runs,
    "schedule": dag.timetable.summary if hasattr(dag.timetable, "summary") else str(dag.schedule),
    "cron": str(dag.schedule),
}))
"""


def read_dag(name: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "-c", READ, str(DAGS), name], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_parsing_is_quick_and_imports_no_dlt_and_connects_to_nothing(file: Any) -> None:
    dag = read_dag(file.stem)
    assert dag["heavy"] == []
    assert dag["seconds"] < 0.5
    assert dag["catchup"] is False
    assert dag["max_active_runs"] == 1


@pytest.mark.parametrize("file", [*FILES, DAGS / "vbc_settings.py"], ids=lambda file: file.stem)
def test_each_file_is_small(file: Any) -> None:
    assert len(file.read_text().splitlines()) < 80


def test_the_incremental_dag_runs_every_ten_minutes_and_retries() -> None:
    dag = read_dag("vbc_incremental_dag")
    assert (dag["cron"], dag["tasks"], dag["retries"]) == ("*/10 * * * *", {"load": []}, {"load": 2})


def test_the_backfill_maps_windows_between_a_plan_and_a_count() -> None:
    dag = read_dag("vbc_backfill_dag")
    assert dag["tasks"] == {
        "init": ["plan"],
        "plan": ["load_window"],
        "load_window": ["finalize"],
        "finalize": [],
    }
    assert dag["mapped"] == ["load_window"]
    assert set(dag["retries"].values()) == {2}


def test_airflow_finds_every_dag_and_no_error(environment: dict[str, str]) -> None:
    script = (
        "import json, pathlib; from airflow.dag_processing.dagbag import BundleDagBag; "
        f"bag = BundleDagBag({str(DAGS)!r}, bundle_path=pathlib.Path({str(DAGS)!r}), bundle_name='dags'); "
        "print(json.dumps([sorted(bag.dags), bag.import_errors]))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    names, errors = json.loads(process.stdout.splitlines()[-1])
    assert (names, errors) == (["vbc_audio", "vbc_backfill", "vbc_incremental", "vbc_verify"], {})
