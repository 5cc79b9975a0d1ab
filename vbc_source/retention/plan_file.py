"""Plan files: JSON lines with a header first, a line for each recording, and a hash of them last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from vbc_source.durable_files import replace_file
from vbc_source.errors import UsageError
from vbc_source.private_files import open_private
from vbc_source.recordings import RecordingKey, RecordingType
from vbc_source.retention.policy import Action

FORMAT = "vbc retention plan 1"
LONGEST_LINE = 1 << 20  # bytes
ID_DIGITS = 16  # of the hash


class PlanRefused(UsageError):
    """Raised when a plan is not applied; nothing has been done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"plan refused, nothing is done: {reason}")


class PlanHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a plan was made of.

    Attributes:
        format: Always `FORMAT`.
        made_at: When it was made; the age of recordings is measured by it.
        policy: Path of the policy.
        policy_sha256: Its hash.
        hold: Path of the hold list, if the policy names one.
        hold_sha256: Its hash.
        destination: A digest of where the recordings are loaded.
        dataset: The dataset there.
        bucket_url: The bucket.
    """

    format: str
    made_at: datetime
    policy: str
    policy_sha256: str
    hold: str | None
    hold_sha256: str | None
    destination: str
    dataset: str
    bucket_url: str


class PlanEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a plan does with a recording, and by which rule.

    Attributes:
        account_id: Account.
        recording_type: `company` or `user`.
        user_id: Owner of a user recording.
        recording_id: Id.
        rule: Name of the rule; None if none matches.
        actions: What is to be done; the recording is kept where nothing is.
        held: Place in the hold list of the entry that forbids a deletion.
        blocked: Why what the rule demands cannot be done.
        start: When the call began.
        call_id: Its call, as loaded.
        listed_bytes: Size of its file as VBC listed it.
        uri: Address of its file in the archive.
        size_bytes: Size of that file.
        sha256: SHA-256 of that file.
        digest: Digest of all facts on which the actions rest.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str = ""
    recording_id: int
    rule: str | None = None
    actions: tuple[Action, ...] = ()
    held: str | None = None
    blocked: str | None = None
    start: datetime | None = None
    call_id: str | None = None
    listed_bytes: int | None = None
    uri: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    digest: str = ""

    @property
    def key(self) -> RecordingKey:
        """The key of the recording."""
        return self.account_id, self.recording_type, self.user_id, self.recording_id

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"{self.recording_type} recording {self.recording_id}"


@dataclass(frozen=True, slots=True)
class _Trailer:
    sha256: str
    lines: int


class PlanWriter:
    """Writes a plan; the file appears under its name when `close` is called, whole or not at all.

    Without a path only the id of the plan is computed.
    """

    def __init__(self, path: Path | None, header: PlanHeader) -> None:
        self._path, self._digest, self._lines = path, hashlib.sha256(), 0
        # beside the plan, as a rename needs the same file system
        self._draft = path.with_name(f"{path.name}.draft") if path else Path()
        self._file = os.fdopen(self._open(self._draft), "wb") if path else None
        self._write(header)

    def write(self, entry: PlanEntry) -> None:
        """Write what is to be done with a recording."""
        self._write(entry)

    def close(self) -> str:
        """Finish the plan; return its id."""
        sha256 = self._digest.hexdigest()
        if self._file and self._path:
            self._file.write(_encode(_Trailer(sha256, self._lines)))
            self._file.close()
            replace_file(self._draft, self._path)
        return sha256[:ID_DIGITS]

    def discard(self) -> None:
        """Remove what was written."""
        if self._file and not self._file.closed:
            self._file.close()
            self._draft.unlink(missing_ok=True)

    def _write(self, value: PlanHeader | PlanEntry) -> None:
        line = _encode(value)
        self._digest.update(line)
        self._lines += 1
        if self._file:
            self._file.write(line)

    @staticmethod
    def _open(path: Path) -> int:
        try:
            return open_private(path)
        except OSError as error:
            raise UsageError(f"--out: the plan cannot be written: {error.strerror}") from None


class PlanReader:
    """Reads a plan that is whole and as it was written.

    Raises:
        PlanRefused: It is something else, or was edited.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file: BinaryIO = path.open("rb")  # kept open: what was checked is what is read
        except OSError as error:
            raise PlanRefused(f"the file cannot be read: {error.strerror}") from None
        try:
            self.id = self._check()
            self.header: PlanHeader = _decode(self._rewind(), PlanHeader)
        except BaseException:
            self._file.close()
            raise
        if self.header.format != FORMAT:
            raise PlanRefused(f"its format is {self.header.format!r}, not {FORMAT!r}")

    def __enter__(self) -> PlanReader:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def read(self) -> Iterator[PlanEntry]:
        """Yield the entries with something to do, each time from the first."""
        line, following = self._rewind(), self._file.readline()
        while line := following:
            following = self._file.readline()
            if following:  # the last line is the hash
                entry: PlanEntry = _decode(line, PlanEntry)
                if entry.actions:
                    yield entry

    def _rewind(self) -> bytes:
        """Return the first line; reading goes on after it."""
        self._file.seek(0)
        return self._file.readline(LONGEST_LINE)

    def _check(self) -> str:
        """Check the hash, and return the plan's id."""
        digest, lines, line = hashlib.sha256(), 0, self._rewind()
        # with a limit: what is no plan may be one line of gigabytes
        while following := self._file.readline(LONGEST_LINE):
            digest.update(line)
            line, lines = following, lines + 1
        trailer: _Trailer = _decode(line, _Trailer)
        # cut off before its last byte, the trailer could still be read
        if (trailer.sha256, trailer.lines) != (digest.hexdigest(), lines) or not line.endswith(b"\n"):
            raise PlanRefused("it was edited: its hash does not fit; make a new plan")
        return trailer.sha256[:ID_DIGITS]


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _decode(line: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PlanRefused("it is not a plan of vbc retention plan, or is truncated; make a new one") from None
