"""Stores the bytes of a recording, wherever they come from, once they are proven to be it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.formats import FORMATS, AudioFormat, detect_format
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import LedgerRow, describe
from vbc_source.errors import InvalidContent
from vbc_source.recordings import Recording

HEAD = 64


class ByteStream(Protocol):
    """Bytes that come, and what is said of them; that is looked at when all have come.

    Attributes:
        content_type: what they are said to be, or None.
        size: how many they are said to be, or None.
    """

    content_type: str | None
    size: int | None

    def __iter__(self) -> Iterator[bytes]:
        """Give the bytes, piece by piece, never all at once."""


@dataclass(frozen=True, slots=True)
class _Spooled:
    path: Path
    size: int
    sha256: str
    head: bytes


class Archive:
    """Files in a bucket, each of them proven before it gets its name.

    Args:
        bucket: where files go.
        spool: a folder for files that are on their way; emptied here.
        journal: where it is written down before and after a file is stored.
        now: tells the time.
    """

    def __init__(
        self,
        bucket: Bucket,
        spool: Path,
        journal: Journal,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.bucket, self.journal, self.spool, self._now = bucket, journal, spool, now
        spool.mkdir(parents=True, exist_ok=True)
        for left in spool.iterdir():
            left.unlink()

    def store(self, recording: Recording, stream: ByteStream) -> LedgerRow:
        """Store a recording's file under its key.

        Args:
            recording: whose file it is.
            stream: its bytes: a download, or a member of an export.

        Returns:
            The row for the ledger; it is in the journal already.

        Raises:
            NotStored: the bytes are not this recording's file; nothing is stored.
            BucketFailed: the bucket does not take it.
        """
        with self._receive(stream, recording.size_bytes) as file:
            sound = detect_format(file.head, stream.content_type)
            _check_sizes(file.size, stream.size, recording.size_bytes)
            row = describe(
                recording,
                "stored",
                self._now(),
                uri=self.bucket.uri(recording.key(sound.extension)),
                size_bytes=file.size,
                sha256=file.sha256,
                content_type=sound.content_type,
            )
            self.journal.intend(row)
            self.bucket.put(file.path, recording.key(sound.extension), sound.content_type)
        self.journal.settle(row)
        return row

    def keep(self, name: str, stream: ByteStream) -> tuple[str, int]:
        """Store sound that belongs to no recording known here; it is in no ledger.

        Args:
            name: its key without the extension.
            stream: its bytes.

        Returns:
            Its key and its size in bytes.

        Raises:
            NotStored: it is no sound, or not as long as it is said to be.
            BucketFailed: the bucket does not take it.
        """
        with self._receive(stream, stream.size) as file:
            sound = detect_format(file.head, stream.content_type)
            _check_sizes(file.size, stream.size, None)
            key = f"{name}.{sound.extension}"
            self.bucket.put(file.path, key, sound.content_type)
        return key, file.size

    @contextmanager
    def _receive(self, stream: ByteStream, most: int | None) -> Iterator[_Spooled]:
        """Write the bytes to a file of their own, as long as they may be what they should."""
        digest, size, head = hashlib.sha256(), 0, b""
        path = self.spool / uuid.uuid4().hex
        try:
            with path.open("wb") as file:
                for piece in stream:
                    if not head:
                        head = piece[:HEAD]
                        detect_format(head, stream.content_type)
                    size += len(piece)
                    if most is not None and size > most:
                        raise InvalidContent(f"more came than the {most:,} bytes the API tells of")
                    digest.update(piece)
                    file.write(piece)
            yield _Spooled(path, size, digest.hexdigest(), head)
        finally:
            path.unlink(missing_ok=True)

    def recover(self) -> None:
        """Find out what became of files that a killed run was about to store."""
        for row in self.journal.intents:
            key = self.bucket.key_of(row.uri or "")
            content = self.bucket.read(key) if key else None
            if content and (content.size, content.sha256) == (row.size_bytes, row.sha256):
                self.journal.settle(row)
            else:
                self.journal.forget(intents=[row])

    def adopt(self, recording: Recording, sizes: dict[str, int]) -> LedgerRow | None:
        """Take over a recording's file that is in the bucket already, as after the loss of a ledger.

        Its hash is taken from the bucket, so no proof against VBC's own bytes: `attempts` is 0, and
        retention does not delete on it.

        Args:
            recording: whose file it is.
            sizes: what its folder in the bucket holds.
        """
        for sound in FORMATS:
            found = sizes.get(recording.file(sound.extension))
            if found is not None and found == recording.size_bytes:
                return self._take_over(recording, sound)
        return None

    def _take_over(self, recording: Recording, sound: AudioFormat) -> LedgerRow | None:
        key = recording.key(sound.extension)
        content = self.bucket.read(key)
        if not content or content.size != recording.size_bytes:
            return None
        try:
            detect_format(content.head, sound.content_type)
        except InvalidContent:
            return None
        row = describe(
            replace(recording, attempts=-1),
            "stored",
            self._now(),
            uri=self.bucket.uri(key),
            size_bytes=content.size,
            sha256=content.sha256,
            content_type=sound.content_type,
        )
        self.journal.settle(row)
        return row


def _check_sizes(came: int, said: int | None, listed: int | None) -> None:
    for told, teller in ((said, "the server"), (listed, "the API")):
        if told is not None and told != came:
            raise InvalidContent(f"{came:,} bytes came, {teller} tells of {told:,}")
