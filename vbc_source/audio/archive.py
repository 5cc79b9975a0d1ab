"""The archive: stores the audio of a recording after verifying its bytes, wherever they come from."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from vbc_source.audio.bucket import HEAD_BYTES, Bucket, Content, KeyTaken, ObjectLocked
from vbc_source.audio.durations import measure_duration
from vbc_source.audio.formats import FORMATS, AudioFormat, detect_format
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import AudioStatus, LedgerRow, make_ledger_row
from vbc_source.audio.sidecars.sidecar import sidecar_key
from vbc_source.audio.sidecars.storage import read_sidecar, remove_lines
from vbc_source.audio.spool import NoRoom, SpoolFile, measure_room
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    ForeignAddress,
    InvalidContent,
    NotFound,
    TokenRejected,
    Unavailable,
    VbcError,
)
from vbc_source.private_files import make_private_folder
from vbc_source.recordings import Recording

log = logging.getLogger(__name__)

# Errors that concern one file: it is recorded, and the run continues. Callers let NotSubscribed, which is
# a Forbidden, stop the run. TokenRejected: a renewed token did not help, while other files are answered.
FILE_ERRORS = (NotFound, Forbidden, InvalidContent, ForeignAddress, BadRequest, TokenRejected, Unavailable)
MAX_UNANNOUNCED_BYTES = 1 << 30  # where neither the API nor the server says how large a file is


class ByteStream(Protocol):
    """Bytes in chunks, and what the sender reports of them; its `size` is final only after the last chunk.

    `digest` is the SHA-256 of the bytes yielded so far: computed once, while they are yielded.
    """

    content_type: str | None
    size: int | None
    digest: hashlib._Hash

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in chunks."""


