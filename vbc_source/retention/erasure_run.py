"""Deletion in the archive: the files of recordings that VBC no longer has, of all their versions."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Literal, NamedTuple

from vbc_source.audio.bucket import BucketFailed, ObjectLocked
from vbc_source.audio.ledger import COLUMNS, LedgerRow
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.audio.session import ArchiveSession
from vbc_source.recordings import RecordingKey
from vbc_source.retention.candidates import RetentionCandidate, write_owners
from vbc_source.retention.facts import RecordingFacts
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

ErasureOutcome = Literal["erased", "unproven", "blocked", "failed"]


class _File(NamedTuple):
    """A row of the ledger of a stored file, how many recordings it names the file for, and the file's key."""

    row: LedgerRow
    owners: int
    key: str | None

    @property
    def folder(self) -> str:
        """The folder of the file."""
        return (self.key or "").rpartition("/")[0]


class ErasureRun:
    """Erases files of the archive, a batch of recordings at a time; the threads are the pool's."""

    def __init__(self, session: ArchiveSession, loaded: LoadedTables, pool: Executor) -> None:
        self._session, self._archive, self._loaded, self._pool = session, session.archive, loaded, pool

    def erase(self, due: Sequence[RecordingFacts], reasons: Sequence[str]) -> list[ErasureOutcome]:
        """Erase the files of a batch, each for a reason; return the outcomes, which are loaded already."""
        files = self._read_files(due)
        folders = {file.folder for found in files.values() for file in found}
        names = {folder: self._archive.bucket.list_sizes(folder) for folder in folders}

        def erase(facts: RecordingFacts, reason: str) -> ErasureOutcome:
            return self._erase(facts.candidate, files[facts.key], names, reason)

        try:
            outcomes = list(self._pool.map(erase, due, reasons))
            # before the load, which empties the journal: after a kill the next run finds the lines by it
            self._archive.update_manifests()
        except BaseException:
            self._session.ledger.load_if_possible()
            raise
        self._session.ledger.load()
        return outcomes

    def _erase(
        self,
        candidate: RetentionCandidate,
        files: Sequence[_File],
        names: Mapping[str, Iterable[str]],
        reason: str,
    ) -> ErasureOutcome:
        """Erase the files of a recording, of all its versions; return the outcome."""
        title = candidate.title
        try:
            for file in files:
                one = replace(candidate, version=file.row.version, owners=file.owners)
                if flaw := one.find_misplacement(file.key):
                    log.warning("%s is not deleted from the archive: %s", title, flaw)
                    return "unproven"
            # a lock of one version holds the recording, with its other versions
            for file in files if len(files) > 1 else ():
                self._archive.list_erasable(file.row, names[file.folder])
            for file in files:
                self._archive.erase(file.row, reason, names[file.folder])
        except ObjectLocked as error:
            log.warning("%s stays in the archive: %s", title, error)
            return "blocked"
        # nobody knows what is erased: the same plan, applied again, finds out
        except BucketFailed as error:
            log.warning("%s may still be in the archive: %s", title, error)
            return "failed"
        return "erased"

    def _read_files(self, due: Sequence[RecordingFacts]) -> defaultdict[RecordingKey, list[_File]]:
        """Read the ledger's rows of the stored files of some recordings, of all their versions."""
        ids = ", ".join(str(facts.candidate.recording_id) for facts in due)

        def write(loaded: LoadedTables) -> str:
            stored = f"SELECT * FROM ({write_ledger(loaded)}) AS b WHERE status = 'stored'"
            return f"""
                SELECT {", ".join(f"s.{name}" for name in COLUMNS)}, o.owners
                FROM ({stored}) AS s LEFT JOIN ({write_owners(stored)}) AS o ON o.uri = s.uri
                WHERE s.recording_id IN ({ids})"""

        found: defaultdict[RecordingKey, list[_File]] = defaultdict(list)
        for *values, owners in self._loaded.query(write):
            row = LedgerRow(**dict(zip(COLUMNS, values, strict=True)))
            file = _File(row, owners or 0, self._archive.bucket.key_of(row.uri or ""))
            # by the whole key: two users may have the same id
            found[row.key[:4]].append(file)
        return found
