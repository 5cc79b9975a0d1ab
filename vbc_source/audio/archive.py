"""The archive: stores the audio of a recording after verifying its bytes, wherever they come from."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from vbc_source.audio.bucket import HEAD_BYTES, Bucket, Content
from vbc_source.audio.formats import FORMATS, AudioFormat, detect_format
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import LedgerRow, Status, make_ledger_row
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    ForeignAddress,
    InvalidContent,
    NotFound,
    Unavailable,
    VbcError,
)
from vbc_source.recordings import Recording

log = logging.getLogger(__name__)

# Errors that concern one file: it is recorded, and the run continues. Callers let NotSubscribed, which is
# a Forbidden, stop the run.
FILE_ERRORS = (NotFound, Forbidden, InvalidContent, ForeignAddress, BadRequest, Unavailable)


class ByteStream(Protocol):
    """Bytes in chunks, and what the sender reports of them; its `size` is final only after the last chunk."""

    content_type: str | None
    size: int | None

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
        spool.mkdir(parents=True, exist_ok=True)
        for leftover in spool.iterdir():
            leftover.unlink()

    def store(self, recording: Recording, stream: ByteStream) -> LedgerRow:
        """Store the file of a recording under its key, and return its row, which is already in the journal.

        Raises:
            InvalidContent: The bytes are not the file of this recording; nothing is stored.
        """
        with self._receive(stream, recording.size_bytes) as (path, content):
            audio_format = detect_format(content.head, stream.content_type)
            _check_size(content.size, stream.size, "the server")
            _check_size(content.size, recording.size_bytes, "the API")
            row = self._make_stored_row(recording, audio_format, content)
            # before the upload: after a kill, `recover` looks for this object
            self.journal.intend(row)
            self.bucket.put(path, recording.key(audio_format.extension), audio_format.content_type)
        self.journal.settle(row)
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
            self.bucket.put(path, key, audio_format.content_type)
        return key, content.size

    def record_failure(self, recording: Recording, error: VbcError) -> LedgerRow:
        """Record in the journal that the audio of a recording could not be stored: one of `FILE_ERRORS`."""
        status: Status = "failed"
        if isinstance(error, NotFound):
            status = "missing"
        elif isinstance(error, Forbidden):
            status = "forbidden"
        log.warning("audio of %s is %s: %s", recording.title, status, error)
        row = make_ledger_row(recording, status, self._now(), error=str(error))
        self.journal.settle(row)
        return row

    def recover(self) -> None:
        """Find out which files a killed run has stored of those that it was about to store."""
        for row in self.journal.intents:
            key = self.bucket.key_of(row.uri or "")
            content = self.bucket.read(key) if key else None
            if content and (content.size, content.sha256) == (row.size_bytes, row.sha256):
                self.journal.settle(row)
            else:
                self.journal.forget(intents=[row])

    def adopt(self, recording: Recording, sizes: Mapping[str, int]) -> LedgerRow | None:
        """Record a file that is already in the bucket, as after the loss of the ledger; None if it is not.

        Its hash comes from the bucket, not from VBC's bytes: so `attempts` is 0, and retention does not
        accept the row as a proof. `sizes` has the names and sizes in bytes of the objects in its folder.
        """
        for audio_format in FORMATS:
            size = sizes.get(recording.file(audio_format.extension))
            if size is not None and size == recording.size_bytes:
                return self._adopt_as(recording, audio_format)
        return None

    def _adopt_as(self, recording: Recording, audio_format: AudioFormat) -> LedgerRow | None:
        content = self.bucket.read(recording.key(audio_format.extension))
        if not content or content.size != recording.size_bytes:
            return None
        try:
            detect_format(content.head, audio_format.content_type)
        except InvalidContent:
            return None
        row = self._make_stored_row(recording, audio_format, content, attempts=0)
        self.journal.settle(row)
        return row

    def _make_stored_row(
        self, recording: Recording, audio_format: AudioFormat, content: Content, **fields: int
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

    @contextmanager
    def _receive(self, stream: ByteStream, limit: int | None) -> Iterator[tuple[Path, Content]]:
        """Write a stream to a temporary file; stop as soon as it cannot be the expected file."""
        digest, size, head = hashlib.sha256(), 0, b""
        path = self.spool / uuid.uuid4().hex
        try:
            with path.open("wb") as file:
                for chunk in stream:
                    if not head:
                        head = chunk[:HEAD_BYTES]
                        detect_format(head, stream.content_type)
                    size += len(chunk)
                    if limit is not None and size > limit:
                        raise InvalidContent(f"received more than the {limit:,} bytes that the API reports")
                    digest.update(chunk)
                    file.write(chunk)
            yield path, Content(size, digest.hexdigest(), head)
        finally:
            path.unlink(missing_ok=True)


def _check_size(received: int, reported: int | None, reporter: str) -> None:
    if reported is not None and reported != received:
        raise InvalidContent(f"received {received:,} bytes, but {reporter} reports {reported:,}")
