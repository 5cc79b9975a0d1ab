"""The packages that an extra of this package brings, and the error where one is not installed."""

from __future__ import annotations

import re
from importlib.util import find_spec

from dlt.common.exceptions import MissingDependencyException

from vbc_source.errors import ExtraMissing, SettingsError
from vbc_source.load.failures.causes import first_line

# each extra of this package, with the modules and the dlt extras that it brings
EXTRAS = {
    "postgres": ("psycopg2", "psycopg2cffi", "adbc_driver_postgresql", "postgres"),
    "s3": ("s3fs", "boto3", "botocore", "s3"),
    "gs": ("gcsfs", "google", "gs"),
    "az": ("adlfs", "azure", "az"),
    "delta": ("deltalake",),
    "iceberg": ("pyiceberg", "sqlalchemy"),
    "dbt": ("dbt",),
    "dashboard": ("jinja2",),
    "emulator": ("uvicorn", "starlette"),
}
# the package behind an address, by its scheme
_FILE_SYSTEMS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl", "azure"), "adlfs"),
}


def check_installed(package: str) -> None:
    """Raise ExtraMissing where a package is not installed, before requests are sent for what it would load.

    Raises:
        ExtraMissing: The message names the extra that brings it.
    """
    if find_spec(package) is None:
        raise explain_import(ModuleNotFoundError(name=package))


def check_file_system(url: str) -> None:
    """Raise ExtraMissing where the package for this address is not installed.

    dlt asks for credentials first, and for keys even where the machine has a role: it would not find it.
    """
    if package := _FILE_SYSTEMS.get(url.strip().partition("://")[0].lower()):
        check_installed(package)


def explain_import(error: ImportError) -> SettingsError:
    """Name the extra that brings a missing package, or the package where no extra does."""
    if isinstance(error, MissingDependencyException):
        needed = [re.sub(r".*\[|\].*|[<>=!~ ].*", "", name) for name in error.dependencies]
        packages = ", ".join(error.dependencies)
    else:
        packages = error.name or first_line(error)
        needed = [packages.split(".")[0]]
    extras = [extra for extra, names in EXTRAS.items() if any(name in names for name in needed)]
    if not extras:
        return SettingsError(f"{packages} is not installed: pip install '{packages}'")
    return ExtraMissing(f"{packages} is not installed", extras[0])
