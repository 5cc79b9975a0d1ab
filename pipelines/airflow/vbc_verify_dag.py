"""Every night: compare what is loaded with what VBC has."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import dag, task
from vbc_settings import connect


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["vbc"],
)
def vbc_verify() -> None:
    """Fail, and so raise an alarm, while something differs."""

    @task
    def verify() -> None:
        target = connect()
        from vbc_source import VbcError
        from vbc_source import verify as compare

        result = compare(target)
        print(*result.summary(), sep="\n")
        if not result.ok:
            raise VbcError("what is loaded differs from what VBC has, see the log")

    verify()


vbc_verify()
