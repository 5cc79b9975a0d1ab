"""What the DAGs share: where to load, and credentials from Airflow's connections.

Airflow parses DAG files all the time, so the tasks import dlt and what needs it. This file is not a DAG; it
belongs in the DAG folder beside them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vbc_source import Target

PIPELINE = os.environ.get("VBC_PIPELINE", "vbc")
DESTINATION = os.environ.get("VBC_DESTINATION", "postgres")
DATASET = os.environ.get("VBC_DATASET", "vbc_data")
# windows loaded at the same time; they share the request budget
WORKERS = int(os.environ.get("VBC_BACKFILL_WORKERS", "8"))

EXTRA = ("client_id", "client_secret", "refresh_token", "access_token")


def connect() -> Target:
    """Put the settings where dlt finds them, and return where to load; call it before dlt is imported.

    Connection `vbc`, if there is one: login and password of the API user, in its extra fields `client_id`,
    `client_secret` and, for another gateway, `base_url`. Connection `vbc_destination`: the database, of type
    Postgres. Everything else comes from dlt's own settings, SOURCES__VBC__… and DESTINATION__… in the
    environment of the workers.
    """
    # otherwise dlt asks Airflow for each setting in each of its sections: thousands of requests
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    os.environ.update(read_connections())
    from vbc_source import Target

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
