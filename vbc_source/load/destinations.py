"""Where the commands load to: dlt's destinations, with what they need to be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import AnyDestination, Destination
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from vbc_source.errors import SettingsError
from vbc_source.extract.file_tables import FILESYSTEM
from vbc_source.load.duckdb import LITTLE_MEMORY

DATABASE = "vbc.duckdb"
TABLE_FORMATS = ("delta", "iceberg")


def choose_destination(name: str) -> AnyDestination:
    """Choose a destination by its name in dlt's configuration.

    Raises:
        SettingsError: a setting of it is malformed; the message names it.
    """
    return _configure_once(Destination.from_reference(_choose(name)))


def _configure_once(destination: Any) -> AnyDestination:
    """Have dlt look a destination's configuration up once, where it only wants to know what that can do.

    It asks so a dozen times a run, and goes through all of the configuration for each answer.
    """
    usual = destination.configuration
    found: list[Any] = []

    def configuration(initial_config: Any, accept_partial: bool = False) -> Any:
        if not accept_partial:  # that is for loading
            return usual(initial_config)
        if not found:
            found.append(usual(initial_config, accept_partial=True))
        return found[0]

    destination.configuration = configuration
    return destination  # type: ignore[no-any-return]


def _choose(name: str) -> Any:
    if name == "duckdb" and not dlt.secrets.get("destination.duckdb.credentials"):
        # a relative path would be one in the folder where the pipeline ran first
        credentials = DuckDbCredentials(global_config=dict(LITTLE_MEMORY))
        credentials.database = str(Path.cwd() / DATABASE)  # as an argument dlt would try it for a URL first
        return dlt.destinations.duckdb(credentials)
    if name == "postgres" and dlt.config.get("destination.postgres.create_indexes") is None:
        # a load that is killed at its end writes dlt's own rows again, which a unique index refuses for ever
        return dlt.destinations.postgres(create_indexes=False)
    return _open_lake() if name == FILESYSTEM else name


def _open_lake() -> Any:
    """Make the destination of files, of the format in `[destination.filesystem] table_format`."""
    table_format: Any = dlt.config.get(f"destination.{FILESYSTEM}.table_format")
    if not table_format:
        return FILESYSTEM
    if table_format not in TABLE_FORMATS:
        raise SettingsError(
            "[destination.filesystem] table_format must be delta or iceberg, or left out for plain parquet "
            f"files, not {table_format!r}"
        )
    options: dict[str, Any] = {"preferred_table_format": table_format}
    if table_format == "iceberg":  # pyiceberg's upsert takes minutes where appending takes seconds
        options["supported_merge_strategies"] = []
    return dlt.destinations.filesystem(**options)


def describe_format(pipeline: dlt.Pipeline) -> str:
    """Name the format of the tables: `delta`, `iceberg`, or `none` where the destination has but one."""
    return str(pipeline.destination.capabilities().preferred_table_format or "none")
