"""Every night: compare what is loaded with what VBC has."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import dag, task
from vbc_settings import run_vbc


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
        run_vbc("verify")

    verify()


vbc_verify()
