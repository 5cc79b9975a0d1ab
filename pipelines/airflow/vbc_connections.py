"""Airflow's connections as dlt's settings.

This file is not a DAG; it belongs in the folder of the DAG files.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

EXTRA = ("client_id", "client_secret", "refresh_token", "access_token")
# extra fields that Airflow's Postgres hook reads itself: libpq refuses an address with them
OF_THE_HOOK = {
    *("iam", "aws_conn_id", "azure_conn_id", "cursor", "sqlalchemy_scheme", "sqlalchemy_query"),
    *("redshift", "redshift-serverless", "cluster-identifier", "workgroup-name"),
}


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
        found[f"DESTINATION__{destination.upper()}__CREDENTIALS"] = write_address(database)
    # JSON has numbers and booleans, the environment has texts
    return {name: write_text(value) for name, value in found.items() if value not in (None, "")}


def write_address(database: Any) -> str:
    """Write a Postgres connection for libpq: Airflow writes extra fields that are no texts as one JSON."""
    address = database.get_uri().partition("?")[0].replace("postgres:", "postgresql:", 1)
    extra = {
        name: write_text(value)
        for name, value in database.extra_dejson.items()
        if name not in OF_THE_HOOK and value not in (None, "")
    }
    return f"{address}?{urlencode(extra, quote_via=quote)}" if extra else address


def write_text(value: Any) -> str:
    """Write a value of JSON as a text."""
    return value if isinstance(value, str) else json.dumps(value)


def find_connection(name: str) -> Any:
    """Return one of Airflow's connections; None where there is none of this name."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(name)
    except AirflowNotFoundException:
        return None
