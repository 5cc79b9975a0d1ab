"""After each load that brought rows: rebuild the models."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone

from airflow.sdk import dag, task

sys.path.append(os.path.dirname(__file__))  # Airflow adds the top of the DAG folder only
from vbc_settings import MODELS, RECORDINGS, connect, make_defaults
from vbc_tenants import for_each_tenant


@dag(
    schedule=[RECORDINGS],
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=make_defaults(),
    tags=["vbc"],
)
def vbc_models() -> None:
    """Build the models of what is loaded, in duckdb or postgres."""

    @task(outlets=[MODELS])
    def build(tenant: str | None) -> None:
        with connect(tenant) as target:
            from vbc_source import VbcError, build_models

            result = build_models(target)
            print(*result.summary(), sep="\n")
            if not result.ok:
                failed = [f"{node.name}: {node.message}" for node in result.nodes if node.failed]
                raise VbcError(f"models failed: {'; '.join(failed)}")

    for_each_tenant(build)


vbc_models()
