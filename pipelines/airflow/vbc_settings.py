"""What the DAGs share: where to load, and credentials from Airflow's connections.

Airflow parses DAG files all day, so dlt and what needs it are imported inside tasks. This file is no
DAG itself; it stands in the DAG folder beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vbc_source.backfills.backfill import Target

PIPELINE = os.environ.get("VBC_PIPELINE", "vbc")
DESTINATION = os.environ.get("VBC_DESTINATION", "postgres")
DATASET = os.environ.get("VBC_DATASET", "vbc")
WORKERS = int(
    os.environ.get("VBC_BACKFILL_WORKERS", "8")
)  # windows at once; they share the budget of requests

EXTRA = ("client_id", "client_secret", "refresh_token", "access_token")


def connect() -> Target:
    """Have dlt find its settings, and say where to load; to be called before dlt is imported.

    Connection `vbc`, where there is one: login and password of the API user, and in its extra fields
    `client_id`, `client_secret` and, for another gateway, `base_url`. Connection `vbc_destination`: the
    database, of type Postgres. What they do not say comes from dlt's own settings, SOURCES__VBC__… and
    DESTINATION__… in the environment of the workers.
    """
    # else dlt asks Airflow for a variable for each setting in each of its sections: thousands of requests
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    os.environ.update(read_connections())
    from vbc_source.backfills.backfill import Target

    return Target(PIPELINE, DESTINATION, DATASET)


def read_connections() -> dict[str, str]:
    """Write Airflow's connections as dlt's environment variables."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    found: dict[str, str | None] = {}
    try:
        vbc = Connection.get("vbc")
        extra = vbc.extra_dejson
        given = {"username": vbc.login, "password": vbc.password, **{name: extra.get(name) for name in EXTRA}}
        found = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in given.items()}
        found["SOURCES__VBC__BASE_URL"] = extra.get("base_url")
    except AirflowNotFoundException:
        pass
    try:
        address = Connection.get("vbc_destination").get_uri()
        found[f"DESTINATION__{DESTINATION.upper()}__CREDENTIALS"] = address.replace(
            "postgres:", "postgresql:", 1
        )
    except AirflowNotFoundException:
        pass
    return {name: value for name, value in found.items() if value}


def run_vbc(*arguments: str) -> None:
    """Run a command of `vbc`; its status is the task's."""
    connect()
    place = ("--pipeline", PIPELINE, "--destination", DESTINATION, "--dataset", DATASET)
    subprocess.run([Path(sys.executable).with_name("vbc"), *arguments, *place], check=True)
