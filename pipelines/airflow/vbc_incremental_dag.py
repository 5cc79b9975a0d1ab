"""Every ten minutes: load what is new, after what the last run left out."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import Any

from airflow.sdk import dag, task

sys.path.append(os.path.dirname(__file__))  # Airflow adds the top of the DAG folder only
from vbc_settings import POOL, RECORDINGS, RESOURCES, connect, make_defaults, shorten
from vbc_tenants import for_each_tenant


@dag(
    schedule="*/10 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,  # state is in the destination: one run loads all that was missed
    max_active_runs=1,
    default_args=make_defaults(),
    tags=["vbc"],
)
def vbc_incremental() -> None:
    """Load new recordings; state is in the destination, so any worker continues where another ended."""

    @task(pool=POOL)
    def load(tenant: str | None) -> dict[str, Any]:
        with connect(tenant) as target:
            from vbc_source import sync

            # what a killed run left on this worker's disk may be older than what another worker loaded
            result = sync(target, resources=RESOURCES, fresh=True)
            print(*result.summary(), sep="\n")
            counts = ("recordings", "loaded", "finished_earlier", "windows", "users", "requests")
            return {**{name: getattr(result, name) for name in counts}, "gaps": shorten(result.gaps)}

    @task(outlets=[RECORDINGS])
    def publish(tenant: str | None, result: dict[str, Any], outlet_events: Any = None) -> None:
        """Let what follows a load run; after a load without rows nothing has to."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not result["loaded"] and not result["finished_earlier"]:
            raise AirflowSkipException("nothing new was loaded")
        if tenant:
            outlet_events[RECORDINGS].extra = {"tenant": tenant}

    @task
    def check(result: dict[str, Any]) -> None:
        """Fail for windows that never add up at VBC: what could be proven is loaded, somebody has to look."""
        from airflow.sdk.exceptions import AirflowFailException

        if result["gaps"]:
            raise AirflowFailException(f"not proven complete: {', '.join(result['gaps'])}")

    def work(tenant: Any) -> None:
        result = load(tenant)
        publish(tenant, result)
        check(result)

    for_each_tenant(work)


vbc_incremental()
