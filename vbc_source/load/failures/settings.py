"""Explains dlt's errors about settings: which one is wrong or missing, and where to set it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigValueCannotBeCoercedException,
    InvalidNativeValue,
    LookupTrace,
    ValueNotSecretException,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.common.configuration.specs.exceptions import NativeValueError
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.destinations.exceptions import InvalidFilesystemLayout

from vbc_source.errors import SettingsError
from vbc_source.load.failures.causes import first_line
from vbc_source.load.failures.databases import POSTGRES_ADDRESS


def explain_toml(error: TomlProviderReadException) -> SettingsError:
    """Name the file that is not valid TOML, and the place in it."""
    files = [path for path in error.full_paths if Path(path).is_file()] or error.full_paths
    # only where in the file: the line itself may be a secret
    place = re.search(r"(?:at )?line \d+,? col(?:umn)? \d+", str(error))
    return SettingsError(
        f"{' or '.join(files)} is not valid TOML{f' ({place[0]})' if place else ''}: texts are in quotes, "
        "and each table and key is there once"
    )


def explain_destination(error: UnknownDestinationModule) -> SettingsError:
    """Name a destination that does not exist."""
    return SettingsError(
        f"there is no destination {error.ref}: correct --destination (such as duckdb, postgres or "
        f"filesystem), or set destination_type in [destination.{error.ref}]"
    )


def explain_secret(error: ValueNotSecretException) -> SettingsError:
    """Name a secret that is in a file for other settings."""
    *sections, name = error.key.split(".")
    return SettingsError(
        f"{name} in [{'.'.join(sections)}] may hold a secret: move it from {error.provider_name} to "
        ".dlt/secrets.toml, or to the environment"
    )


def explain_missing(error: ConfigFieldMissingException) -> SettingsError:
    """Name the settings that are missing."""
    names = dict.fromkeys(_missing_settings(error.traces))
    if not names:
        return SettingsError(f"a setting is missing or incomplete: {first_line(error)}")
    return SettingsError(
        f"a setting is missing: set {' and '.join(names)} in the environment, or in "
        ".dlt/config.toml or .dlt/secrets.toml (there in the table named by the parts before the last __)"
    )


def is_unnamed(error: BaseException) -> bool:
    """Return whether dlt lacks a field that no setting can have."""
    return isinstance(error, ConfigFieldMissingException) and not any(_missing_settings(error.traces))


def _missing_settings(traces: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings that dlt looked for, as environment variables: those without a pipeline's name."""
    for found in traces.values():
        keys = []
        for trace in found:
            if not isinstance(trace, LookupTrace):  # of a setting that is a table: its own fields
                yield from _missing_settings(trace.traces)
            elif trace.provider == "Environment Variables":
                keys.append(trace.key)
        usual = [key for key in keys if key.startswith(("DESTINATION__", "SOURCES__"))]
        yield from (usual or keys)[:1]


def explain_layout(error: InvalidFilesystemLayout) -> SettingsError:
    """Name the unknown placeholders of a layout."""
    return SettingsError(
        f"layout in [destination.filesystem] has unknown placeholders, "
        f"{', '.join(error.invalid_placeholders)}: remove it, since dlt's own is needed, "
        "{table_name}/{load_id}.{file_id}.{ext}"
    )


def explain_type(error: ConfigValueCannotBeCoercedException) -> SettingsError:
    """Name a setting whose value has the wrong type, and the right type."""
    kind = getattr(error.hint, "__name__", str(error.hint))  # the value itself may be a secret
    return SettingsError(f"{error.field_name} must be of type {kind}, and its value is not: correct it")


def explain_credentials(error: InvalidNativeValue | NativeValueError) -> SettingsError:
    """Name credentials that cannot be read. dlt's message names its class, and may contain the secret."""
    if issubclass(error.spec, ConnectionStringCredentials):
        return SettingsError(POSTGRES_ADDRESS)
    section = "sources.vbc" if error.spec.__module__.startswith("vbc_source") else "destination.filesystem"
    return SettingsError(
        f"credentials in [{section}] must be a table, and are a text that cannot be read: set "
        f"{', '.join(list(error.spec.get_resolvable_fields())[:2])} and so on in [{section}.credentials]"
    )
