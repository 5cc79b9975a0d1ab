"""Finds the reason behind the exceptions that dlt wraps around it, and raises that alone."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    InvalidNativeValue,
    ValueNotSecretException,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs.exceptions import NativeValueError
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.destinations.exceptions import InvalidFilesystemLayout

from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.failures.buckets import (
    explain_address,
    explain_arrow_s3,
    explain_object_store,
    explain_s3,
)
from vbc_source.load.failures.causes import first_line, walk_causes
from vbc_source.load.failures.databases import explain_duckdb, explain_full_duckdb, explain_postgres
from vbc_source.load.failures.extras import explain_import
from vbc_source.load.failures.settings import (
    explain_credentials,
    explain_destination,
    explain_layout,
    explain_missing,
    explain_secret,
    explain_toml,
    explain_type,
    is_unnamed,
)
from vbc_source.load.failures.system import explain_host, explain_refused, explain_system, explain_tls

_DRIVERS = ("psycopg2", "adbc_driver_manager")
_S3 = ("botocore", "aiobotocore")
# the first that fits explains, so a special class stands before a general one
_EXPLANATIONS: dict[type[BaseException], Callable[[Any], VbcError | None]] = {
    TomlProviderReadException: explain_toml,
    UnknownDestinationModule: explain_destination,
    ImportError: explain_import,
    InvalidFilesystemLayout: explain_layout,
    ConfigFieldMissingException: explain_missing,
    ValueNotSecretException: explain_secret,
    ConfigValueCannotBeCoercedException: explain_type,
    InvalidNativeValue: explain_credentials,
    NativeValueError: explain_credentials,
    ConfigurationException: lambda error: SettingsError(first_line(error)),
    duckdb.IOException: explain_duckdb,
    duckdb.Error: explain_full_duckdb,
    socket.gaierror: explain_host,
    ConnectionRefusedError: explain_refused,
    ssl.SSLError: explain_tls,
    OSError: explain_system,
    ValueError: explain_address,
}


@contextmanager
def explaining() -> Iterator[None]:
    """Raise the reason instead of the exceptions that dlt wraps around it."""
    try:
        yield
    except VbcError:
        raise
    except Exception as error:
        causes = list(walk_causes(error))
        # an interrupt is no failure that a setting explains, whatever is wrapped around it
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
            raise KeyboardInterrupt from None
        reason = explain(error)
        # where it is in the chain itself, chaining it again would make a ring
        raise reason from (None if reason in causes else error)


def explain(error: BaseException) -> VbcError:
    """Return the error of ours that tells the person who can act what an exception means."""
    causes = list(walk_causes(error))
    # dlt may try without a field that no setting can have, before it says what is wrong
    causes = [cause for cause in causes if not is_unnamed(cause)] or causes
    for cause in causes:
        if isinstance(cause, VbcError):
            return cause
    # the innermost first: what is wrapped around it says less
    for cause in reversed(causes):
        if known := _explain_known(cause):
            return known
    step = getattr(error, "step", None)  # of a dlt pipeline: extract, normalize or load
    prefix = f"{step} failed: " if step else ""
    return VbcError(f"{prefix}{type(causes[-1]).__name__}: {first_line(causes[-1])}")


def _explain_known(error: BaseException) -> VbcError | None:
    """Explain an exception that names what is wrong by itself, whatever is wrapped around it."""
    package = type(error).__module__.split(".")[0]
    if package in _DRIVERS:
        return explain_postgres(error)
    if package in _S3:
        return explain_s3(error)
    # both raise an OSError, or a class of their own
    if failed := explain_object_store(error) or explain_arrow_s3(error):
        return failed
    for kind, explain_kind in _EXPLANATIONS.items():
        if isinstance(error, kind):
            return explain_kind(error)
    return None
