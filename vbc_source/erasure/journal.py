"""The journal of one erasure: what it was about to erase, so that a killed run is continued.

It names the person by a keyed hash. The key is `pii_key` where that is set, else a random one in dlt's data
folder, which nobody else can read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import dlt

from vbc_source.private_files import make_private_folder, write_private_file
from vbc_source.recordings import RecordingKey, RecordingType

JOURNAL_FOLDER = "vbc_erasure"
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ErasedRecording:
    """A recording that is to be erased; `keys` are its objects in the bucket."""

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    start: str | None = None  # ISO
    call_id: str | None = None
    size_bytes: int | None = None
    keys: tuple[str, ...] = ()

    @property
    def key(self) -> RecordingKey:
        """The primary key."""
        return self.account_id, self.recording_type, self.user_id, self.recording_id

    @property
    def title(self) -> str:
        """Its name in logs and messages."""
        return f"{self.recording_type} recording {self.recording_id}"


@dataclass(frozen=True, slots=True)
class ErasedLeg:
    """A leg of a call that is to be erased; VBC keeps its call logs, so it must not be loaded again."""

    account_id: str
    call_id: str
    leg: str
    start: str | None = None


@dataclass(frozen=True, slots=True)
class ErasureJournal:
    """What an erasure works on, and what it has done.

    Attributes:
        erasure_id: Its random id.
        began_at: When it began, ISO.
        recordings: What it erases.
        legs: The legs of calls that it erases.
        counts: Copies that were erased so far, by place.
    """

    erasure_id: str = field(default_factory=lambda: uuid4().hex)
    began_at: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())
    recordings: tuple[ErasedRecording, ...] = ()
    legs: tuple[ErasedLeg, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, count: int) -> ErasureJournal:
        """Return the journal after so many copies were erased in a place."""
        return replace(self, counts={**self.counts, place: self.counts.get(place, 0) + count})


class JournalFile:
    """The file of a journal, named by the keyed hash of the person and by where the rows are."""

    def __init__(self, place: str, subject_hash: str) -> None:
        # a folder for each place: the same number may be erased in several
        folder = make_private_folder(_find_root() / _shorten(place))
        self._path = folder / f"{subject_hash[:32]}.json"

    def read(self) -> ErasureJournal | None:
        """Read what a killed run has left; None if there is nothing."""
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        recordings = tuple(
            ErasedRecording(**{**row, "keys": tuple(row["keys"])}) for row in fields.pop("recordings")
        )
        legs = tuple(ErasedLeg(**row) for row in fields.pop("legs"))
        return ErasureJournal(recordings=recordings, legs=legs, **fields)

    def write(self, journal: ErasureJournal) -> None:
        """Replace the file."""
        write_private_file(self._path, json.dumps(asdict(journal)))

    def remove(self) -> None:
        """Remove the file: everything is erased."""
        self._path.unlink(missing_ok=True)


def _shorten(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def find_key(pii_key: str | None) -> bytes:
    """Return the key of the hashes that name persons; made on first use where `pii_key` is not set."""
    if pii_key and pii_key.strip():
        return pii_key.encode()
    path = _find_root() / "key"
    try:
        return bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        write_private_file(path, secrets.token_hex(_KEY_BYTES))
        # as it is in the file, which another run may have made at the same time
        return bytes.fromhex(path.read_text().strip())


def _find_root() -> Path:
    return make_private_folder(Path(dlt.current.run_context().data_dir) / JOURNAL_FOLDER)
