"""Lets dataset `vbc` live in `vbc.duckdb`.

DuckDB names a database after its file, so `vbc.company_recordings` could mean the database or the
schema, and DuckDB refuses to choose. dlt knows that (it warns) but does not qualify the names. It has
the means, `catalog_name`, which other destinations use; here DuckDB uses it too, and only where the
two names are the same, which fails otherwise.
"""

from __future__ import annotations

from pathlib import PurePath

from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient


def qualify_same_names() -> None:
    """Make dlt write `vbc.vbc.company_recordings` where database and dataset have the same name."""
    DuckDbSqlClient.catalog_name = _catalog_name  # type: ignore[method-assign,assignment]
    DuckDbSqlClient.warn_if_catalog_equals_dataset_name = _say_nothing  # type: ignore[method-assign]


def _catalog_name(self: DuckDbSqlClient, quote: bool = True, casefold: bool = True) -> str | None:  # noqa: ARG001 - dlt's signature
    database = getattr(self.credentials, "database", None)
    if not isinstance(database, str) or PurePath(database).name.split(".")[0] != self.dataset_name:
        return None
    return self.capabilities.escape_identifier(self.dataset_name) if quote else self.dataset_name


def _say_nothing(self: DuckDbSqlClient) -> None:
    """The warning is of names that are not qualified; these are."""
