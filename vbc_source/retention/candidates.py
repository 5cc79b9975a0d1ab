"""Candidates for deletion: archived recordings that are old enough and not deleted yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.audio.formats import FORMATS
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.errors import VbcError
from vbc_source.recordings import RECORDING_KEY, Recording, RecordingType
from vbc_source.retention.deletions import DELETIONS
from vbc_source.retention.legal_hold import list_names
from vbc_source.warehouse.queries import LoadedTables, query_pages
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

PAGE_ROWS = 1000
OLDEST_START = datetime(1970, 1, 2, tzinfo=timezone.utc)  # earlier ones stand for an unknown start
_ORDER = ("began", "recording_type", "account_id", "user_id", "recording_id")
_LISTED = ("call_id", "listed_bytes", "shared_id")
_FILE = ("uri", "size_bytes", "sha256", "attempts", "version", "archived_call_id", "archived_start")


class ChangedSince(VbcError):
    """Raised when a recording is no longer the one that was loaded and archived."""


@dataclass(frozen=True, slots=True)
class RetentionCandidate:
    """A recording that is old enough, with its file as the ledger records it.

    `listed_bytes` is the size that VBC listed last; `archived_call_id` and `archived_start` are what it
    listed when the file was archived. `attempts` is 0 if the file was only found in the bucket; `owners` is
    how many recordings the ledger names the file for.
    """

    began: datetime
    recording_type: RecordingType
    account_id: str
    user_id: str
    recording_id: int
    call_id: str | None
    listed_bytes: int | None
    uri: str | None
    size_bytes: int | None
    sha256: str | None
    attempts: int
    version: int
    archived_call_id: str | None
    archived_start: datetime | None
    owners: int
    shared_id: int

    @property
    def recording(self) -> Recording:
        """The recording, in the version that was archived."""
        return Recording(
            self.account_id,
            self.recording_type,
            self.user_id,
            self.recording_id,
            self.began,
            download_url=None,
            size_bytes=self.listed_bytes,
            shared_id=bool(self.shared_id),
            call_id=self.call_id,
            version=self.version,
        )

    @property
    def keys(self) -> frozenset[str]:
        """The keys that its file may have; the user may be left out where the id was not shared at first."""
        recording = self.recording
        forms = (recording, replace(recording, shared_id=False))
        return frozenset(form.key(audio.extension) for form in forms for audio in FORMATS)

    @property
    def has_changed(self) -> bool:
        """Whether VBC has listed something else since it was archived."""
        # a size that VBC does not report says nothing
        if self.listed_bytes not in (None, self.size_bytes):
            return True
        if self.archived_start is None:  # a row of an older version, which has neither
            return False
        return (self.archived_start, self.archived_call_id or "") != (self.began, self.call_id or "")

    def find_flaw(self, key: str | None) -> str | None:
        """Return why its file is no proof, as far as the ledger tells, or None.

        `key` is the file's in the bucket, None if it is elsewhere.
        """
        if not self.uri or not self.sha256 or not self.size_bytes:
            return "the ledger has no address, size or hash of its file"
        if not self.attempts:
            return "its file was found in the bucket and never compared with VBC's own bytes"
        if self.has_changed:
            return "it has changed at VBC since it was archived: run vbc audio"
        if self.version > 1:
            return (
                f"it had changed at VBC after it was archived, and has {self.version} files now: "
                "look at them, then use vbc recordings delete"
            )
        return self.find_misplacement(key)

    def find_misplacement(self, key: str | None) -> str | None:
        """Return why the file with that key is not its own alone, or None."""
        if key is None:
            return "its file is in another bucket"
        if self.owners != 1 or key not in self.keys:
            return "the ledger names the file of another recording for it"
        return None

    def check_unchanged(self, row: Mapping[str, Any]) -> None:
        """Raise ChangedSince unless a recording, as VBC has it now, is the one that was loaded."""
        size, call_id = row.get("file_size_in_bytes"), row.get("call_id")
        # as texts: VBC may send an id as a number or as a text
        now = None if size is None else str(size), "" if call_id is None else str(call_id)
        loaded = None if self.listed_bytes is None else str(self.listed_bytes), self.call_id or ""
        if now != loaded:
            raise ChangedSince("it has changed at VBC since it was loaded: run vbc sync, then vbc audio")

    @property
    def title(self) -> str:
        """Its name in logs and errors."""
        return f"{self.recording_type} recording {self.recording_id}"


def read_candidates(
    loaded: LoadedTables, older_than: timedelta, shorter_than: timedelta | None, now: datetime
) -> Iterator[RetentionCandidate]:
    """Yield archived recordings that are not deleted yet and old enough by their start, oldest first."""
    selection = RecordingSelection(since=OLDEST_START, until=now - older_than)
    values: dict[str, str | int | datetime] = {**selection.bounds}
    if shorter_than is not None:
        values["max_milliseconds"] = int(shorter_than / timedelta(milliseconds=1))

    def write(loaded: LoadedTables) -> str:
        return _write_candidates(loaded, limit_duration=shorter_than is not None)

    for row in query_pages(
        loaded, write, (*_ORDER, *_LISTED, *_FILE, "owners"), len(_ORDER), PAGE_ROWS, **values
    ):
        yield RetentionCandidate(**row)


def _write_candidates(loaded: LoadedTables, *, limit_duration: bool) -> str:
    if not loaded.has(LEDGER):
        raise VbcError("no recording is archived yet, so none can be deleted: run vbc audio first")
    same_recording = " AND ".join(f"{{0}}.{name} = r.{name}" for name in RECORDING_KEY)
    # a recording of unknown length is not short: SQL compares null with nothing
    conditions = ["r.duration < :max_milliseconds"] if limit_duration else []
    if loaded.has(DELETIONS):
        conditions.append(
            # `requested` alone does not count: after a kill nobody knows what became of it
            f"NOT EXISTS (SELECT 1 FROM {DELETIONS} AS d WHERE {same_recording.format('d')} "
            "AND d.status IN ('deleted', 'gone'))"
        )
    stored = f"SELECT * FROM ({write_ledger(loaded)}) AS b WHERE status = 'stored'"
    return f"""
        SELECT {", ".join(f"r.{name}" for name in (*_ORDER, "call_id", "shared_id"))},
            r.size_bytes AS listed_bytes, {", ".join(f"a.{name}" for name in _FILE)},
            coalesce(o.owners, 0) AS owners
        FROM ({write_recordings(loaded, RecordingSelection())}) AS r
        JOIN ({write_files(stored)}) AS a ON {same_recording.format("a")}
        LEFT JOIN ({write_owners(stored)}) AS o ON o.uri = a.uri
        {"WHERE" if conditions else ""} {" AND ".join(conditions)}"""


def write_files(ledger: str) -> str:
    """Write the query of the newest version of each recording in some rows of the ledger."""
    key = ", ".join(RECORDING_KEY)
    same = " AND ".join(f"s.{name} = n.{name}" for name in RECORDING_KEY)
    # Where the ledger is append-only, a version may have several rows: they count only if they agree on the
    # file. One with `attempts` 0 is no proof by itself; another tells that it was compared with VBC's bytes.
    return f"""
        SELECT {", ".join(f"s.{name}" for name in RECORDING_KEY)}, s.version, max(s.uri) AS uri,
            max(s.size_bytes) AS size_bytes, max(s.sha256) AS sha256, max(s.attempts) AS attempts,
            max(s.call_id) AS archived_call_id, max(s.call_start) AS archived_start
        FROM ({ledger}) AS s JOIN (
            SELECT {key}, max(version) AS version FROM ({ledger}) AS v GROUP BY {key}
        ) AS n ON {same} AND s.version = n.version
        GROUP BY {", ".join(f"s.{name}" for name in RECORDING_KEY)}, s.version
        HAVING min(s.sha256) = max(s.sha256) AND coalesce(min(s.uri), '') = coalesce(max(s.uri), '')"""


def write_owners(ledger: str) -> str:
    """Write the query of how many recordings some rows of the ledger name each file for."""
    return f"""
        SELECT uri, count(*) AS owners
        FROM (SELECT DISTINCT {", ".join(RECORDING_KEY)}, uri FROM ({ledger}) AS d) AS e GROUP BY uri"""


def read_known_names(loaded: LoadedTables, names: Sequence[str]) -> set[str]:
    """Return those of some ids, of recordings or calls, that a loaded recording has."""
    known: set[str] = set()
    for first in range(0, len(names), PAGE_ROWS):
        part = names[first : first + PAGE_ROWS]
        values = {f"name_{number}": name for number, name in enumerate(part)}
        marks = ", ".join(f":{name}" for name in values)

        # the names of entries are in lower case; of a call id any spelling counts
        def write(loaded: LoadedTables, marks: str = marks) -> str:
            return f"""
                SELECT DISTINCT recording_id, call_id
                FROM ({write_recordings(loaded, RecordingSelection())}) AS r
                WHERE CAST(recording_id AS VARCHAR) IN ({marks}) OR lower(trim(call_id)) IN ({marks})"""

        bounds = RecordingSelection().bounds
        for recording_id, call_id in loaded.query(write, **bounds, **values):
            known |= {str(recording_id), *list_names(call_id or "")}
    return known
