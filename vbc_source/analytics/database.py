"""The database of the loaded tables and their models: a DuckDB file or Postgres, as dlt is configured."""

from __future__ import annotations

import getpass
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlt.common.schema import Schema

from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.destinations.duckdb import catalog_name
from vbc_source.load.failures import explaining
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.warehouse.queries import LoadedTables

# dbt keeps values of variables with this prefix out of its logs
PASSWORD_VARIABLE = "DBT_ENV_SECRET_VBC_PASSWORD"  # noqa: S105 - a name, not a password
# of the address's parameters, those that a profile of dbt's Postgres adapter has too
TLS_PARAMETERS = ("sslmode", "sslcert", "sslkey", "sslrootcert")


def name_models(dataset: str) -> str:
    """Return the dataset of the models that belong to a dataset: `vbc_models` to `vbc_data`."""
    return dataset.removesuffix("_data") + "_models"


@dataclass(frozen=True, slots=True)
class AnalyticsDatabase:
    """A database with the loaded tables and the models built from them.

    Attributes:
        kind: `duckdb` or `postgres`.
        dataset: Dataset (schema) of the loaded tables.
        credentials: Credentials of the dlt destination.
    """

    kind: str
    dataset: str
    credentials: Any = field(repr=False)

    @property
    def models_dataset(self) -> str:
        """Dataset (schema) of the models: `vbc_models` beside `vbc_data`."""
        return name_models(self.dataset)

    @property
    def place(self) -> str:
        """Where the database is, for people: a file, or host and name; no user and no password."""
        login = self.credentials
        if self.kind == "duckdb":
            path = Path(login.database)
            return path.name if path.parent == Path.cwd() else str(path)
        host = login.host or login.get_query().get("host")
        return f"{login.database} at {host}" if host else str(login.database)

    @property
    def password(self) -> str:
        """Password of the database; empty if there is none."""
        return str(getattr(self.credentials, "password", None) or "")

    def name_model(self, model: str) -> str:
        """Return the quoted, qualified name of a model for SQL."""
        return f'"{self.models_dataset}"."{model}"'

    def connect(self) -> Any:
        """Open a read-only DB-API connection with session time zone UTC.

        Raises:
            VbcError: There is no database yet, or it could not be opened.
        """
        with explaining():
            if self.kind == "duckdb":
                import duckdb

                if not Path(self.credentials.database).exists():
                    raise VbcError(f"there is no {self.credentials.database}: run vbc sync first")
                # DuckDB lets other processes read the file at the same time, unless one of them may write
                connection: Any = duckdb.connect(self.credentials.database, read_only=True)
                # GLOBAL: a cursor is a connection of its own and does not inherit session settings
                connection.execute("SET GLOBAL TimeZone = 'UTC'")
            else:
                import psycopg2

                connection = psycopg2.connect(self.credentials.to_native_representation())
                connection.set_session(readonly=True, autocommit=True)
                connection.cursor().execute("SET TIME ZONE 'UTC'")
            return connection

    def check_loaded(self) -> None:
        """Raise VbcError if the dataset has no table of recordings."""
        if not self._has_table(self.dataset, "company_recordings", "user_recordings"):
            raise VbcError(f"no recordings are loaded in dataset {self.dataset}: run vbc sync first")

    def check_built(self) -> None:
        """Raise VbcError if the models' dataset does not have them."""
        if not self._has_table(self.models_dataset, "coverage"):
            raise VbcError(f"there are no models in dataset {self.models_dataset}: run vbc models run first")

    def _has_table(self, dataset: str, *tables: str) -> bool:
        """Return whether a dataset has at least one of the tables."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT table_schema, table_name FROM information_schema.tables")
            return any(schema == dataset and name in tables for schema, name in cursor.fetchall())

    def dbt_output(self) -> dict[str, Any]:
        """Return the output of a dbt profile; it reads the password from `PASSWORD_VARIABLE`."""
        output: dict[str, Any] = {"type": self.kind, "schema": self.models_dataset, "threads": 4}
        if self.kind == "duckdb":
            return {**output, "path": str(self.credentials.database)}
        query = self.credentials.get_query()
        return {
            **output,
            # as libpq has them where they are left out: the local socket, the user of the system
            "host": self.credentials.host or query.get("host") or "",
            "port": self.credentials.port,
            "user": self.credentials.username or getpass.getuser(),
            "password": f"{{{{ env_var('{PASSWORD_VARIABLE}') }}}}",
            "dbname": self.credentials.database,
            **{name: query[name] for name in TLS_PARAMETERS if query.get(name)},
        }


def find_database(target: Target) -> AnalyticsDatabase:
    """Return the database of a target; raises UsageError if models cannot be built in it."""
    loaded, schema = LoadedTables(target), Schema(SOURCE_SCHEMA)
    kind = loaded.kind
    if kind not in ("duckdb", "postgres"):
        raise UsageError(f"models are built in duckdb or postgres, not in {kind}")
    with explaining():
        config: Any = loaded.open_dataset(schema).destination_client.config
        dataset = config.normalize_dataset_name(schema)
        database = AnalyticsDatabase(kind, dataset, config.credentials)
    # DuckDB cannot tell whether `calls_models.recordings` names a schema or the database of that file
    if kind == "duckdb" and catalog_name(config.credentials.database) == database.models_dataset:
        raise UsageError(
            f"the models of dataset {dataset} would be in {database.models_dataset}, which is also the name "
            f"of the DuckDB file {config.credentials.database}: choose another --dataset or rename the file"
        )
    return database
