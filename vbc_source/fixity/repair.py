"""Fetch a recording's file from VBC again: to put it back where it is damaged, or to compare it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from vbc_source.api.deletion_evidence import DeletionEvidence, request_present, says_gone
from vbc_source.api.downloads import Download
from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.archive import FILE_ERRORS
from vbc_source.audio.bucket import BucketFailed
from vbc_source.audio.ledger import LedgerRow
from vbc_source.audio.session import ArchiveSession
from vbc_source.errors import InvalidContent, NotFound, NotSubscribed, VbcError
from vbc_source.fixity.inventory import ArchivedFile
from vbc_source.fixity.judging import names_own_file
from vbc_source.recordings import EPOCH, Recording
from vbc_source.warehouse.audio_checks import AudioCheck
from vbc_source.warehouse.erasures import AGAIN, read_erased
from vbc_source.windows import parse_instant

log = logging.getLogger(__name__)


class Absent(NamedTuple):
    """A file that VBC does not have, by an answer that is to be confirmed."""

    row: LedgerRow
    check: AudioCheck


class Fetcher:
    """Fetches files of an archive from VBC; thread-safe. Checks that it returns say what became of them.

    Attributes:
        has_new_version: Whether it has stored other bytes than those of the ledger, as a version of its own.
    """

    def __init__(self, session: ArchiveSession) -> None:
        self._client, self._archive = session.client, session.archive
        self._root = session.config.recording_api
        self._fault: VbcError | None = None  # that concerns all files, such as a refused login
        self._erased = read_erased(session.loaded)
        self.has_new_version = False

    def repair(self, file: ArchivedFile, check: AudioCheck) -> AudioCheck | Absent:
        """Put the file of a failed check back, if VBC still has its bytes.

        A fault that concerns all files ends the repairs, not the checks.
        """
        if self._fault:
            return _explain(check, f"it was not fetched from VBC: {self._fault}")
        if not file.newest:
            return _explain(
                check, "VBC has a later version of it: restore this one from a copy of the archive"
            )
        try:
            recording, stream = self._open(file.row)
            key = self._archive.bucket.key_of(file.row.uri or "")
            # a row may name the file of another recording, which must not be replaced
            own = key if key and names_own_file(file.row, key) else None
            row = self._archive.restore(file.row, recording, stream, own)
        except VbcError as error:
            # it would meet every other file too, and logins that are refused again lock the user
            if isinstance(error, NotSubscribed) or not isinstance(error, (*FILE_ERRORS, BucketFailed)):
                log.warning("nothing more is repaired: %s", error)
                self._fault = error
            return self._read_fault(file, check, error)
        if row.version != file.row.version:
            self.has_new_version = True
            return _explain(check, f"VBC has other bytes now, which are kept as version {row.version}")
        log.warning("audio of %s is stored again", recording.title)
        recorded = (file.row.uri, file.row.size_bytes, file.row.sha256)
        text = None
        if (row.uri, row.size_bytes, row.sha256) != recorded:
            text = "the ledger was wrong, and is corrected by VBC's own bytes"
        return replace(
            check, outcome="repaired", uri=row.uri, size_bytes=row.size_bytes, sha256=row.sha256, error=text
        )

    def prove(self, file: ArchivedFile, check: AudioCheck) -> AudioCheck | Absent:
        """Compare a file that is in the bucket as the ledger has it with VBC's bytes."""
        try:
            recording, stream = self._open(file.row)
            if self._archive.prove(file.row, recording, stream):
                return check
        # nothing can be compared then, where a repair lets the checks go on
        except NotSubscribed:
            raise
        except FILE_ERRORS as error:
            return self._read_fault(file, check, error)
        return replace(check, outcome="damaged", error="VBC's own bytes are others")

    def confirm_absent(self, absent: Iterable[Absent], pool: Executor) -> Iterator[AudioCheck]:
        """Yield the checks of files that VBC did not have, with the evidence where that is confirmed."""
        owners: defaultdict[tuple[str, Any, str], list[Absent]] = defaultdict(list)
        for item in absent:
            owners[item.row.account_id, item.row.recording_type, item.row.user_id].append(item)
        for owner, items in owners.items():
            api = RecordingApi(self._client, self._root, *owner)
            evidence = DeletionEvidence(api, pool, partial(request_present, api))
            gone = dict(evidence.confirm(item.row.recording_id for item in items))
            for item in items:
                found = gone.get(item.row.recording_id)
                text = f"VBC no longer has it: {found}" if found else "VBC did not answer for it"
                yield _explain(item.check, text)

    def _open(self, row: LedgerRow) -> tuple[Recording, Download]:
        """Ask VBC for the recording as it is now, and open its audio; of one that was erased nothing."""
        if row.key[:4] in self._erased:
            raise InvalidContent(f"it was erased: {AGAIN}")
        api = RecordingApi(self._client, self._root, row.account_id, row.recording_type, row.user_id)
        recording = _read_recording(row, api.show(row.recording_id))
        if not recording.download_url:
            raise InvalidContent("the API returned no download_url")
        title = f"audio of {recording.title}"
        return recording, Download(self._client, recording.download_url, recording.size_bytes, title)

    def _read_fault(self, file: ArchivedFile, check: AudioCheck, error: Exception) -> AudioCheck | Absent:
        if isinstance(error, NotFound) and says_gone(error):
            return Absent(file.row, check)
        return _explain(check, f"it could not be fetched from VBC: {error}")


def _explain(check: AudioCheck, text: str) -> AudioCheck:
    return replace(check, error=f"{check.error}; {text}" if check.error else text)


def _read_recording(row: LedgerRow, shown: Mapping[str, Any]) -> Recording:
    """Make the recording of a row as VBC has it now; its file goes where `vbc audio` would put it."""
    start, size = row.call_start or _read_day(row), shown.get("file_size_in_bytes")
    with suppress(ValueError, TypeError):
        # one that cannot be read leaves the file in the folder of its row
        start = parse_instant(str(shown["start"])) if shown.get("start") else start
    call_id, link = shown.get("call_id"), shown.get("download_url")
    return Recording(
        account_id=row.account_id,
        recording_type=row.recording_type,
        user_id=row.user_id,
        recording_id=row.recording_id,
        start=start,
        download_url=None if link is None else str(link),
        size_bytes=size if isinstance(size, int) else None,
        # as the file was named when it was stored
        shared_id=".user_id=" in (row.uri or ""),
        call_id=None if call_id is None else str(call_id),
        version=row.version,
    )


def _read_day(row: LedgerRow) -> datetime:
    """Return the day of a file's folder, which rows of older versions do not name."""
    day = PurePosixPath(row.uri or "").parent.name.removeprefix("date=")
    try:
        return parse_instant(day)
    except ValueError:
        return EPOCH
