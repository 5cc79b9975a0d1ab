"""The address of a bucket: checked for keys, and opened with dlt's credentials."""

from __future__ import annotations

import re
from typing import Any

from dlt.common.configuration import resolve_configuration
from dlt.common.configuration.exceptions import ConfigurationException

from vbc_source.dlt_internals import FilesystemConfiguration, fsspec_from_config
from vbc_source.errors import SettingsError
from vbc_source.load.destinations.s3_requests import bound_requests
from vbc_source.load.failures import check_file_system, first_line
from vbc_source.tenants import current_tenant

# elsewhere an object may be incomplete, or be gone when the process ends
_SCHEMES = ("file", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "azure")


def check_scheme(url: str) -> None:
    """Refuse an address, with its scheme, where no archive can be. Raises SettingsError."""
    scheme = url.split("://", 1)[0]
    if scheme.lower() not in _SCHEMES:
        raise SettingsError(
            f"bucket_url must be a folder, or begin with s3://, gs:// or az://, not with {scheme}://"
        )


def check_for_keys(url: str) -> None:
    """Refuse an address with a key in it: errors, logs and the ledger repeat the address.

    Raises:
        SettingsError: The message does not repeat it.
    """
    scheme, found, rest = url.partition(":/")
    if not found or scheme.lower() == "file" or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return  # a folder, or a drive of Windows
    if not rest.startswith("/"):
        raise SettingsError(f"bucket_url has one slash behind {scheme}: where it needs two")
    # abfss://container@account is the only address in which "@" is no login
    login, at, _ = rest[1:].split("/", 1)[0].rpartition("@")
    if (at and (":" in login or not scheme.lower().startswith("abfs"))) or set("?#") & set(rest):
        raise SettingsError(
            "bucket_url contains a login, a key or a query: give only bucket and folder there, and keys in "
            "[destination.filesystem.credentials]"
        )


def open_address(url: str) -> tuple[Any, str]:
    """Open an address; return the file system, of fsspec, and the root there."""
    check_file_system(url)
    try:
        config = resolve_configuration(
            FilesystemConfiguration(),
            # dlt looks for each setting in the tenant's table first, then in the one above
            sections=("destination", "filesystem", *filter(None, [current_tenant()])),
            explicit_value={"bucket_url": url},
        )
        bound_requests(config)
        return fsspec_from_config(config)
    except (ConfigurationException, ValueError) as error:
        raise SettingsError(
            f"{url} is not usable: {first_line(error)}; set credentials in "
            "[destination.filesystem.credentials]"
        ) from None
