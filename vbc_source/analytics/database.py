"""Where the tables and the models are, as dlt's own configuration says: a DuckDB file, or Postgres."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlt.common.schema import Schema

from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.warehouse.queries import SOURCE_SCHEMA, LoadedTables

PASSWORD = "DBT_ENV_SECRET_VBC_PASSWORD"  # noqa: S105 - a name; dbt keeps what is named so out of its logs
TLS = ("sslmode", "sslcert", "sslkey", "sslrootcert")


@dataclass(frozen=True, slots=True)
class AnalyticsDatabase:
    """A database that holds what was loaded, and the models of it.

    Attributes:
        kind: `duckdb` or `postgres`.
        dataset: where the source's tables are.
        credentials: dlt's.
    """

    kind: str
    dataset: str
    credentials: Any = field(repr=False)

    @property
    def models(self) -> str:
        """The dataset of the models."""
        return f"{self.dataset}_models"

    def name_model(self, model: str) -> str:
        """Write a model's name as SQL needs it: quoted, and in DuckDB with its database."""
        parts = [Path(self.credentials.database).stem] if self.kind == "duckdb" else []
        return ".".join(f'"{part}"' for part in (*parts, self.models, model))

    def connect(self) -> Any:
        """Open a connection of Python's DB-API that can read and nothing else; times come in UTC.

        Raises:
            VbcError: it could not be opened.
        """
        with explaining():
            if self.kind == "duckdb":
                import duckdb

                if not Path(self.credentials.database).exists():
                    raise VbcError(f"there is no {self.credentials.database}: run vbc sync first")
                connection: Any = duckdb.connect(self.credentials.database, read_only=True)
                connection.execute("SET GLOBAL TimeZone = 'UTC'")  # also for its further cursors
            else:
                import psycopg2

                connection = psycopg2.connect(self.credentials.to_native_representation())
                connection.set_session(readonly=True, autocommit=True)
                connection.cursor().execute("SET TIME ZONE 'UTC'")
            return connection

    def find_datasets(self, *tables: str) -> set[str]:
        """Say which datasets have one of some tables."""
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT table_schema, table_name FROM information_schema.tables")
            return {schema for schema, name in cursor.fetchall() if name in tables}
        finally:
            connection.close()

    def check_loaded(self) -> None:
        """Make sure that recordings were loaded.

        Raises:
            VbcError: nothing is there.
        """
        if self.dataset not in self.find_datasets("company_recordings", "user_recordings"):
            raise VbcError(f"no recordings are loaded in dataset {self.dataset}: run vbc sync first")

    def check_built(self) -> None:
        """Make sure that the models were built.

        Raises:
            VbcError: they are not there.
        """
        if self.models not in self.find_datasets("coverage"):
            raise VbcError(f"there are no models in dataset {self.models}: run vbc models run first")

    def describe(self) -> dict[str, Any]:
        """Say in dbt's words where this is; the password is to be in the environment, as `PASSWORD`."""
        if self.kind == "duckdb":
            return {
                "type": "duckdb",
                "path": str(self.credentials.database),
                "schema": self.models,
                "threads": 4,
            }
        query = self.credentials.get_query()
        return {
            "type": "postgres",
            "host": self.credentials.host,
            "port": self.credentials.port,
            "user": self.credentials.username,
            "password": f"{{{{ env_var('{PASSWORD}') }}}}",
            "dbname": self.credentials.database,
            "schema": self.models,
            "threads": 4,
            **{name: query[name] for name in TLS if query.get(name)},
        }

    @property
    def password(self) -> str:
        """The password; empty where there is none."""
        return str(getattr(self.credentials, "password", None) or "")


def find_database(target: Target) -> AnalyticsDatabase:
    """Return the database of a target.

    Raises:
        WrongUsage: its destination is none that has models.
    """
    loaded = LoadedTables(target)
    kind = loaded.kind
    if kind not in ("duckdb", "postgres"):
        raise UsageError(f"models are built in duckdb or postgres, not in {kind}")
    with explaining():
        config: Any = loaded.open_dataset(Schema(SOURCE_SCHEMA)).destination_client.config
        return AnalyticsDatabase(
            kind, config.normalize_dataset_name(Schema(SOURCE_SCHEMA)), config.credentials
        )
