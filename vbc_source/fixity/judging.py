"""Judge what was read of a file by what the ledger says of it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from vbc_source.audio.formats import FORMATS
from vbc_source.audio.ledger import LedgerRow
from vbc_source.recordings import escape
from vbc_source.warehouse.audio_checks import CheckOutcome

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Found(NamedTuple):
    """Size in bytes and SHA-256 of an object."""

    size: int
    sha256: str


class Verdict(NamedTuple):
    """The outcome of a check, and why it is not `ok`."""

    outcome: CheckOutcome
    reason: str | None = None


def judge_row(row: LedgerRow, key: str | None) -> Verdict | None:
    """Judge a row before its object is read; None if it names the file of its recording."""
    if not row.sha256 or row.size_bytes is None:
        return Verdict("damaged", "the ledger has no size or hash of its file")
    if key is None:
        return Verdict("unreadable", "the ledger has its file in another bucket than bucket_url")
    if not names_own_file(row, key):
        return Verdict("damaged", "the ledger names the file of another recording for it")
    return None


def names_own_file(row: LedgerRow, key: str) -> bool:
    """Return whether a key is one that the file of this recording may have."""
    folder, _, name = key.rpartition("/")
    owner, _, day = folder.rpartition("/date=")
    if owner != f"account_id={escape(row.account_id)}/recording_type={row.recording_type}":
        return False
    version = f".v{row.version}" if row.version > 1 else ""
    # the user is left out where the id was not shared when the file was stored
    stems = [f"{row.recording_id}{user}{version}" for user in ("", f".user_id={escape(row.user_id)}")]
    names = [f"{stem}.{audio_format.extension}" for stem in stems for audio_format in FORMATS]
    return name in names and _DAY.fullmatch(day) is not None


def judge_object(row: LedgerRow, found: Found | None) -> Verdict:
    """Judge an object that was read; None is one that is not there."""
    if found is None:
        return Verdict("missing", "there is no object under its key")
    if found.size != row.size_bytes:
        return Verdict("damaged", f"it has {found.size:,} bytes, {row.size_bytes or 0:,} in the ledger")
    if found.sha256 != row.sha256:
        return Verdict("damaged", "its bytes are not those that the ledger has the SHA-256 of")
    return Verdict("ok")
