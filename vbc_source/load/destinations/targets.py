"""The destinations of the commands: dlt's, with the options that make loads right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

import dlt
from dlt.common.destination import Destination

from vbc_source.config import list_settings
from vbc_source.dlt_internals import DuckDbCredentials
from vbc_source.errors import SettingsError, UsageError
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.load.destinations.cached_configuration import CachedConfiguration
from vbc_source.load.destinations.duckdb import VbcDuckDb, check_dataset_name
from vbc_source.load.destinations.filesystem import VbcFilesystem
from vbc_source.load.destinations.postgres import VbcPostgres
from vbc_source.load.failures import check_file_system, check_installed
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.storage import check_place
from vbc_source.tenants import current_tenant, hold_tenant, list_tenants, read_setting

DATABASE = "vbc.duckdb"
DATASET = "vbc_data"
DESTINATION = "duckdb"
# and the packages that read and write them; dlt's catalog of Iceberg tables is an SQL one
TABLE_FORMATS = {"delta": ("deltalake",), "iceberg": ("pyiceberg", "sqlalchemy")}
LAKE_SETTINGS = ("table_format", "compact_every", "keep_hours")  # ours, beside dlt's own
_LARGEST = 1_000_000  # loads, or hours: a hundred years


@dataclass(frozen=True, slots=True)
class Target:
    """Where recordings are loaded.

    Attributes:
        pipeline: Name of the dlt pipeline that loads them.
        destination: Name of the destination in dlt's configuration, such as `duckdb` or `postgres`.
        dataset: The dataset (schema) of the tables.
    """

    pipeline: str = "vbc"
    destination: str = DESTINATION
    dataset: str = DATASET

    def __post_init__(self) -> None:
        """Check the pipeline's name: dlt and our locks make files of it.

        Raises:
            UsageError: It is not the name of a file.
        """
        name = self.pipeline
        if name in ("", "..") or name != PurePath(name).name:
            raise UsageError(f"a pipeline's name is also that of a folder, which {name!r} cannot be")

    def ledgers(self, kind: str) -> Target:
        """Return the same dataset loaded by a pipeline of its own, such as `vbc_audio`.

        So ledgers leave the source's state and schema alone, and `vbc sync` need not wait for them.
        """
        return replace(self, pipeline=f"{self.pipeline}_{kind}")


def choose_target(
    destination: str | None = None,
    dataset: str | None = None,
    pipeline: str | None = None,
    *,
    default_destination: str = DESTINATION,
) -> Target:
    """Return where to load; what is not given is that of the chosen tenant, if there is one.

    Raises:
        SettingsError: Another tenant has the same dataset, so that their rows would mix.
    """
    default = Target(destination=default_destination)
    if tenant := current_tenant():
        default = _find_target(tenant, default_destination)
        same = [
            name
            for name in list_tenants()
            if _is_same_place(_find_target(name, default_destination), default)
        ]
        if not dataset and len(same) > 1:
            raise SettingsError(
                f"tenants {' and '.join(same)} have the same dataset, {default.dataset}: their rows would mix"
            )
    return Target(
        pipeline or default.pipeline, destination or default.destination, dataset or default.dataset
    )


def _find_target(tenant: str, default_destination: str) -> Target:
    """Return where the settings of a tenant say that it is loaded."""
    destination, dataset = (read_setting(name, tenant=tenant) for name in ("destination", "dataset"))
    return Target(f"vbc_{tenant}", str(destination or default_destination), str(dataset or f"vbc_{tenant}"))


def _is_same_place(first: Target, second: Target) -> bool:
    return first.destination == second.destination and (
        normalize_dataset(first.dataset) == normalize_dataset(second.dataset)
    )


def normalize_dataset(name: str) -> str:
    """Return the name that dlt gives a dataset's schema or folder: `Acme` and `acme` are one."""
    return str(dlt.Schema(SOURCE_SCHEMA).naming.normalize_table_identifier(name))


@contextmanager
def use_tenant(
    name: str,
    destination: str | None = None,
    dataset: str | None = None,
    pipeline: str | None = None,
    *,
    default_destination: str = DESTINATION,
) -> Iterator[Target]:
    """Work with the settings of a tenant, and get where its recordings are loaded.

    A context manager: every function of this package that is called inside, in this thread, reads the
    tenant's settings. A generator has to be read to its end inside.

    Args:
        name: The tenant, as in `[sources.vbc.tenants.NAME]`.
        destination: Name of the destination in dlt's configuration, by default the tenant's setting
            `destination`.
        dataset: The dataset, by default the tenant's setting `dataset`, or else `vbc_NAME`.
        pipeline: Name of the dlt pipeline, by default `vbc_NAME`.
        default_destination: The destination of a tenant that names none.

    Yields:
        Where the tenant's recordings are loaded.

    Raises:
        UsageError: The settings have no such tenant; the message names those that they have.
        SettingsError: The tenant's name or dataset cannot be used.
    """
    with hold_tenant(name):
        yield choose_target(destination, dataset, pipeline, default_destination=default_destination)


