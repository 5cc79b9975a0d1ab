"""Write the sidecars and manifests that the archive lacks: of this run, of a killed one, of earlier versions.

A folder is completed in this order: sidecars, manifest, note. A step is repeated where the next one was not
reached, so a kill costs a few files that are written again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from itertools import islice
from typing import NamedTuple

from vbc_source.audio.bucket import FolderListings
from vbc_source.audio.ledger import VERSION_KEY, LedgerRow
from vbc_source.audio.session import ArchiveSession
from vbc_source.audio.sidecars.manifest import manifest_key, write_manifest
from vbc_source.audio.sidecars.metadata import LoadedFacts, StoredFiles
from vbc_source.audio.sidecars.notes import FolderNote, FolderState, find_folders, load_notes
from vbc_source.audio.sidecars.sidecar import ArchiveFacts, AudioFacts, Sidecar, sidecar_key
from vbc_source.audio.sidecars.storage import (
    check_sidecar,
    read_manifest,
    read_sidecar_body,
    store_manifest,
    store_sidecar,
)
from vbc_source.errors import InvalidContent
from vbc_source.warehouse.erasures import read_erased

log = logging.getLogger(__name__)

BATCH_FILES, BATCH_FOLDERS = 2000, 1000  # whose manifests are in memory together
QUERY_FILES = 2000  # whose metadata is read together
MOST_NAMED = 1000  # addresses in a list of a result; the log has all
NOTES_SECONDS = 60.0  # between two loads of notes: what a kill costs
# Notes that are worth a load, which takes half a second: a month of days, or days with many files. Fewer cost
# less when the next run reads their manifests again.
NOTED_FOLDERS, NOTED_FILES = 32, 5000


@dataclass(frozen=True, slots=True)
class WrittenSidecars:
    """What was written.

    Attributes:
        sidecars: Number of sidecars.
        manifests: Number of manifests.
        refused: Addresses of manifests that are not readable, and of files that a manifest has with another
            SHA-256 than the ledger; the first thousand.
    """

    sidecars: int = 0
    manifests: int = 0
    refused: tuple[str, ...] = ()


def describe_written(sidecars: int, refused: Sequence[str]) -> Iterator[str]:
    """Yield the fields of `WrittenSidecars` as lines for people."""
    if sidecars:
        yield f"{sidecars:,} sidecars written."
    yield from (f"NOT AS THE LEDGER SAYS: {uri} (see docs/archive-format.md)." for uri in refused)


class _File(NamedTuple):
    """A row of the ledger, with folder and name of its file."""

    row: LedgerRow
    folder: str
    name: str


def write_missing_sidecars(
    session: ArchiveSession,
    since: datetime | None = None,
    *,
    every: bool = False,
    named: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> WrittenSidecars:
    """Write the sidecars and manifests that folders lack which no note covers; in all folders with `every`.

    Sidecars that a manifest names are left alone, and so are its lines. Where the manifest is lost, those
    that fit the ledger are left alone too: they say what was known when the file was archived.

    Args:
        session: The archive.
        since: When this run began: what it has stored itself is in the bucket, other files are looked for.
        every: Whether to look into all folders, noted or not.
        named: Folders to look into although they are noted.
        clock: Returns seconds.
        now: Returns the time.

    Raises:
        VbcError: The bucket or the destination failed.
    """
    folders = find_folders(session.loaded, session.archive.bucket, every=every, named=named)
    if not folders:
        return WrittenSidecars()
    with ThreadPoolExecutor(session.config.max_concurrency) as pool:
        return _Writer(session, since, pool, clock, now).run(folders)


def write_missing_sidecars_if_possible(session: ArchiveSession, since: datetime) -> None:
    """Write what folders lack while another error ends the run, which must be the one that is reported."""
    try:
        write_missing_sidecars(session, since)
    except Exception as error:
        log.warning("sidecars are not written; the next run writes them: %s", error)


class _Writer:
    def __init__(
        self,
        session: ArchiveSession,
        since: datetime | None,
        pool: ThreadPoolExecutor,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._session, self._since, self._pool = session, since, pool
        self._clock, self._now = clock, now
        self._bucket = session.archive.bucket
        self._listings = FolderListings(self._bucket)
        self._erased = read_erased(session.loaded)  # their rows may have been restored from a backup
        self._sidecars, self._manifests = 0, 0
        self._refused, self._differing = list[str](), set[str]()
        self._notes: list[FolderNote] = []

    def run(self, folders: Sequence[FolderState]) -> WrittenSidecars:
        """Complete some folders, and note those that are complete then."""
        noted_at, done, files = self._clock(), 0, sum(state.files for state in folders)
        if files >= NOTED_FILES:
            log.info("sidecars: looking at %s files of %d days", f"{files:,}", len(folders))
        for batch in _make_batches(folders):
            self._write_batch(batch)
            done += sum(state.files for state in batch)
            if self._clock() - noted_at >= NOTES_SECONDS:
                self._load_notes()
                noted_at = self._clock()
                log.info("sidecars: %s of %s files have one", f"{done:,}", f"{files:,}")
        if len(self._notes) >= NOTED_FOLDERS or sum(note.files for note in self._notes) >= NOTED_FILES:
            self._load_notes()
        return WrittenSidecars(self._sidecars, self._manifests, tuple(self._refused))

    def _load_notes(self) -> None:
        if self._notes:
            load_notes(self._session.pipeline, self._session.loaded, self._bucket, self._notes)
            self._notes = []

    def _write_batch(self, batch: Sequence[FolderState]) -> None:
        folders = [state.folder for state in batch]
        read = zip(folders, self._pool.map(self._read_manifest, folders), strict=True)
        manifests = {folder: manifest for folder, manifest in read if manifest is not None}
        if not manifests:
            return
        before = {folder: len(manifest) for folder, manifest in manifests.items()}
        stored = StoredFiles(self._session.loaded, self._bucket, list(manifests))
        lacking = self._find_lacking(stored, manifests)
        while files := list(islice(lacking, QUERY_FILES)):
            found = list(self._pool.map(self._find_digest, files))
            unwritten = [file for file, digest in zip(files, found, strict=True) if digest is None]
            self._sidecars += len(unwritten)
            written = self._store_sidecars(stored, unwritten)
            for file, digest in zip(files, found, strict=True):
                # `written` has the digests of the files without one, in the same order
                manifests[file.folder][sidecar_key(file.name)] = digest or next(written)
        # lines are only added here, so that a longer manifest is a changed one
        changed = [folder for folder, manifest in manifests.items() if len(manifest) > before[folder]]
        list(self._pool.map(self._store_manifest, changed, [manifests[folder] for folder in changed]))
        self._manifests += len(changed)
        for state in batch:
            # a folder that differs gets no note, so that each run names it until somebody has looked
            if state.folder in manifests and state.folder not in self._differing:
                self._notes.append(self._make_note(state, manifests[state.folder]))

    def _find_lacking(self, stored: StoredFiles, manifests: Mapping[str, dict[str, str]]) -> Iterator[_File]:
        """Add the lines that audio files lack to manifests, and yield the files without a sidecar in them."""
        for row in stored.read():
            key = self._bucket.key_of(row.uri or "")
            if key is None or row.sha256 is None or row.key[:4] in self._erased:
                continue
            folder, _, name = key.rpartition("/")
            manifest = manifests[folder]
            if manifest.get(name, row.sha256) != row.sha256:
                log.warning("the manifest has another SHA-256 of %s: it or the ledger was changed", row.uri)
                self._refuse(str(row.uri))
                self._differing.add(folder)
            elif not {name, sidecar_key(name)} <= manifest.keys() and self._is_there(row, folder, name):
                manifest[name] = row.sha256
                if sidecar_key(name) not in manifest:
                    yield _File(row, folder, name)

    def _is_new(self, row: LedgerRow) -> bool:
        """Return whether this run has stored a file."""
        return self._since is not None and row.fetched_at >= self._since

    def _is_there(self, row: LedgerRow, folder: str, name: str) -> bool:
        """Return whether a file is in the bucket: one that was stored earlier may have been removed."""
        return self._is_new(row) or name in self._listings.list_sizes(folder)

    def _find_digest(self, file: _File) -> str | None:
        """Return the SHA-256 of the sidecar that is there and fits the ledger; None if there is none."""
        if self._is_new(file.row):
            return None
        key, sizes = f"{file.folder}/{file.name}", self._listings.list_sizes(file.folder)
        try:
            # one that is there says what was known when the file was archived, and perhaps nowhere else now
            body = read_sidecar_body(self._bucket, key, sizes.get(sidecar_key(file.name)))
            sidecar = check_sidecar(self._bucket, key, body) if body else None
        except InvalidContent:
            return None
        if body is None or sidecar is None or not _fits(sidecar, file.row):
            return None
        return hashlib.sha256(body).hexdigest()

    def _store_sidecars(self, stored: StoredFiles, files: Sequence[_File]) -> Iterator[str]:
        """Store sidecars of files in the order of `fetched_at`, and yield the SHA-256 of each."""
        if not files:
            return iter(())
        first, last = files[0].row.fetched_at, files[-1].row.fetched_at
        facts: dict[str, LoadedFacts] = {}
        for kind in {file.row.recording_type for file in files}:
            facts |= stored.read_facts(kind, first, last)
        found = [facts.get(str(file.row.uri), LoadedFacts()) for file in files]
        return self._pool.map(self._store_sidecar, files, found)

    def _store_sidecar(self, file: _File, facts: LoadedFacts) -> str:
        sidecar = make_sidecar(file.row, file.name, facts)
        return store_sidecar(self._bucket, f"{file.folder}/{file.name}", sidecar)

    def _store_manifest(self, folder: str, manifest: Mapping[str, str]) -> None:
        store_manifest(self._bucket, folder, manifest)

    def _make_note(self, state: FolderState, manifest: Mapping[str, str]) -> FolderNote:
        digest = hashlib.sha256(write_manifest(manifest)).hexdigest()
        return FolderNote(self._bucket.uri(state.folder), state.files, state.newest, digest, self._now())

    def _read_manifest(self, folder: str) -> dict[str, str] | None:
        """Read a manifest, empty where there is none yet; None where it is not readable."""
        try:
            return read_manifest(self._bucket, folder) or {}
        except InvalidContent as error:
            log.warning(
                "%s; it is left as it is: compare it with a copy, or move it away and run vbc audio again",
                error,
            )
            self._refuse(self._bucket.uri(manifest_key(folder)))
            return None

    def _refuse(self, uri: str) -> None:
        if len(self._refused) < MOST_NAMED:
            self._refused.append(uri)


def make_sidecar(row: LedgerRow, name: str, facts: LoadedFacts) -> Sidecar:
    """Make the sidecar of a file of the ledger."""
    return Sidecar(
        AudioFacts(name, row.sha256 or "", row.size_bytes or 0, row.content_type, row.audio_duration),
        ArchiveFacts(**{field.name: getattr(row, field.name) for field in fields(ArchiveFacts)}),
        facts.recording,
        facts.proof,
    )


def _fits(sidecar: Sidecar, row: LedgerRow) -> bool:
    """Return whether a sidecar is that of a file of the ledger."""
    same = all(getattr(sidecar.archive, name) == getattr(row, name) for name in VERSION_KEY)
    return same and (sidecar.audio.sha256, sidecar.audio.size_bytes) == (row.sha256, row.size_bytes)


def _make_batches(folders: Iterable[FolderState]) -> Iterator[list[FolderState]]:
    """Put folders together until they have enough files for the queries to be worth it."""
    batch: list[FolderState] = []
    for state in folders:
        files = sum(one.files for one in batch) + state.files
        if batch and (files > BATCH_FILES or len(batch) >= BATCH_FOLDERS):
            yield batch
            batch = []
        batch.append(state)
    if batch:
        yield batch
