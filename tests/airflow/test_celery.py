"""The same DAG on Celery workers, with Redis between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checksums import checksum
from gateway_fixtures import Stage
from stack import BIN, Stack, free_port, redis_server, run_stack
from test_backfill_dag import SPAN, kill_one, load_in_sequence, two_years


@pytest.fixture
def celery(home: Path, environment: dict[str, str]) -> Iterator[Stack]:
    redis = redis_server()
    if not redis:
        pytest.skip("no redis-server here")
    port = free_port()
    worker = (BIN / "airflow", "celery", "worker", "--concurrency", "4", "--skip-serve-logs")
    further = [
        (redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"),
        (*worker, "--celery-hostname", "one@%h"),
        (*worker, "--celery-hostname", "two@%h"),
    ]
    with run_stack(
        home,
        environment,
        further,
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        AIRFLOW__CELERY__BROKER_URL=f"redis://127.0.0.1:{port}/0",
        AIRFLOW__CELERY__RESULT_BACKEND=f"db+{environment['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN']}",
    ) as stack:
        yield stack


def test_two_celery_workers_share_a_backfill_and_lose_nothing_when_a_task_is_killed(
    celery: Stack, stage: Stage, environment: dict[str, str], warehouse: str, dataset: str, tmp_path: Path
) -> None:
    two_years(stage, 8_000)
    run = celery.trigger("vbc_backfill", **SPAN)
    kill_one(celery, run, at_least=2)
    assert celery.finish("vbc_backfill", run) == "success"
    tasks = celery.tasks("vbc_backfill", run, "load_window")
    assert len(tasks) == 8
    load_in_sequence(environment, "vbc_sequential", tmp_path)
    assert checksum(warehouse, dataset) == checksum(warehouse, "vbc_sequential")
