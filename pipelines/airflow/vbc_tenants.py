"""Tenants: with VBC_TENANTS in the environment, the DAGs map their tasks over many customers.

This file is not a DAG; it belongs in the folder of the DAG files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from airflow.sdk import task, task_group
from vbc_settings import connect

# names separated by commas, or `all` that the workers' settings have; without it there are no tenants
TENANTS = [name.strip() for name in os.environ.get("VBC_TENANTS", "").split(",") if name.strip()]


def for_each_tenant(work: Callable[[Any], Any]) -> None:
    """Add the tasks that `work` makes for a tenant, mapped over all; once, for None, without tenants.

    Tasks of a mapped group depend on those of their own tenant alone: one that fails stops no other.
    """
    if TENANTS:
        task_group(group_id="tenant")(work).expand(tenant=tenants())
    else:
        work(None)


@task  # type: ignore[untyped-decorator]
def tenants(triggering_asset_events: Any = None) -> list[str]:
    """Name the tenants whose loads have started this run; all where the clock or somebody has."""
    events = [event for found in (triggering_asset_events or {}).values() for event in found]
    if names := {event.extra["tenant"] for event in events if "tenant" in event.extra}:
        return sorted(names)
    return name_tenants()


def name_tenants() -> list[str]:
    """Name the tenants of VBC_TENANTS."""
    if TENANTS != ["all"]:
        return TENANTS
    with connect():
        from vbc_source import list_tenants

        return list_tenants()
