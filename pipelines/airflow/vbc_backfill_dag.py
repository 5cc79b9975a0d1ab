"""By hand: load a long span, its windows side by side on as many workers as there are.

Each step may be repeated at any time: a window that is loaded again changes nothing, and a run over the
same span loads only what is not proven complete.
"""

from __future__ import annotations

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
        from vbc_source.backfills.backfill import prepare
        from vbc_source.windows import read_instant

        return prepare(target, read_instant((params or {})["end_date"]))

    @task
    def plan(resources: list[str], params: dict[str, Any] | None = None) -> list[Any]:
        target, given = connect(), params or {}
        from vbc_source.backfills.backfill import plan as plan_windows
        from vbc_source.windows import read_instant

        start, end = read_instant(given["start_date"]), read_instant(given["end_date"])
        return list(plan_windows(target, start, end, given["window_days"], resources))

    @task(max_active_tis_per_dagrun=WORKERS)
    def load_window(window: Any) -> Any:
        target = connect()
        from vbc_source.backfills.backfill import load_window as load

        return load(target, window, WORKERS)

    @task(trigger_rule="none_failed")  # where nothing was left to load, there is nothing to wait for
    def finalize(done: Any) -> Any:
        target = connect()
        from vbc_source.backfills.backfill import finish

        return finish(target, list(done or ()))

    finalize(load_window.expand(window=plan(init())))


vbc_backfill()
