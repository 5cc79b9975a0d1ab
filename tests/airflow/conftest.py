"""An Airflow home and database of this run's own, and an emulated gateway that tests exchange."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from gateway_fixtures import Stage, serve_gateways
from loading import LOGIN
from stack import BIN, DAGS, Stack, run_stack

DATABASE = "postgresql://postgres:x@127.0.0.1:5432"  # trusted: any password
SUFFIX = uuid.uuid4().hex[:8]


def execute(sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
    """Run a statement in PostgreSQL by itself."""
    connection = psycopg2.connect(f"{DATABASE}/{database}")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with serve_gateways() as stage:
        yield stage


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="session")
def warehouse() -> Iterator[str]:
    """A database that the DAGs load into."""
    name = f"airflow_test_vbc_{SUFFIX}"
    execute(f"CREATE DATABASE {name}")
    yield name
    execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def with_metadata(environment: dict[str, str], name: str) -> Iterator[dict[str, str]]:
    """This environment with an Airflow database of its own."""
    database = f"airflow_test_{name}_{SUFFIX}"
    execute(f"CREATE DATABASE {database}")
    address = f"{DATABASE.replace('postgresql', 'postgresql+psycopg2')}/{database}"
    environment = {**environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address}
    try:
        subprocess.run([BIN / "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
        yield environment
    finally:
        execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="session")
def environment(home: Path, stage: Stage, warehouse: str) -> Iterator[dict[str, str]]:
    """The environment of every component."""
    login = {**LOGIN, "base_url": stage.base_url}
    connection = {
        "conn_type": "http",
        "login": login.pop("username"),
        "password": login.pop("password"),
        "extra": login,
    }
    airflow = {
        "CORE__DAGS_FOLDER": str(DAGS),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "16",
        "CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__FERNET_KEY": "",
        "API_AUTH__JWT_SECRET": uuid.uuid4().hex * 2,
        "API__SECRET_KEY": uuid.uuid4().hex,
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    }
    environment = {
        **os.environ,
        **{f"AIRFLOW__{key}": value for key, value in airflow.items()},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_VBC": json.dumps(connection),
        "AIRFLOW_CONN_VBC_DESTINATION": f"{DATABASE}/{warehouse}",
        "DLT_DATA_DIR": str(home / "dlt"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    with with_metadata(environment, "one") as environment:
        yield environment


@pytest.fixture(scope="session")
def alone(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment of `airflow dags test`: a scheduler with the same database would take its tasks."""
    with with_metadata(environment, "alone") as environment:
        yield environment


@pytest.fixture(scope="module")
def local(home: Path, environment: dict[str, str]) -> Iterator[Stack]:
    """Airflow with the LocalExecutor."""
    with run_stack(home, environment) as stack:
        yield stack


@pytest.fixture
def environment_of_tenants(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Three tenants: two connections work, one has a wrong password.

    With Airflow's database shared, a component that knows of no tenants would write its own form of the DAGs
    there, and the tasks of these would be taken for removed.
    """
    vbc = json.loads(environment["AIRFLOW_CONN_VBC"])
    changed = {"VBC_TENANTS": "acme,broken,globex", "SOURCES__VBC__USER_IDS": "[]"}
    for tenant in ("ACME", "GLOBEX"):
        changed[f"AIRFLOW_CONN_VBC_{tenant}"] = json.dumps(vbc)
    changed["AIRFLOW_CONN_VBC_BROKEN"] = json.dumps({**vbc, "login": "other", "password": "wrong"})
    with with_metadata({**environment, **changed}, "tenants") as environment:
        yield environment


@pytest.fixture
def local_for_tenants(home: Path, environment_of_tenants: dict[str, str]) -> Iterator[Stack]:
    """Airflow with the LocalExecutor and these tenants."""
    with run_stack(home, environment_of_tenants) as stack:
        yield stack


@pytest.fixture
def dataset(warehouse: str) -> Iterator[str]:
    """The dataset of the DAGs, empty."""
    yield "vbc_data"
    for (schema,) in execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'vbc%'", warehouse):
        execute(f'DROP SCHEMA "{schema}" CASCADE', warehouse)
