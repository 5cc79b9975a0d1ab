"""A loaded recording, and the place of its file in the archive. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal
from urllib.parse import quote

RecordingType = Literal["company", "user"]
RecordingKey = tuple[str, str, str, int]  # account, type, user (empty for the company's), id
RECORDING_KEY = ("account_id", "recording_type", "user_id", "recording_id")  # its columns, in every ledger
RECORDING_TYPES: tuple[RecordingType, ...] = ("company", "user")
LONGEST_SEGMENT = 200  # bytes; file systems allow 255, and the name gets a user and a suffix
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was loaded.

    Attributes:
        account_id: The real account id.
        recording_type: `company` or `user`.
        user_id: Owner of a user recording; empty for company recordings.
        recording_id: Id in the API.
        start: When the call began; 1970 where that is unknown.
        download_url: Address of its audio, or None.
        size_bytes: Size of its file as the API reports it, or None.
        shared_id: Whether another user has a recording with the same id.
        attempts: How often its audio was requested before.
        call_id: Id of its call, or None.
        version: 1, and one more for each time that it had changed at VBC after it was archived.
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
    call_id: str | None = None
    version: int = 1

    @property
    def title(self) -> str:
        """Its name in logs and errors."""
        return f"{self.recording_type} recording {self.recording_id}"

    @property
    def folder(self) -> str:
        """Folder of its file, relative to the bucket's address."""
        # the day in UTC, whatever the machine's zone: another run must find the file in the same folder
        day = self.start.astimezone(timezone.utc).strftime("%Y-%m-%d")
        return f"account_id={escape(self.account_id)}/recording_type={self.recording_type}/date={day}"

    def file(self, extension: str) -> str:
        """Return the name of its file; it contains the user where users share the id, and a later version."""
        owner = f".user_id={escape(self.user_id)}" if self.shared_id else ""
        version = f".v{self.version}" if self.version > 1 else ""
        return f"{escape(str(self.recording_id))}{owner}{version}.{extension}"

    def key(self, extension: str) -> str:
        """Return the key of its object, relative to the bucket's address."""
        return f"{self.folder}/{self.file(extension)}"


def write_recording_key(key: RecordingKey) -> str:
    """Write a key as `recording_key` of the models and of the dashboard: `549825/user/745249/17`."""
    return "/".join(filter(None, map(str, key)))


def escape(value: str) -> str:
    """Turn a value from the API into one segment of a path: without separators, and not too long."""
    # dots are escaped too: a segment `..` would leave the folder
    escaped = quote(value, safe="").replace(".", "%2E")
    if len(escaped) <= LONGEST_SEGMENT:
        return escaped
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
