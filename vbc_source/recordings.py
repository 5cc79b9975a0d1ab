"""A recording as the archive knows it, and where its file belongs. Pure: nothing here but names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal
from urllib.parse import quote

RecordingType = Literal["company", "user"]
TYPES: tuple[RecordingType, ...] = ("company", "user")
LONGEST_SEGMENT = 200  # bytes; file systems end at 255
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was loaded.

    Attributes:
        account_id: the real account.
        recording_type: `company` or `user`.
        user_id: whose own recording it is; empty for the company's.
        recording_id: the API's id.
        start: when the call began; 1970 where that is unknown.
        download_url: where its audio is, or None.
        size_bytes: how large the API says its file is, or None.
        shared_id: whether another user has a recording of the same id.
        attempts: how often its audio was asked for before.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    start: datetime
    download_url: str | None
    size_bytes: int | None
    shared_id: bool = False
    attempts: int = 0

    @property
    def title(self) -> str:
        """Names it in logs and errors."""
        return f"{self.recording_type} recording {self.recording_id}"

    @property
    def folder(self) -> str:
        """Where its file belongs, below the bucket's address."""
        day = self.start.astimezone(timezone.utc).strftime("%Y-%m-%d")
        return f"account_id={escape(self.account_id)}/recording_type={self.recording_type}/date={day}"

    def file(self, extension: str) -> str:
        """The name of its file; where users share an id, it says whose it is."""
        whose = f".user_id={escape(self.user_id)}" if self.shared_id else ""
        return f"{escape(str(self.recording_id))}{whose}.{extension}"

    def key(self, extension: str) -> str:
        """The object's key below the bucket's address."""
        return f"{self.folder}/{self.file(extension)}"


def escape(value: str) -> str:
    """Make part of a path of a value from the API: no separator, and not too long for a file's name."""
    # behind `account_id=` dots are harmless, but a name of their own they must not become
    escaped = quote(value, safe="").replace(".", "%2E")
    if len(escaped) <= LONGEST_SEGMENT:
        return escaped
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
