"""What the DAGs share: where to load, credentials from Airflow's connections, retries and failures.

Airflow parses DAG files all the time, so the tasks import dlt and what needs it. This file is not a DAG; it
belongs in the folder of the DAG files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from vbc_connections import read_connections

if TYPE_CHECKING:
    from vbc_source import Target

PIPELINE = os.environ.get("VBC_PIPELINE", "vbc")
DESTINATION = os.environ.get("VBC_DESTINATION", "postgres")
DATASET = os.environ.get("VBC_DATASET", "vbc_data")
RESOURCES = [name for name in os.environ.get("VBC_RESOURCES", "").split(",") if name]
# windows loaded at the same time; they share the request budget
WORKERS = int(os.environ.get("VBC_BACKFILL_WORKERS", "8"))
# with the call logs, the nightly comparison asks whether every call was recorded
CALL_LOGS = os.environ.get("SOURCES__VBC__CALL_LOGS", "").lower() in ("true", "1")
# tasks that send requests run in this pool: one slot keeps the quota of one API user
POOL = os.environ.get("VBC_POOL", "default_pool")

RECORDINGS = Asset(f"vbc://{DESTINATION}/{DATASET}/recordings")  # new rows were loaded
MODELS = Asset(f"vbc://{DESTINATION}/{DATASET}/models")  # the models were rebuilt


def make_defaults(retries: int = 2, hours: float = 6) -> dict[str, Any]:
    """Return arguments of all tasks: retries with growing pauses, a time limit, a call after a failure."""
    return {
        "retries": retries,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=float(os.environ.get("VBC_TASK_HOURS", hours))),
        "on_failure_callback": report_failure,
    }


def shorten(names: Sequence[str]) -> list[str]:
    """Return what goes on to other tasks, as JSON: twenty names at most, and how many more the log has."""
    more = len(names) - 20
    return [*names[:20], *([f"{more} more, see the log"] if more > 0 else [])]


def report_failure(context: Any) -> None:
    """Call the function that VBC_ON_FAILURE names as `module:function`, with Airflow's context."""
    if name := os.environ.get("VBC_ON_FAILURE"):
        module, _, function = name.partition(":")
        getattr(import_module(module), function)(context)


@contextmanager
def connect(tenant: str | None = None) -> Iterator[Target]:
    """Put the settings where dlt finds them, and yield where to load; enter it before dlt is imported.

    Connection `vbc`, if there is one: login and password of the API user, in its extra fields `client_id`,
    `client_secret` and, for another gateway, `base_url`. Connection `vbc_NAME`: the same of a tenant.
    Connection `vbc_destination`: the database, of type Postgres. Everything else comes from dlt's own
    settings, SOURCES__VBC__… and DESTINATION__… in the environment of the workers.

    Raises:
        AirflowFailException: Another attempt would fail too: a setting, the login or a right is wrong.
    """
    # otherwise dlt asks Airflow for each setting in each of its sections: thousands of requests
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    os.environ.update(read_connections(DESTINATION, tenant))
    from airflow.sdk.exceptions import AirflowFailException

    from vbc_source import Target, VbcError, use_tenant

    place = Target(PIPELINE, DESTINATION, DATASET)
    try:
        own = use_tenant(tenant, default_destination=DESTINATION) if tenant else nullcontext(place)
        with own as target:
            yield target
    except VbcError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise
