"""Archive the audio of recordings that are loaded and not archived yet."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import NamedTuple

from vbc_source.api.deletion_evidence import DeletionEvidence, request_present, says_gone
from vbc_source.api.downloads import Download
from vbc_source.api.http.rate_limit import ClientClosed
from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.archive import FILE_ERRORS
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.bucket import FolderListings
from vbc_source.audio.exports.batches import archive_by_exports
from vbc_source.audio.exports.planner import Via
from vbc_source.audio.ledger import LedgerRow
from vbc_source.audio.missing_durations import measure_missing
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.audio.sidecars.missing_sidecars import (
    describe_written,
    write_missing_sidecars,
    write_missing_sidecars_if_possible,
)
from vbc_source.errors import InvalidContent, NotFound, NotSubscribed, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.progress import Progress, write_size
from vbc_source.recordings import Recording, RecordingType
from vbc_source.warehouse.erasures import warn_of_erased
from vbc_source.warehouse.recordings import TABLES, RecordingSelection

# then the gateway or a setting is broken, not the files
MAX_FAILURES_IN_A_ROW = 25
QUEUE = 50  # files that wait or are worked on, for each that is received at a time


@dataclass(frozen=True, slots=True)
class AudioResult:
    """What a run archived.

    Attributes:
        stored: Files downloaded and stored.
        exported: Those of them that came from exports.
        exports: Exports downloaded.
        found: Files that were already in the bucket, without a row in the ledger.
        measured: Files archived earlier whose length was measured now.
        bytes: Bytes of the files stored.
        missing: Recordings whose audio is gone.
        forbidden: Recordings whose audio the API user may not read.
        failed: Recordings whose audio could not be stored; the next run retries them.
        sidecars: Sidecars written, also of files that earlier runs have stored.
        refused: Addresses of manifests that are not readable, and of files that a manifest has with another
            SHA-256 than the ledger.
        requests: Requests sent to the gateway.
        seconds: Duration of the run.
        ok: Whether nothing failed.
    """

    stored: int = 0
    exported: int = 0
    exports: int = 0
    found: int = 0
    measured: int = 0
    bytes: int = 0
    missing: int = 0
    forbidden: int = 0
    failed: int = 0
    sidecars: int = 0
    refused: tuple[str, ...] = ()
    requests: int = 0
    seconds: float = 0.0
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield (
            f"{self.stored:,} files stored ({write_size(self.bytes)}), {self.requests:,} requests, "
            f"{self.seconds:.1f} s."
        )
        if self.exports:
            yield f"{self.exported:,} of them came from {self.exports:,} exports."
        others = {
            "were already in the bucket": self.found,
            "archived earlier were measured": self.measured,
            "are gone at VBC": self.missing,
            "may not be read by the API user": self.forbidden,
            "failed and are retried by the next run": self.failed,
        }
        if any(others.values()):
            yield f"{', '.join(f'{count:,} {text}' for text, count in others.items() if count)}."
        yield from describe_written(self.sidecars, self.refused)


def archive_audio(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    selection: RecordingSelection | None = None,
    limit: int | None = None,
    via: Via = "files",
) -> AudioResult:
    """Archive the audio that is not archived yet, oldest first. A file is stored verified, or not at all.

    Args:
        target: Where the recordings are loaded. A pipeline of its own, `<pipeline>_audio`, loads the
            ledger there.
        bucket_url: Where files are stored; from `[sources.vbc.audio]` if None.
        selection: Which recordings to archive; all if None.
        limit: Maximum number of files; with a limit, no exports are started.
        via: `files` downloads them one by one, `export` has VBC pack them into zips, `auto` chooses what
            takes fewer requests.

    Returns:
        The counts of stored, missing and failed files.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
        VbcError: The run stopped. Files stored until then are in the ledger.
    """
    started, started_at = time.monotonic(), datetime.now(timezone.utc)
    with open_archive(target, bucket_url) as session:
        config = session.config
        warn_of_erased(session.loaded, *TABLES.values())
        backlog = Backlog(session.loaded, selection or RecordingSelection(), config.max_attempts, started_at)
        exported, counts = Counter[str](), Counter[str]()
        try:
            if via != "files" and not limit:
                exported = archive_by_exports(session, backlog, via)
            if via != "export":
                counts = AudioRun(session, backlog, limit).run()
        except VbcError:
            write_missing_sidecars_if_possible(session, started_at)
            raise
        measured = 0 if limit else measure_missing(session)
        written = write_missing_sidecars(session, started_at)
        # files missing in a zip stay in the backlog: `auto` has downloaded them by now
        incomplete = exported["failed"] or (via == "export" and exported["lacking"])
        forbidden = counts["forbidden"] and not config.skip_forbidden
        return AudioResult(
            stored=counts["stored"] + exported["stored"],
            exported=exported["stored"],
            exports=exported["jobs"],
            found=counts["found"],
            measured=measured,
            bytes=counts["bytes"] + exported["bytes"],
            missing=counts["missing"],
            forbidden=counts["forbidden"],
            failed=counts["failed"] + exported["failed"],
            sidecars=written.sidecars,
            refused=written.refused,
            requests=session.client.requests_sent,
            seconds=time.monotonic() - started,
            ok=not (counts["failed"] or forbidden or incomplete or written.refused),
        )


class AbsentFile(NamedTuple):
    """A recording whose audio the API does not find."""

    recording: Recording
    fault: NotFound


class AudioRun:
    """Downloads the files of the backlog one by one, in several threads."""

    def __init__(self, session: ArchiveSession, backlog: Backlog, limit: int | None) -> None:
        self._client, self._archive, self._ledger = session.client, session.archive, session.ledger
        self._backlog, self._limit = backlog, limit
        self._workers, self._root = session.config.max_concurrency, session.config.recording_api
        self._folders = FolderListings(session.archive.bucket)
        self._counts: Counter[str] = Counter()
        self._absent: list[AbsentFile] = []
        self._failures_in_a_row = 0
        self._fault: BaseException | None = None  # that ends the run

    def run(self) -> Counter[str]:
        """Archive the files, and load the ledger whatever happens; return the counts of `AudioResult`."""
        files, size = self._backlog.measure()
        if not files:
            return self._counts
        progress = Progress(min(files, self._limit or files), size)
        # no `with`, whose end waits for everything that is queued before the error is seen
        pool = ThreadPoolExecutor(self._workers)
        try:
            for row in self._archive_all(pool):
                self._count(row)
                progress.count(row.size_bytes or 0)
                self._ledger.load_when_due()
            for row in self._confirm_absent():
                self._count(row)
        except BaseException as error:
            self._client.close()  # ends the waits of the threads for a retry
            pool.shutdown(wait=True, cancel_futures=True)
            self._ledger.load_if_possible()
            # another thread, whose wait the fault has ended, may be the first in the queue
            if isinstance(error, ClientClosed) and self._fault:
                raise self._fault from None
            raise
        pool.shutdown(wait=True)
        self._ledger.load()
        return self._counts

    def _archive_all(self, pool: ThreadPoolExecutor) -> Iterator[LedgerRow]:
        """Yield a row for each file; those that VBC does not have are kept for `_confirm_absent`."""
        for answer in self._request_all(pool):
            if isinstance(answer, LedgerRow):
                yield answer
                continue
            self._absent.append(answer)
            # in time to end a run in which every file is a 404: unconfirmed ones count as failures in a row
            if len(self._absent) >= MAX_FAILURES_IN_A_ROW:
                yield from self._confirm_absent()

    def _request_all(self, pool: ThreadPoolExecutor) -> Iterator[LedgerRow | AbsentFile]:
        done: SimpleQueue[Future[LedgerRow | AbsentFile]] = SimpleQueue()
        pending = 0
        for recording in islice(self._backlog.read(), self._limit):
            # enough for the seconds that a load of the ledger takes, in which nobody submits more
            while pending >= QUEUE * self._workers or not done.empty():
                yield done.get().result()
                pending -= 1
            # taken in the order in which they end: a large file does not hold up the rows of small ones
            pool.submit(self._archive_one, recording).add_done_callback(done.put)
            pending += 1
        for _ in range(pending):
            yield done.get().result()

    def _confirm_absent(self) -> Iterator[LedgerRow]:
        """Find out which of the files without an answer are of recordings that VBC no longer has.

        A 404 for audio proves nothing by itself: the gateway may fail, or the file may not be ready yet.
        """
        absent, self._absent = self._absent, []
        owners: defaultdict[tuple[str, RecordingType, str], list[AbsentFile]] = defaultdict(list)
        for file in absent:
            recording = file.recording
            owners[recording.account_id, recording.recording_type, recording.user_id].append(file)
        for (account, kind, user), files in owners.items():
            api = RecordingApi(self._client, self._root, account, kind, user)
            # not the pool with the queue: its files would come first
            with ThreadPoolExecutor(self._workers) as pool:
                evidence = DeletionEvidence(api, pool, partial(request_present, api))
                gone = dict(evidence.confirm(file.recording.recording_id for file in files))
            for file in files:
                found = gone.get(file.recording.recording_id)
                if found:
                    yield self._archive.record_missing(file.recording, found)
                else:
                    yield self._archive.record_failure(file.recording, file.fault)

    def _archive_one(self, recording: Recording) -> LedgerRow | AbsentFile:
        """Archive a file; a fault that concerns all files closes the client, before another is requested."""
        try:
            return self._try(recording)
        except ClientClosed:
            raise
        except BaseException as fault:
            self._fault = fault
            self._client.close()
            raise

    def _try(self, recording: Recording) -> LedgerRow | AbsentFile:
        try:
            sizes = self._folders.list_sizes(recording.folder)
            # first: after the loss of the ledger, what the bucket has costs no request at VBC
            row = self._archive.adopt(recording, sizes)
            if row:
                return row
            if not recording.download_url:
                raise InvalidContent("the API returned no download_url")
            description = f"audio of {recording.title}"
            download = Download(self._client, recording.download_url, recording.size_bytes, description)
            return self._archive.store(recording, download, sizes)
        except NotSubscribed:
            raise
        except FILE_ERRORS as error:
            # a 404 with a code of the gateway says nothing of the recording
            if isinstance(error, NotFound) and says_gone(error):
                return AbsentFile(recording, error)
            return self._archive.record_failure(recording, error)

    def _count(self, row: LedgerRow) -> None:
        if row.status != "stored":
            self._counts[row.status] += 1
        elif row.attempts:
            self._counts["stored"] += 1
            self._counts["bytes"] += row.size_bytes or 0
        else:
            self._counts["found"] += 1
        # `missing` ends such a row: it was confirmed, so VBC answers
        failed = row.status in ("failed", "forbidden")
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise VbcError(
                f"{MAX_FAILURES_IN_A_ROW} files in a row could not be stored, the last one because: "
                f"{row.error}. The next run starts with other files and retries these later"
            )
