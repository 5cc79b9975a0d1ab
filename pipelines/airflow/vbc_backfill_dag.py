"""By hand: load a long span, its windows side by side on as many workers as there are.

Each step may be repeated at any time: a window that is loaded again changes nothing, and a run over the
same span loads only what is not proven complete.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from airflow.sdk import Param, dag, task
from vbc_settings import WORKERS, connect


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    params={
        "start_date": Param("2025-01-01", type="string", format="date", description="oldest start"),
        "end_date": Param("2025-12-31", type="string", format="date", description="newest start"),
        "window_days": Param(30, type="integer", minimum=1, description="at most 1,024 windows a run"),
    },
    tags=["vbc"],
)
def vbc_backfill() -> None:
    """Make the tables, plan windows, load them, count."""

    @task
    def init(params: dict[str, Any] | None = None) -> list[str]:
        target = connect()
        from vbc_source import prepare_backfill

        return prepare_backfill(target, instant((params or {})["end_date"]))

    @task
    def plan(resources: list[str], params: dict[str, Any] | None = None) -> list[Any]:
        target, given = connect(), params or {}
        from vbc_source import plan_backfill

        start, end = instant(given["start_date"]), instant(given["end_date"])
        return list(plan_backfill(target, start, end, given["window_days"], resources))

    @task(max_active_tis_per_dagrun=WORKERS)
    def load_window(window: Any) -> Any:
        target = connect()
        from vbc_source import load_window as load

        return load(target, window, WORKERS)

    @task(trigger_rule="none_failed")  # also where no window was left to load
    def finalize(results: Any) -> Any:
        target = connect()
        from vbc_source import finish_backfill

        return asdict(finish_backfill(target, list(results or ())))

    finalize(load_window.expand(window=plan(init())))


def instant(day: str) -> datetime:
    """Return the first instant of a day in UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc)


vbc_backfill()
