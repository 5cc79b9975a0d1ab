"""The zip of an export, on disk: Python's reader of zips has to go back and forth in it."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vbc_source.api.client import Client
from vbc_source.api.downloads import Download
from vbc_source.api.export_jobs import ExportFailed
from vbc_source.errors import BadRequest, ForeignAddress, InvalidContent, NotFound, VbcError
from vbc_source.load.progress import SECONDS, write_size

log = logging.getLogger(__name__)

RESERVE = 100_000_000  # bytes of the disk that are left to others, and to members on their way
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, without


def fetch_zip(client: Client, links: Sequence[str], path: Path, limit: int, what: str) -> None:
    """Write the zip of an export to a file; a transfer that breaks is taken up where it broke.

    Args:
        client: what to fetch with.
        links: where it may be; the next one is asked where there is none.
        path: of the file.
        limit: how large it may be, bytes.
        what: names the export in errors and logs.

    Raises:
        ExportFailed: there is none, or it is none; the message says why.
        GatewayFault: the gateway's last word.
    """
    for link in links:
        try:
            _write(Download(client, link, None, what), path, limit, what)
        except ForeignAddress as fault:
            log.warning("%s; asking the gateway's own address", fault)
        except NotFound:
            log.info("%s: not at this address", what)
        except BadRequest as fault:
            if fault.status == 409:
                raise ExportFailed(f"{what} is not complete: wait with vbc export wait") from None
            if fault.status != 400:
                raise
        except InvalidContent as fault:
            raise ExportFailed(f"{what}: {fault}") from None
        else:
            return
    raise ExportFailed(f"{what} has no zip (any more): it has expired, or was never complete")


def _write(
    download: Download, path: Path, limit: int, what: str, clock: Callable[[], float] = time.monotonic
) -> None:
    size, told = 0, clock()
    try:
        with path.open("wb") as file:
            for piece in download:
                if not size:
                    _check(download.size, piece, path, limit, what)
                size += len(piece)
                if size > limit:
                    raise _too_large(size, limit, what)
                file.write(piece)
                if clock() - told >= SECONDS:
                    told = clock()
                    whole = f" of {write_size(download.size)}" if download.size else ""
                    log.info("%s: %s%s", what, write_size(size), whole)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _disk_full(path, download.size or size, what) from None
    if download.size is not None and size != download.size:
        raise ExportFailed(f"{what}: {size:,} bytes came, the server tells of {download.size:,}")


def _check(size: int | None, head: bytes, path: Path, limit: int, what: str) -> None:
    """Make sure, with the first bytes, that this is a zip and that there is room for it."""
    if not head.startswith(_ZIPS):
        raise ExportFailed(f"{what}: what came is no zip")
    if size is not None and size > limit:
        raise _too_large(size, limit, what)
    if size is not None and size + RESERVE > shutil.disk_usage(path.parent).free:
        raise _disk_full(path, size, what)


def _too_large(size: int, limit: int, what: str) -> VbcError:
    return ExportFailed(
        f"{what}: its zip has {write_size(size)} or more, the limit is {write_size(limit)}: export shorter "
        "spans, or raise max_zip_bytes in [sources.vbc.audio]"
    )


def _disk_full(path: Path, size: int, what: str) -> VbcError:
    return ExportFailed(
        f"{what}: no room for its zip of {write_size(size)} in {path.parent}: make room, move dlt's data "
        "folder (DLT_DATA_DIR), or export shorter spans"
    )
