"""Every ten minutes: load what is new, after what the last run left out."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from airflow.sdk import dag, task
from vbc_settings import connect

RESOURCES = [name for name in os.environ.get("VBC_RESOURCES", "").split(",") if name]


@dag(
    schedule="*/10 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # state is in the destination: one run loads all that was missed
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["vbc"],
)
def vbc_incremental() -> None:
    """Load new recordings; state is in the destination, so any worker continues where another ended."""

    @task
    def load() -> dict[str, int]:
        target = connect()
        from vbc_source import sync

        # what a killed run left on this worker's disk may be older than what another worker has loaded since
        result = sync(target, resources=RESOURCES, fresh=True)
        print(*result.summary(), sep="\n")
        return {name: getattr(result, name) for name in ("recordings", "windows", "users", "requests")}

    load()


vbc_incremental()