def open_destination(target: Target, **options: Any) -> Any:
    """Make the destination of a target; no working folder is touched and no connection is opened.

    The options go to dlt's destination factory, such as `staging_dataset_name_layout`.
    """
    name = target.destination
    kind = name if name in OPENERS else destination_kind(Destination.from_reference(name))
    if kind not in OPENERS:
        return Destination.from_reference(name, **options)
    if name != kind:  # a name of the user's, such as `warehouse` with destination_type = "postgres"
        options = {"destination_name": name, **options}
    opened = OPENERS[kind](target, options)
    # here alone: a pipeline of the user's own may change settings between two runs
    opened.caches_configuration = True
    return opened


def _open_duckdb(target: Target, options: dict[str, Any]) -> VbcDuckDb:
    if _names_database(target.destination):
        return VbcDuckDb(**options)
    credentials = DuckDbCredentials()  # dlt would parse an argument of it as an address
    # A file for each tenant: DuckDB lets one process open a file, and only the loads of one pipeline wait for
    # each other. An absolute path: dlt would take a relative one as relative to where the pipeline ran first.
    # Always one of ours: dlt would name it after the pipeline, so that ledgers and readers had other files.
    tenant = current_tenant()
    file = f"tenant_{tenant}.duckdb" if tenant else DATABASE
    if target.destination != DESTINATION:
        file = f"{target.destination}.duckdb"
    credentials.database = str(Path.cwd() / file)
    check_dataset_name(credentials.database, target.dataset)
    return VbcDuckDb(credentials, **options)


def _names_database(destination: str) -> bool:
    """Whether the settings name a DuckDB file: in one text, or as `database` beside other settings.

    One that is in the wrong file of settings counts as well: dlt then says where it belongs.
    """
    section = f"destination.{destination}.credentials"
    whole: Any = dlt.config.get(section)
    return bool(dlt.config.get(f"{section}.database") or (whole and not isinstance(whole, dict)))


def _open_postgres(target: Target, options: dict[str, Any]) -> VbcPostgres:
    if dlt.config.get(f"destination.{target.destination}.create_indexes") is None:
        # a killed load writes dlt's own rows again, which a unique index refuses for good
        options = {"create_indexes": False, **options}
    return VbcPostgres(**options)


def _open_filesystem(target: Target, options: dict[str, Any]) -> VbcFilesystem:
    """Make the destination of files, in the format of `[destination.filesystem] table_format`."""
    section = f"destination.{target.destination}"
    _check_lake_settings(target.destination)
    table_format: Any = dlt.config.get(f"{section}.table_format")
    if table_format and table_format not in TABLE_FORMATS:
        raise SettingsError(
            f"[{section}] table_format must be delta or iceberg, or left out for plain parquet "
            f"files, not {table_format!r}"
        )
    url = str(dlt.config.get(f"{section}.bucket_url") or "")
    check_place(url, f"[{section}] bucket_url")
    check_file_system(url)
    if table_format:
        for package in TABLE_FORMATS[table_format]:
            check_installed(package)
        options = {"preferred_table_format": table_format, **options}
    if table_format == "iceberg":
        # pyiceberg's upsert takes minutes where appending takes seconds
        options = {"supported_merge_strategies": [], **options}
    return VbcFilesystem(**options)


def _check_lake_settings(destination: str) -> None:
    """Refuse a misspelt name or value of our settings before a request is sent; dlt would ignore it."""
    for name in list_settings(("destination", destination)):
        close = get_close_matches(name.lower(), LAKE_SETTINGS, n=1, cutoff=0.85)
        if close and name not in LAKE_SETTINGS:
            raise SettingsError(
                f"there is no setting {name} in [destination.{destination}]: did you mean {close[0]}?"
            )
    for name in ("compact_every", "keep_hours"):
        read_lake_setting(destination, name, 0)


def read_lake_setting(destination: str, name: str, default: float) -> float:
    """Read a number of the configuration of a lake, from 0 to a million.

    Raises:
        SettingsError: It is no such number.
    """
    section = f"destination.{destination}"
    value: Any = dlt.config.get(f"{section}.{name}")
    try:
        number = default if value is None else float(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= _LARGEST:  # `nan` is neither
        raise SettingsError(f"[{section}] {name} must be a number from 0 to {_LARGEST:,}, not {value!r}")
    return number


OPENERS: dict[str, Callable[[Target, dict[str, Any]], CachedConfiguration]] = {
    "duckdb": _open_duckdb,
    "postgres": _open_postgres,
    FILESYSTEM: _open_filesystem,
}


def destination_kind(destination: Any) -> str:
    """Return the type of a destination, whatever name it was given: `postgres`."""
    return str(destination.destination_type).rsplit(".", 1)[-1]
