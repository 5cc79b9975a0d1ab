"""By hand: load a long span, its windows side by side on as many workers as there are.

Each step may be repeated at any time: a window that is loaded again changes nothing, and a run over the
same span loads only what is not proven complete. With VBC_TENANTS, a run that names no tenant starts one for
each.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

sys.path.append(os.path.dirname(__file__))  # Airflow adds the top of the DAG folder only
from vbc_settings import POOL, RECORDINGS, WORKERS, connect, make_defaults, shorten
from vbc_tenants import TENANTS, name_tenants


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=make_defaults(),
    params={
        "start_date": Param("2025-01-01", type="string", format="date", description="oldest start"),
        "end_date": Param("2025-12-31", type="string", format="date", description="newest start"),
        "tenant": Param(None, type=["null", "string"], description="one of many; else all of VBC_TENANTS"),
        "window_days": Param(30, type="integer", minimum=1, description="at most 1,024 windows a run"),
    },
    tags=["vbc"],
)
def vbc_backfill() -> None:
    """Make the tables, plan windows, load them, count, check."""

    @task(pool=POOL)
    def init(params: dict[str, Any] | None = None) -> list[str]:
        given = params or {}
        with connect(read_tenant(given)) as target:
            from vbc_source import prepare_backfill

            return prepare_backfill(target, read_span(given)[1])

    @task
    def plan(resources: list[str], params: dict[str, Any] | None = None) -> list[Any]:
        given = params or {}
        with connect(given["tenant"]) as target:
            from vbc_source import plan_backfill

            start, end = read_span(given)
            return list(plan_backfill(target, start, end, given["window_days"], resources))

    @task(pool=POOL, max_active_tis_per_dagrun=WORKERS)
    def load_window(window: Any, params: dict[str, Any] | None = None) -> Any:
        with connect((params or {})["tenant"]) as target:
            from vbc_source import load_window as load

            return load(target, window, WORKERS)

    @task(trigger_rule="none_failed", outlets=[RECORDINGS])  # also where no window was left to load
    def finalize(results: Any, params: dict[str, Any] | None = None, outlet_events: Any = None) -> Any:
        tenant = read_tenant(params or {})
        if tenant:
            outlet_events[RECORDINGS].extra = {"tenant": tenant}
        with connect(tenant) as target:
            from vbc_source import finish_backfill

            result = finish_backfill(target, list(results or ()))
            print(*result.summary(), sep="\n")
        left = {"gaps": shorten(result.gaps), "refused": shorten(result.refused)}
        return {**asdict(result), **left}

    @task
    def check(result: Any) -> None:
        """Fail for what is not proven or may not be read: the rest is loaded, and a retry changes nothing."""
        if not result["ok"]:
            raise AirflowFailException("; ".join([*result["refused"], *result["gaps"]]))

    check(finalize(load_window.expand(window=plan(init()))))
    if TENANTS:
        from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

        @task
        def spread(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            """Name a run for each tenant: Airflow maps no windows inside of mapped tenants."""
            given = params or {}
            return [] if given["tenant"] else [{**given, "tenant": name} for name in name_tenants()]

        start: Any = TriggerDagRunOperator.partial(
            task_id="start", trigger_dag_id="vbc_backfill", logical_date=None
        )
        start.expand(conf=spread())


def read_tenant(params: dict[str, Any]) -> str | None:
    """Return the tenant of a run; skip the tasks of one that starts a run for each."""
    tenant: str | None = params["tenant"]
    if TENANTS and not tenant:
        raise AirflowSkipException("each tenant has a run of its own")
    return tenant


def read_span(params: dict[str, Any]) -> tuple[datetime, datetime]:
    """Read the bounds of a run, as days in UTC; refuse them in the wrong order."""
    start, end = (
        datetime.fromisoformat(params[name]).replace(tzinfo=timezone.utc)
        for name in ("start_date", "end_date")
    )
    if start >= end:
        raise AirflowFailException(f"start_date {start:%Y-%m-%d} is not before end_date {end:%Y-%m-%d}")
    return start, end


vbc_backfill()
