"""Airflow's connections as dlt's settings.

This file is not a DAG; it belongs in the folder of the DAG files.
"""

from __future__ import annotations

import json
from typing import Any

EXTRA = ("client_id", "client_secret", "refresh_token", "access_token")


def read_connections(destination: str, tenant: str | None = None) -> dict[str, str]:
    """Write Airflow's connections as dlt's environment variables."""
    found: dict[str, Any] = {}
    sections = {"vbc": "SOURCES__VBC"}
    if tenant:
        sections[f"vbc_{tenant}"] = f"SOURCES__VBC__TENANTS__{tenant.upper()}"
    for name, section in sections.items():
        if vbc := find_connection(name):
            extra = vbc.extra_dejson
            given = {
                "username": vbc.login,
                "password": vbc.password,
                **{key: extra.get(key) for key in EXTRA},
            }
            found |= {f"{section}__CREDENTIALS__{key.upper()}": value for key, value in given.items()}
            found[f"{section}__BASE_URL"] = extra.get("base_url")
    if database := find_connection("vbc_destination"):
        address = database.get_uri().replace("postgres:", "postgresql:", 1)
        found[f"DESTINATION__{destination.upper()}__CREDENTIALS"] = address
    # JSON has numbers and booleans, the environment has texts
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value not in (None, "")
    }


def find_connection(name: str) -> Any:
    """Return one of Airflow's connections; None where there is none of this name."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        return None
