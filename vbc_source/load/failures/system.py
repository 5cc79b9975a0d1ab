"""Explains errors of the operating system: files, disks, hosts and certificates."""

from __future__ import annotations

import errno
import ssl

import dlt

from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.failures.causes import first_line

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def explain_system(error: OSError) -> VbcError | None:
    """Explain that a disk is full, or that a file may not be written; None for other errors."""
    folder = dlt.current.run_context().data_dir
    name = error.filename2 or error.filename  # of a copy, the file that could not be written
    where = f"{name}: " if name else ""
    if error.errno in DISK_FULL:
        return VbcError(
            f"{where}the disk is full: free some space in dlt's data folder {folder} (another is set by "
            "DLT_DATA_DIR) and where the database or the lake is; the next run continues"
        )
    if error.errno in _NOT_ALLOWED and where:
        return SettingsError(
            f"{where}{error.strerror}: it must be there, and this user may write it. dlt's data folder is "
            f"{folder}; another is set by DLT_DATA_DIR"
        )
    return None


def explain_host(error: OSError) -> VbcError:
    """Explain that the name of a host has no address."""
    # not a SettingsError: the network may be back at the next attempt
    return VbcError(
        f"the name of a host is not known ({error.strerror}): check the address in the settings of the "
        "destination or the bucket, and the network"
    )


def explain_refused(error: OSError) -> VbcError:
    """Explain that no server listens at an address."""
    # not a SettingsError: the server may only be restarting
    return VbcError(
        f"nothing answers there ({first_line(error)}): check the address in the settings of the destination "
        "or the bucket, such as endpoint_url in [destination.filesystem.credentials], and the server"
    )


def explain_tls(error: ssl.SSLError) -> SettingsError:
    """Explain that a server has no certificate, or none that is trusted."""
    return SettingsError(
        f"{first_line(error)}: check endpoint_url in [destination.filesystem.credentials], which begins with "
        "http:// where the server has no certificate, and that the server's certificate is trusted here"
    )
