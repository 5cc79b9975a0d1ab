"""Every night: compare what is loaded with what VBC has, and calls with recordings where both are loaded."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone

from airflow.sdk import dag, task

sys.path.append(os.path.dirname(__file__))  # Airflow adds the top of the DAG folder only
from vbc_settings import CALL_LOGS, POOL, connect, make_defaults
from vbc_tenants import for_each_tenant


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=make_defaults(retries=1),
    tags=["vbc"],
)
def vbc_verify() -> None:
    """Fail, and so raise an alarm, while something differs."""

    @task(pool=POOL)
    def verify(tenant: str | None) -> None:
        with connect(tenant) as target:
            from airflow.sdk.exceptions import AirflowFailException

            from vbc_source import verify as compare

            result = compare(target)
            print(*result.summary(), sep="\n")
            if not result.ok:
                raise AirflowFailException("what is loaded differs from what VBC has, see the log")

    @task
    def reconcile(tenant: str | None) -> None:
        with connect(tenant) as target:
            from airflow.sdk.exceptions import AirflowFailException

            from vbc_source import reconcile as compare_calls

            result = compare_calls(target)
            print(*result.summary(), sep="\n")
            if not result.ok:
                raise AirflowFailException("calls that VBC says were recorded have no recording, see the log")

    def compare_all(tenant: str | None) -> None:
        compared = verify(tenant)
        if CALL_LOGS:
            compared >> reconcile(tenant)

    for_each_tenant(compare_all)


vbc_verify()
