"""Make the ledger and the recordings from the bucket alone, as after the loss of the database.

A row is made only of a file whose bytes are those of its sidecar and of the manifest. It counts like a file
that was found in the bucket, with `attempts` 0: a bucket may be edited, so that retention does not accept the
row until `vbc fixity --against-vbc` has compared the file with VBC's. Nothing is made of a file whose
recording was erased: a bucket that is restored from a backup has such files.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from typing import NamedTuple

from vbc_source.audio.ledger import LEDGER, LedgerRow
from vbc_source.audio.own_accounts import ACCOUNT_FOLDER, find_own_folders
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.audio.sidecars.manifest import manifest_key
from vbc_source.audio.sidecars.metadata import StoredFiles
from vbc_source.audio.sidecars.missing_sidecars import MOST_NAMED, write_missing_sidecars
from vbc_source.audio.sidecars.restore import Row, restore_recordings
from vbc_source.audio.sidecars.sidecar import Sidecar, is_audio, sidecar_key
from vbc_source.audio.sidecars.storage import check_sidecar, read_manifest, read_sidecar, read_sidecar_body
from vbc_source.errors import InvalidContent
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.progress import SECONDS
from vbc_source.recordings import RECORDING_TYPES, RecordingKey, RecordingType, escape
from vbc_source.schema.names import AUDIO_SCHEMA
from vbc_source.warehouse.erasures import AGAIN, read_erased

log = logging.getLogger(__name__)

RESTORED_ROWS = 10_000  # recordings of one load
CHECKED_FILES = 500  # whose sidecars are in memory together
_LEVELS = (ACCOUNT_FOLDER, "recording_type=", "date=")


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """What was made from the bucket. Lists of keys have the first thousand.

    Attributes:
        folders: Folders of days.
        files: Audio files in them, or named by their manifests.
        rows: Rows that the ledger lacked.
        known: Files that the ledger had already; these were not read.
        recordings: Recordings that the destination lacked.
        damaged: Files that are not as sidecar and manifest say, sidecars that are not as the manifest says,
            and manifests that are not readable.
        missing: Audio files that a manifest names, and that are not there.
        unknown: Audio files without a sidecar, and manifests that are missing. `vbc audio` adopts such a file
            if its recording is loaded.
        erased: Files of recordings that `vbc forget` has erased, as a restored backup of the bucket has them;
            nothing of them is loaded.
        sidecars: Sidecars written of files that had none.
        left_out: Folders of other accounts, as where tenants share a bucket; nothing of them was read.
        seconds: Duration of the run.
        ok: Whether everything in the bucket is in the ledger now, and as it should be.
    """

    folders: int
    files: int
    rows: int
    known: int
    recordings: int
    damaged: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    erased: tuple[str, ...]
    sidecars: int
    left_out: tuple[str, ...]
    seconds: float
    ok: bool

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield (
            f"{self.files:,} files in {self.folders:,} days: {self.rows:,} rows of the ledger and "
            f"{self.recordings:,} recordings loaded, {self.known:,} rows were there, {self.seconds:.1f} s."
        )
        named = {
            "DAMAGED": self.damaged,
            "MISSING": self.missing,
            "WITHOUT SIDECAR OR MANIFEST": self.unknown,
            f"ERASED, AND IN THE BUCKET AGAIN ({AGAIN})": self.erased,
        }
        yield from (f"{problem}: {key}" for problem, keys in named.items() for key in keys)
        if self.left_out:
            yield f"Left out, as account_id does not name them: {', '.join(self.left_out)}."


def rebuild_ledger(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
) -> RebuildResult:
    """Make rows of `recording_audio`, and of recordings that the destination lacks, from sidecars.

    Each file is read whole and compared with its sidecar and the manifest; a repetition continues where it
    stopped.

    Args:
        target: Where the recordings are, or shall be, loaded.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.

    Returns:
        The counts of rows that were made, and of files that differ.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
        VbcError: The bucket or the destination failed.
    """
    with (
        open_archive(target, bucket_url) as session,
        ThreadPoolExecutor(session.config.max_concurrency) as pool,
    ):
        return _Rebuild(target, session, pool).run()


class _Found(NamedTuple):
    """An audio file, and what is known of it: its row where the ledger lacks one that is right."""

    key: str
    sidecar: Sidecar | None = None
    row: LedgerRow | None = None
    damaged: str = ""  # the key of what is
    missing: bool = False
    erased: bool = False


class _Folder(NamedTuple):
    """A folder of a day: sizes in bytes by name, the manifest, and the addresses that the ledger knows."""

    key: str
    sizes: Mapping[str, int]
    manifest: Mapping[str, str]
    known: frozenset[str]

    @property
    def audio(self) -> list[str]:
        """Names of the audio files that are there or should be."""
        return sorted(name for name in {*self.sizes, *self.manifest} if is_audio(name))


class _Rebuild:
    def __init__(self, target: Target, session: ArchiveSession, pool: ThreadPoolExecutor) -> None:
        self._target, self._session, self._pool = target, session, pool
        self._bucket = session.archive.bucket
        _restore_dropped(session)
        session.loaded.refresh()
        self._own = find_own_folders(session.config, session.loaded, session.client)
        self._left_out = list[str]()
        self._has_ledger = session.loaded.has(LEDGER)
        self._files = self._rows = self._known = self._recordings = 0
        self._damaged, self._missing, self._unknown = list[str](), list[str](), list[str]()
        self._returned, self._erased = list[str](), read_erased(session.loaded)
        self._pending: dict[RecordingType, list[Row]] = {kind: [] for kind in RECORDING_TYPES}

    def run(self) -> RebuildResult:
        """Rebuild from all folders."""
        started = logged = time.monotonic()
        folders = list(self._list_folders())
        # all folders first: a recording whose start has changed has versions in folders of several days
        newest = self._find_newest(folders)
        for number, name in enumerate(folders, 1):
            folder = self._read_folder(name)
            files = iter(folder.audio)
            while some := list(islice(files, CHECKED_FILES)):
                for found in self._pool.map(self._check, repeat(folder), some):
                    self._take(found, newest)
                self._session.ledger.load_when_due()
            if time.monotonic() - logged >= SECONDS:
                logged = time.monotonic()
                log.info("rebuild: %d of %d days, %s files", number, len(folders), f"{self._files:,}")
        for kind in RECORDING_TYPES:
            self._restore(kind)
        self._session.ledger.load()
        written = write_missing_sidecars(self._session, every=True)
        return RebuildResult(
            folders=len(folders),
            files=self._files,
            rows=self._rows,
            known=self._known,
            recordings=self._recordings,
            damaged=tuple(self._damaged),
            missing=tuple(self._missing),
            unknown=tuple(self._unknown),
            erased=tuple(self._returned),
            sidecars=written.sidecars,
            left_out=tuple(self._left_out),
            seconds=time.monotonic() - started,
            ok=not (self._damaged or self._missing or self._unknown or self._returned or written.refused),
        )

    def _list_folders(self) -> Iterator[str]:
        """Yield the folders of days of our accounts, in the order of their names."""

        def walk(folder: str, levels: tuple[str, ...]) -> Iterator[str]:
            if not levels:
                yield folder
                return
            for name in sorted(self._bucket.list_sizes(folder)):
                if name.startswith(levels[0]):
                    yield from walk(f"{folder}/{name}".lstrip("/"), levels[1:])

        for name in sorted(self._bucket.list_sizes("")):
            # `custody/`, `unmatched/` and what others have put there are no recordings
            if name.startswith(ACCOUNT_FOLDER):
                if self._own is None or name in self._own:
                    yield from walk(name, _LEVELS[1:])
                else:
                    log.warning("%s is left out: account_id does not name it", name)
                    self._left_out.append(name)

    def _find_newest(self, folders: list[str]) -> dict[RecordingKey, int]:
        """Find the newest version of the recordings that have several: only it is loaded."""
        newest: dict[RecordingKey, int] = {}
        for folder in folders:
            for name in self._bucket.list_sizes(folder):
                if is_audio(name) and ".v" in name:
                    try:
                        sidecar = read_sidecar(self._bucket, f"{folder}/{name}")
                    except InvalidContent:
                        continue  # it is named later
                    if sidecar:
                        key = _key_of(sidecar)
                        newest[key] = max(newest.get(key, 1), sidecar.archive.version)
        return newest

    def _read_folder(self, folder: str) -> _Folder:
        sizes, manifest = self._bucket.list_sizes(folder), dict[str, str]()
        try:
            found = read_manifest(self._bucket, folder)
            manifest = found or {}
            if found is None and any(is_audio(name) for name in sizes):
                self._name(self._unknown, manifest_key(folder), "has no manifest")
        except InvalidContent as error:
            self._name(self._damaged, manifest_key(folder), str(error))
        known = frozenset[str]()
        if self._has_ledger:
            rows = StoredFiles(self._session.loaded, self._bucket, [folder]).read()
            known = frozenset(str(row.uri) for row in rows)
        return _Folder(folder, sizes, manifest, known)

    def _check(self, folder: _Folder, name: str) -> _Found:
        """Compare an audio file with its sidecar and the manifest."""
        key, missing = f"{folder.key}/{name}", name not in folder.sizes
        try:
            sidecar = self._read_sidecar(folder, name)
        except InvalidContent:
            return _Found(key, damaged=sidecar_key(key), missing=missing)
        # the sidecar tells: of what was erased, not even the bytes are read
        if sidecar and _key_of(sidecar) in self._erased:
            return _Found(key, erased=True)
        # what the ledger has is not read: so a repetition goes on where the run before stopped
        if sidecar is None or missing or self._bucket.uri(key) in folder.known:
            return _Found(key, sidecar, missing=missing)
        content, audio = self._bucket.read(key), sidecar.audio
        # both must agree: a file that was changed with its sidecar still differs from the manifest
        expected = {audio.sha256, folder.manifest.get(name, audio.sha256)}
        if content and {content.sha256} == expected and content.size == audio.size_bytes:
            return _Found(key, sidecar, make_row(sidecar, self._bucket.uri(key)))
        return _Found(key, sidecar, damaged=key)

    def _read_sidecar(self, folder: _Folder, name: str) -> Sidecar | None:
        """Read the sidecar of an audio file; raises InvalidContent if it is not what the manifest says."""
        key, beside = f"{folder.key}/{name}", sidecar_key(name)
        if beside not in folder.sizes:
            return None
        body = read_sidecar_body(self._bucket, key, folder.sizes[beside]) or b""
        sidecar = check_sidecar(self._bucket, key, body)
        # no line is no change: a killed run may have written sidecars, and not yet the manifest
        altered = folder.manifest.get(beside) not in (None, hashlib.sha256(body).hexdigest())
        if altered or (sidecar and not _fits_folder(sidecar, folder.key)):
            raise InvalidContent(f"{sidecar_key(key)} is not what its manifest or its folder says")
        return sidecar

    def _take(self, found: _Found, newest: Mapping[RecordingKey, int]) -> None:
        self._files += 1
        if found.erased:
            self._name(self._returned, found.key, f"was erased, and is in the bucket again: {AGAIN}")
            return
        if found.damaged:
            self._name(self._damaged, found.damaged, "is not what its manifest or sidecar says")
        if found.missing:
            self._name(self._missing, found.key, "is named by the manifest, and not there")
        elif not found.sidecar and not found.damaged:
            self._name(self._unknown, found.key, "has no sidecar")
        if found.row:
            self._session.archive.journal.record(found.row)
            self._rows += 1
        elif found.sidecar and not found.damaged and not found.missing:
            self._known += 1
        if found.sidecar and found.sidecar.recording:
            facts = found.sidecar.archive
            # the row of an older version must not replace that of the newest one
            if facts.version >= newest.get(_key_of(found.sidecar), 1):
                pending = self._pending[facts.recording_type]
                pending.append(found.sidecar.recording)
                if len(pending) >= RESTORED_ROWS:
                    self._restore(facts.recording_type)

    def _restore(self, kind: RecordingType) -> None:
        rows, self._pending[kind] = self._pending[kind], []
        if rows:
            self._recordings += restore_recordings(self._target, self._session.loaded, kind, rows)

    def _name(self, keys: list[str], key: str, problem: str) -> None:
        log.warning("%s %s", key, problem)
        if len(keys) < MOST_NAMED:
            keys.append(key)


def _restore_dropped(session: ArchiveSession) -> None:
    """Create a ledger again that was dropped: dlt only looks at the schema that it has stored."""
    pipeline = session.pipeline
    with session.loaded.lock(), explaining():
        pipeline.sync_destination()
        if AUDIO_SCHEMA in pipeline.schemas:
            DestinationLookup(pipeline).restore_tables(pipeline.schemas[AUDIO_SCHEMA])


def make_row(sidecar: Sidecar, uri: str) -> LedgerRow:
    """Make the row of a file in the bucket: with `attempts` 0, as it was not compared with VBC's bytes."""
    archive, audio = sidecar.archive, sidecar.audio
    return LedgerRow(
        account_id=archive.account_id,
        recording_type=archive.recording_type,
        user_id=archive.user_id,
        recording_id=archive.recording_id,
        uri=uri,
        status="stored",
        size_bytes=audio.size_bytes,
        sha256=audio.sha256,
        content_type=audio.content_type,
        attempts=0,
        error=None,
        fetched_at=archive.fetched_at,
        version=archive.version,
        call_id=archive.call_id,
        call_start=archive.call_start,
        audio_duration=audio.duration,
    )


def _fits_folder(sidecar: Sidecar, folder: str) -> bool:
    """Return whether a sidecar is one of this folder, and its recording the one that it names."""
    facts, row = sidecar.archive, sidecar.recording
    if not folder.startswith(f"account_id={escape(facts.account_id)}/recording_type={facts.recording_type}/"):
        return False
    if row is None:
        return True
    user = row.get("user_id") if facts.recording_type == "user" else ""
    return (row.get("account_id"), row.get("id"), user) == (
        facts.account_id,
        facts.recording_id,
        facts.user_id,
    )


def _key_of(sidecar: Sidecar) -> RecordingKey:
    facts = sidecar.archive
    return facts.account_id, facts.recording_type, facts.user_id, facts.recording_id
