"""Checks a test archive, and damages it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archiving import Site, key_of

from vbc_source import check_fixity
from vbc_source.fixity.result import FixityResult


def check(site: Site, **options: Any) -> FixityResult:
    return check_fixity(bucket_url=site.bucket, **options)


def flip(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def path_of(site: Site, id_: int) -> Path:
    """Return the file of a company recording in a bucket that is a folder."""
    (row,) = [row for row in site.gateway.company.all() if row["id"] == id_]
    return Path(site.bucket) / key_of(row)