class Archive:
    """Verified files in a bucket. The `spool` folder, emptied here, holds files that are being received."""

    def __init__(
        self,
        bucket: Bucket,
        spool: Path,
        journal: Journal,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.bucket, self.journal, self.spool, self._now = bucket, journal, spool, now
        # whoever opens an archive holds its pipeline's lock: what is here was left by a killed run
        for leftover in make_private_folder(spool).iterdir():
            leftover.unlink()

    def store(
        self, recording: Recording, stream: ByteStream, sizes: Mapping[str, int] = MappingProxyType({})
    ) -> LedgerRow:
        """Store the file of a recording under its key, and return its row, which is already in the journal.

        What is in the bucket is never replaced by other bytes: the file is stored as the next version then.
        `sizes` has the names and sizes in bytes of the objects in its folder, as far as they are known.

        Raises:
            InvalidContent: The bytes are not the file of this recording, or the bucket did not keep them.
            NoRoom: The disk of the spool is full.
        """
        with self._receive(stream, recording.size_bytes) as (path, content):
            # again: of a body without any bytes, `_receive` has seen nothing
            audio_format = detect_format(content.head, stream.content_type)
            # a download that broke too often ends like a whole one: its size alone tells
            _check_size(content.size, stream.size, "the server")
            _check_size(content.size, recording.size_bytes, "the API")
            return self._store(path, recording, audio_format, content, sizes)

    def _store(
        self,
        path: Path,
        recording: Recording,
        audio_format: AudioFormat,
        content: Content,
        sizes: Mapping[str, int] = MappingProxyType({}),
    ) -> LedgerRow:
        """Store a file that was received, in the first version that is free, and return its row."""
        duration = measure_duration(path, audio_format)
        while True:
            row = self._make_stored_row(recording, audio_format, content, audio_duration=duration)
            name = recording.file(audio_format.extension)
            # a name that is listed with another size is taken: that need not be asked of the bucket
            if sizes.get(name, content.size) == content.size and self._keep(path, row, audio_format, content):
                return row
            recording = replace(recording, version=recording.version + 1)

    def _keep(self, path: Path, row: LedgerRow, audio_format: AudioFormat, content: Content) -> bool:
        """Store the file of a row, and record it; return False if there are other bytes under its key."""
        key = self.bucket.key_of(row.uri or "") or ""
        # before the upload: after a kill, `recover` looks for this object
        self.journal.intend(row)
        try:
            self._put(path, key, audio_format, content, new=True)
        except KeyTaken:
            # the same bytes are no conflict: a run whose journal is lost may have stored them
            if not _equal(self.bucket.read(key), content):
                self.journal.forget(intents=[row])
                return False
        except InvalidContent:
            # it was removed, or never sent; after BucketFailed the intent stays, for `recover` to look
            self.journal.forget(intents=[row])
            raise
        self.journal.record(row)
        return True

    def restore(self, row: LedgerRow, recording: Recording, stream: ByteStream, key: str | None) -> LedgerRow:
        """Store the file of a row again, whose object is damaged or missing; return the row that holds then.

        Only the bytes of the ledger go under its key, and what is there is kept beside it. Others are stored
        as the next version, or correct the ledger where they are those in the bucket. `key` is None where
        the ledger names an object that is not this recording's.

        Raises:
            InvalidContent: The bytes are not the file of this recording, or the bucket did not keep them.
            NoRoom: The disk of the spool is full.
        """
        with self._receive(stream, recording.size_bytes) as (path, content):
            _check_size(content.size, stream.size, "the server")
            _check_size(content.size, recording.size_bytes, "the API")
            audio_format = detect_format(content.head, stream.content_type)
            if key is None:
                return self._store(path, recording, audio_format, content)
            kept = self.bucket.read(key)
            if (content.size, content.sha256) == (row.size_bytes, row.sha256):
                if kept:
                    # named by its bytes: other damage, found by another repair, gets a name of its own
                    self.bucket.keep_beside(key, f"{key}.damaged-{kept.sha256[:16]}")
                self._put(path, key, audio_format, content, new=False)
            elif not _equal(kept, content):
                return self._store(path, replace(recording, version=row.version + 1), audio_format, content)
            elif kept:
                row = replace(row, size_bytes=kept.size, sha256=kept.sha256, attempts=0)
            # a row that was right, and a proof before, needs no new row
            return row if row.attempts else self._record_proven(row)

    def prove(self, row: LedgerRow, recording: Recording, stream: ByteStream) -> LedgerRow | None:
        """Compare a file that was only found in the bucket with VBC's bytes; None if they differ.

        The row counts as a proof for retention then.
        """
        with self._receive(stream, recording.size_bytes) as (_, content):
            if (content.size, content.sha256) != (row.size_bytes, row.sha256):
                return None
        return self._record_proven(row)

    def _record_proven(self, row: LedgerRow) -> LedgerRow:
        """Record that a file has been compared with VBC's own bytes."""
        row = replace(row, attempts=1, fetched_at=self._now())
        self.journal.record(row)
        return row

    def store_unmatched(self, name: str, stream: ByteStream) -> tuple[str, int]:
        """Store audio that belongs to no loaded recording; return its key and its size in bytes.

        The name is its key without the extension. The ledger gets no row.

        Raises:
            InvalidContent: It is not audio, or has another size than reported.
        """
        with self._receive(stream, stream.size) as (path, content):
            audio_format = detect_format(content.head, stream.content_type)
            _check_size(content.size, stream.size, "the server")
            key = f"{name}.{audio_format.extension}"
            self._put(path, key, audio_format, content, new=False)
        return key, content.size

    def record_failure(self, recording: Recording, error: VbcError) -> LedgerRow:
        """Record in the journal that the audio of a recording could not be stored: one of `FILE_ERRORS`."""
        return self._record(recording, "forbidden" if isinstance(error, Forbidden) else "failed", error)

    def record_missing(self, recording: Recording, evidence: str) -> LedgerRow:
        """Record in the journal that VBC no longer has a recording; it is not requested again."""
        return self._record(recording, "missing", evidence)

    def _record(self, recording: Recording, status: AudioStatus, error: object) -> LedgerRow:
        log.warning("audio of %s is %s: %s", recording.title, status, error)
        row = make_ledger_row(recording, status, self._now(), error=str(error))
        self.journal.record(row)
        return row

    def recover(self) -> None:
        """Find out what a killed run has stored, or erased, of the files that it was about to."""
        for row in self.journal.intents:
            if self._has_happened(row):
                self.journal.record(row)
            else:
                self.journal.forget(intents=[row])
        if lost := [row for row in self.journal.rows if self._is_lost(row)]:
            log.warning("%d files of a run that was cut off are not as its journal says", len(lost))
            self.journal.forget(lost)

    def _is_lost(self, row: LedgerRow) -> bool:
        """Return whether a crash of the machine has undone what a row says: only its load syncs names."""
        key = self.bucket.key_of(row.uri or "")
        path = self.bucket.path(key) if key else None
        return path is not None and path.exists() is (row.status == "erased")

    def _has_happened(self, row: LedgerRow) -> bool:
        key = self.bucket.key_of(row.uri or "")
        if not key:
            return False
        if row.status == "erased":
            return all(self.bucket.is_erased(name) for name in list_objects(key))
        content = self.bucket.read(key)
        return content is not None and (content.size, content.sha256) == (row.size_bytes, row.sha256)

    def erase(self, row: LedgerRow, reason: str, names: Iterable[str] = ()) -> LedgerRow:
        """Erase a stored file with what is beside it, and return its row, which is already in the journal.

        `names` has the names of the objects in its folder.

        Raises:
            ObjectLocked: The bucket refuses; the file is still there.
            BucketFailed: It is not known what is erased; another attempt finds out.
        """
        # asked first: a lock of the file alone must not cost it its sidecar
        objects = self.list_erasable(row, names)
        erased = replace(row, status="erased", error=reason, fetched_at=self._now())
        # before the deletion: after a kill, `recover` looks whether this object is gone
        self.journal.intend(erased)
        try:
            for name in objects:
                self.bucket.erase(name)
        except ObjectLocked:
            self.journal.forget(intents=[erased])
            raise
        self.journal.record(erased)
        return erased

    def list_erasable(self, row: LedgerRow, names: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the keys of the objects of a stored file, in the order of erasing them, if none is locked.

        Raises:
            ObjectLocked: The bucket would refuse to erase one of them.
        """
        key = self.bucket.key_of(row.uri or "")
        if not key:
            raise ObjectLocked(f"its file is in another bucket than {self.bucket.url}")
        # all are asked for before the first is erased
        objects = list_objects(key, names)
        if lock := next(filter(None, map(self.bucket.find_lock, objects)), None):
            raise ObjectLocked(lock)
        return objects

    def update_manifests(self) -> None:
        """Remove the lines of erased files, whose rows are still in the journal, from their manifests."""
        erased = defaultdict[str, set[str]](set)
        for row in self.journal.rows:
            key = self.bucket.key_of(row.uri or "") if row.status == "erased" else None
            if key:
                folder, _, name = key.rpartition("/")
                erased[folder] |= {name, sidecar_key(name)}
        for folder, names in erased.items():
            try:
                # the files are gone already: a manifest that cannot be read must not stop the run
                remove_lines(self.bucket, folder, names)
            except InvalidContent as error:
                log.warning("%s; it still names files that were erased", error)

    def adopt(self, recording: Recording, sizes: Mapping[str, int]) -> LedgerRow | None:
        """Record a file that is already in the bucket, as after the loss of the ledger; None if it is not.

        Its hash comes from the bucket, not from VBC's bytes: so `attempts` is 0, and retention does not
        accept the row as a proof. `sizes` has the names and sizes in bytes of the objects in its folder.
        """
        for audio_format in FORMATS:
            size = sizes.get(recording.file(audio_format.extension))
            # without a size from the API nothing tells whether the object is whole: then it is downloaded
            if size is not None and size == recording.size_bytes:
                return self._adopt_as(recording, audio_format)
        return None

    def _adopt_as(self, recording: Recording, audio_format: AudioFormat) -> LedgerRow | None:
        content = self.bucket.read(recording.key(audio_format.extension))
        if not content or content.size != recording.size_bytes:
            return None
        try:
            detect_format(content.head, audio_format.content_type)
            sidecar = read_sidecar(self.bucket, recording.key(audio_format.extension))
        except InvalidContent:
            return None
        if sidecar and sidecar.audio.sha256 != content.sha256:
            return None  # damaged since it was stored
        row = self._make_stored_row(recording, audio_format, content, attempts=0)
        self.journal.record(row)
        return row

    def _make_stored_row(
        self, recording: Recording, audio_format: AudioFormat, content: Content, **fields: int | None
    ) -> LedgerRow:
        return make_ledger_row(
            recording,
            "stored",
            self._now(),
            uri=self.bucket.uri(recording.key(audio_format.extension)),
            size_bytes=content.size,
            sha256=content.sha256,
            content_type=audio_format.content_type,
            **fields,
        )

    def _put(self, path: Path, key: str, audio_format: AudioFormat, content: Content, *, new: bool) -> None:
        """Store a file, and read it back: only what the bucket has kept may be deleted at VBC one day.

        Also where the store answers with a SHA-256 of its own: some repeat the one that was sent.
        """
        self.bucket.put(path, key, audio_format.content_type, content.sha256, new=new)
        if not _equal(self.bucket.read(key), content):
            # left there, it would take the name: the right bytes would become a second version
            self.bucket.remove(key)
            raise InvalidContent(f"{self.bucket.url} did not keep the bytes that were stored there")

    @contextmanager
    def _receive(self, stream: ByteStream, expected: int | None) -> Iterator[tuple[Path, Content]]:
        """Write a stream to a temporary file; stop as soon as it cannot be the expected file."""
        size, head = 0, b""
        path = self.spool / uuid.uuid4().hex
        try:
            # before the first request: a stream sends it when it is iterated over
            self._check_room(0)
            with SpoolFile(path) as file:
                for chunk in stream:
                    # the API's size comes first: servers have been seen to announce the length of a cut body
                    announced = stream.size if expected is None else expected
                    if not head:
                        head = chunk[:HEAD_BYTES]
                        # an error page ends with its first chunk, whatever follows
                        detect_format(head, stream.content_type)
                        self._check_room(announced or 0)
                    size += len(chunk)
                    limit = MAX_UNANNOUNCED_BYTES if announced is None else announced
                    if size > limit:
                        raise InvalidContent(f"received more than the {limit:,} bytes that were announced")
                    file.write(chunk)
            yield path, Content(size, stream.digest.hexdigest(), head)
        except NoRoom as error:
            # the disk has room again without this file; where it has not, the next file stops the run
            if size:
                raise InvalidContent(f"received {size:,} bytes, then: {error}") from None
            raise
        finally:
            # a local archive may have moved it away
            path.unlink(missing_ok=True)

    def _check_room(self, size: int) -> None:
        """Raise NoRoom if the disk is full for every file, InvalidContent if it is for one of this size."""
        room = measure_room(self.spool)
        if room < 0:
            raise NoRoom(self.spool)
        if size > room:
            raise InvalidContent(f"{size:,} bytes are reported, but {self.spool} has room for {room:,}")


def list_objects(key: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the keys of the objects of one audio file in the order of erasing them, itself last.

    Where the bucket refuses to erase the file, its sidecar can be written again. Of the `names` in its folder
    it takes those that begin with its own and a dot: other bytes of it that were kept.
    """
    folder, _, file = key.rpartition("/")
    kept = (f"{folder}/{name}" for name in names if name.startswith(f"{file}."))
    return *kept, sidecar_key(key), key


def _equal(first: Content | None, second: Content) -> bool:
    return first is not None and (first.size, first.sha256) == (second.size, second.sha256)


def _check_size(received: int, reported: int | None, reporter: str) -> None:
    if reported is not None and reported != received:
        raise InvalidContent(f"received {received:,} bytes, but {reporter} reports {reported:,}")
