"""Download the zip of an export to a local file: Python's zip reader needs to seek."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from vbc_source.api.client import Client
from vbc_source.api.deletion_evidence import says_gone
from vbc_source.api.downloads import Download
from vbc_source.api.export_jobs import ExportFailed
from vbc_source.audio.spool import NoRoom, SpoolFile, measure_room
from vbc_source.errors import BadRequest, ForeignAddress, InvalidContent, NotFound, VbcError
from vbc_source.load.progress import SECONDS, write_size

log = logging.getLogger(__name__)

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # of a zip with members, and of an empty one


def fetch_zip(client: Client, links: Sequence[str], path: Path, limit: int, name: str) -> None:
    """Download the zip of an export from the first link that has it; a broken transfer is resumed.

    `limit` is in bytes, `name` is for errors and logs.

    Raises:
        ExportFailed: There is no zip, or it cannot be stored; the message gives the reason.
    """
    unknown: NotFound | None = None
    for link in links:
        try:
            _write(Download(client, link, None, name), path, limit, name)
        except ForeignAddress as fault:
            log.warning("%s; trying the gateway's own address", fault)
        except NotFound as fault:
            log.info("%s: not found at this address", name)
            unknown = unknown or (None if says_gone(fault) else fault)
        except BadRequest as fault:
            if fault.status == 409:
                raise ExportFailed(f"{name} is not complete: wait for it with vbc export wait") from None
            if fault.status != 400:
                raise
        except InvalidContent as fault:
            raise ExportFailed(f"{name}: {fault}") from None
        else:
            return
    if unknown:  # of the two documented addresses a gateway may know one; this proves nothing about the zip
        raise ExportFailed(f"{name}: its zip was not found, at one address because of the gateway: {unknown}")
    raise ExportFailed(f"{name} has no zip: it has expired, or was never complete")


def _write(download: Download, path: Path, limit: int, name: str) -> None:
    size, logged = 0, time.monotonic()
    try:
        with SpoolFile(path) as file:
            for chunk in download:
                # before anything is written: an error page must not fill the disk
                if not size:
                    _check_start(download.size, chunk, path, limit, name)
                size += len(chunk)
                if size > limit:
                    raise _too_large(size, limit, name)
                if download.size is not None and size > download.size:
                    break  # a body without end; reported below
                file.write(chunk)
                if time.monotonic() - logged >= SECONDS:
                    logged = time.monotonic()
                    total = f" of {write_size(download.size)}" if download.size else ""
                    log.info("%s: %s%s", name, write_size(size), total)
    except NoRoom:
        raise _disk_full(path, download.size or size, name) from None
    # a download that broke too often ends like a whole one
    if download.size is not None and size != download.size:
        raise ExportFailed(f"{name}: received {size:,} bytes, but the server reports {download.size:,}")


def _check_start(size: int | None, head: bytes, path: Path, limit: int, name: str) -> None:
    """Check with the first bytes that this is a zip, and that there is space for it."""
    if not head.startswith(_SIGNATURES):
        raise ExportFailed(f"{name}: the response is not a zip")
    if size is not None and size > limit:
        raise _too_large(size, limit, name)
    if size is not None and size > measure_room(path.parent):
        raise _disk_full(path, size, name)


def _too_large(size: int, limit: int, name: str) -> VbcError:
    return ExportFailed(
        f"{name}: its zip has {write_size(size)} or more, the limit is {write_size(limit)}: export shorter "
        "spans, or increase max_zip_bytes in [sources.vbc.audio]"
    )


def _disk_full(path: Path, size: int, name: str) -> VbcError:
    return ExportFailed(
        f"{name}: no space for its zip of {write_size(size)} in {path.parent}: free some, move dlt's data "
        "folder (DLT_DATA_DIR), or export shorter spans"
    )
