"""Check files of the archive against the ledger: read them again, compare, repair where asked."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import NamedTuple

from vbc_source.audio.archive_audio import MAX_FAILURES_IN_A_ROW
from vbc_source.audio.bucket import BucketFailed
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.audio.sidecars.missing_sidecars import write_missing_sidecars
from vbc_source.errors import UsageError, VbcError
from vbc_source.fixity.check_ledger import CheckLedger
from vbc_source.fixity.folders import FolderChecks
from vbc_source.fixity.inventory import ArchivedFile, Extent, FileInventory, read_findings
from vbc_source.fixity.judging import Found, Verdict, judge_object, judge_row
from vbc_source.fixity.reading import ObjectReader
from vbc_source.fixity.repair import Absent, Fetcher
from vbc_source.fixity.result import FixityResult
from vbc_source.fixity.subsets import Limit, Subset, parse_subset
from vbc_source.fixity.unfinished import UnfinishedRun
from vbc_source.load.destinations import Target
from vbc_source.load.progress import Progress
from vbc_source.warehouse.audio_checks import OPEN, AudioCheck, Method
from vbc_source.warehouse.erasures import warn_of_erased
from vbc_source.warehouse.recordings import RecordingSelection

log = logging.getLogger(__name__)

MOST_FINDINGS = 1000  # open ones that are checked again beside a smaller subset
TICK = timedelta(microseconds=1)  # of `checked_at`, by which the newest check is known
QUEUE = 16  # files for each thread that are submitted ahead


@dataclass(frozen=True, slots=True)
class _Options:
    subset: Subset
    selection: RecordingSelection
    repair: bool
    remote: bool
    against_vbc: bool


def check_fixity(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    selection: RecordingSelection | None = None,
    subset: str | None = None,
    repair: bool = False,
    remote: bool = False,
    against_vbc: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> FixityResult:
    """Compare size and SHA-256 of archived files with the ledger; each check is a row of `audio_checks`.

    Files that were never checked come first, then those whose check is oldest. Files with an open finding
    are checked again by every run. A run that was interrupted is continued by the next one with the same
    arguments.

    Args:
        target: Where the recordings are loaded.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        selection: Which files to check, by the start of the call; all if None.
        subset: How much to check: a share of the files (`1/30`, `5%`) or a size (`10GB`); all if None.
        repair: Fetch damaged and missing files from VBC again. What is damaged is kept beside the new file.
            A manifest that is missing is written anew, with sidecars of the files that have none.
        remote: Trust the checksums that S3 keeps, without reading; files that have none are read.
        against_vbc: Compare files that were only found in the bucket with VBC's own bytes, and no others.
        now: Returns the current time.

    Returns:
        What was checked, found and repaired; `ok` says whether no finding is open.

    Raises:
        UsageError: The subset is malformed, or the arguments contradict each other.
        SettingsError: A setting is missing or malformed; the message names it.
        VbcError: The run stopped; what it checked until then is recorded.
    """
    if remote and against_vbc:
        raise UsageError("--remote and --against-vbc exclude each other: VBC's bytes are compared with bytes")
    options = _Options(parse_subset(subset), selection or RecordingSelection(), repair, remote, against_vbc)
    started = time.monotonic()
    with open_archive(target, bucket_url) as session:
        unfinished = UnfinishedRun(session.folder / "fixity.json", f"{session.archive.bucket.url} {options}")
        began = unfinished.begin(now())
        with closing(CheckLedger(session, session.folder / "checks.jsonl")) as ledger:
            result = _FixityRun(session, ledger, options, began, now).run()
        # after all checks are loaded: until then, the next run continues this one
        unfinished.finish()
        return replace(result, requests=session.client.requests_sent, seconds=time.monotonic() - started)


class _Checked(NamedTuple):
    """A file, what was found, and what became of it; the last check counts."""

    file: ArchivedFile
    checks: tuple[AudioCheck, ...]
    absent: Absent | None = None


class _FixityRun:
    def __init__(
        self,
        session: ArchiveSession,
        ledger: CheckLedger,
        options: _Options,
        began: datetime,
        now: Callable[[], datetime],
    ) -> None:
        self._session, self._ledger, self._options, self._now = session, ledger, options, now
        self._bucket = session.archive.bucket
        self._inventory = FileInventory(
            session.loaded, options.selection, began, unproven=options.against_vbc
        )
        self._folders = FolderChecks(self._bucket, session.config, session.loaded, options.selection)
        self._reader = ObjectReader(self._bucket, remote=options.remote)
        self._fetcher = Fetcher(session)
        # reading a local file keeps a processor busy, an object store keeps a thread waiting
        local = self._bucket.path("") is not None and not (options.repair or options.against_vbc)
        self._workers = (os.cpu_count() or 1) if local else session.config.max_concurrency
        self._counts: Counter[str] = Counter()
        self._repaired: list[int] = []
        self._proven: list[int] = []
        self._failures_in_a_row = 0

    def run(self) -> FixityResult:
        extent = self._inventory.measure()
        self._check_bucket(extent)
        warn_of_erased(self._session.loaded, LEDGER)
        # no `with`, whose end waits for everything that is queued before the error is seen
        pool = ThreadPoolExecutor(self._workers)
        try:
            if not self._options.against_vbc:
                self._folders.check(pool)
            self._check_files(pool, extent)
        except BaseException:
            self._session.client.close()  # ends the waits of the threads for a retry
            pool.shutdown(wait=True, cancel_futures=True)
            self._ledger.load_if_possible()
            self._session.ledger.load_if_possible()
            raise
        pool.shutdown(wait=True)
        self._session.ledger.load()
        self._ledger.load()
        # after the loads: sidecars are written of what the ledger has
        self._complete_folders()
        return self._make_result()

    def _complete_folders(self) -> None:
        """Write what the repairs have left to write: manifests that are lost, and those of new versions."""
        lost = self._folders.without_manifest if self._options.repair else []
        if not (lost or self._repaired or self._fetcher.has_new_version):
            return
        write_missing_sidecars(self._session, named=lost)
        for folder in lost:
            log.warning("the manifest of %s was missing and is written again", folder)
        if lost:
            self._folders.compare_again(frozenset(lost))

    def _check_bucket(self, extent: Extent) -> None:
        """Stop where the bucket holds nothing at all: usually a folder is not mounted, and no file lost."""
        if extent.files and not self._bucket.list_sizes(""):
            raise VbcError(
                f"{self._bucket.url} holds nothing at all, but the ledger has {extent.files:,} files: mount "
                "it, or correct bucket_url. If all is lost, put any object there first, then use --repair"
            )
        if self._options.remote and not self._bucket.s3:
            log.warning("%s keeps no checksums: its files are read", self._bucket.url)

    def _check_files(self, pool: ThreadPoolExecutor, extent: Extent) -> None:
        limit = self._options.subset.limit(extent.files)
        left = limit.less(extent.done_files, extent.done_size)
        size = extent.size - extent.done_size
        if extent.done_files:
            log.warning(
                "an interrupted run is continued: %d of %d files are checked", extent.done_files, extent.files
            )
        progress = Progress(
            min(extent.files - extent.done_files, _least(left.files)),
            min(size, _least(left.size_bytes)),
            task="fixity",
        )
        absent = []
        # a subset may be one file, and findings must not wait for their turn
        again = Limit() if limit == Limit() else Limit(files=max(limit.files or 0, MOST_FINDINGS))
        for checked in self._check_all(pool, self._choose(again, left)):
            self._record(checked)
            progress.count(checked.file.size)
            if checked.absent:
                absent.append(checked)
            if len(absent) >= MAX_FAILURES_IN_A_ROW:
                self._confirm_absent(absent, pool)
                absent = []
        self._confirm_absent(absent, pool)

    def _choose(self, again: Limit, left: Limit) -> Iterator[ArchivedFile]:
        """Yield what is known or suspected to be wrong, then what is due, each within its limit."""
        first = chain(self._inventory.read_open(), self._folders.suspects)
        chosen = set()
        for file in again.take(first, _size_of):
            if file.row.key not in chosen:
                chosen.add(file.row.key)
                yield file
        # what the folders made suspect may be due as well
        due = (file for file in self._inventory.read_due() if file.row.key not in chosen)
        yield from left.take(due, _size_of)

    def _check_all(self, pool: ThreadPoolExecutor, files: Iterable[ArchivedFile]) -> Iterator[_Checked]:
        # not `Executor.map`, which would take all files of the archive before the first is read
        waiting: deque[Future[_Checked]] = deque()
        for file in files:
            waiting.append(pool.submit(self._check_one, file))
            if len(waiting) > QUEUE * self._workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _check_one(self, file: ArchivedFile) -> _Checked:
        check = self._read(file)
        answer: AudioCheck | Absent = check
        if check.outcome == "ok" and self._options.against_vbc:
            answer = self._fetcher.prove(file, check)
            if answer == check or isinstance(answer, Absent):
                return _Checked(file, (check,), answer if isinstance(answer, Absent) else None)
            check = answer
        if check.outcome in ("damaged", "missing") and self._options.repair:
            log.warning(
                "audio of %s recording %d is %s", check.recording_type, check.recording_id, check.outcome
            )
            answer = self._fetcher.repair(file, check)
            if isinstance(answer, Absent):
                return _Checked(file, (check,), answer)
            if answer.outcome == "repaired":
                # both are recorded; a file is what its newest check says
                return _Checked(file, (check, self._stamp(answer, TICK)))
        return _Checked(file, (answer,) if isinstance(answer, AudioCheck) else (check,))

    def _read(self, file: ArchivedFile) -> AudioCheck:
        """Read an object and judge it."""
        row, method, found = file.row, self._method, None
        key = self._bucket.key_of(row.uri or "")
        # before its object: the file of another recording could be whole
        verdict = judge_row(row, key)
        if verdict is None and key:
            try:
                found = self._reader.ask(key, Found(file.size, row.sha256 or ""))
                if found:
                    method = "remote checksum"
                else:
                    found = self._reader.read(key)
                verdict = judge_object(row, found)
                self._folders.check_sidecar(key, row.sha256)
            except BucketFailed as error:
                verdict = Verdict("unreadable", str(error))
        assert verdict  # noqa: S101 - a row without a key has been judged
        return self._stamp(
            AudioCheck(
                check_id="",
                checked_at=self._now(),
                account_id=row.account_id,
                recording_type=row.recording_type,
                user_id=row.user_id,
                recording_id=row.recording_id,
                version=row.version,
                uri=row.uri,
                method=method,
                outcome=verdict.outcome,
                size_bytes=found.size if found else None,
                sha256=found.sha256 if found else None,
                error=verdict.reason,
            )
        )

    @property
    def _method(self) -> Method:
        return "against_vbc" if self._options.against_vbc else "read"

    def _stamp(self, check: AudioCheck, after: timedelta = timedelta()) -> AudioCheck:
        """Make a row of its own of a check, later than the one that it is made of."""
        # a clock that was set back must not put it before the one that it follows
        moment = max(self._now(), check.checked_at + after)
        return replace(check, check_id=uuid.uuid4().hex, checked_at=moment)

    def _record(self, checked: _Checked) -> None:
        last = checked.checks[-1]
        self._ledger.add(checked.checks)
        self._ledger.load_when_due()
        self._session.ledger.load_when_due()
        self._counts["checked"] += 1
        self._counts["bytes"] += last.size_bytes or 0
        if last.outcome == "repaired":
            self._repaired.append(last.recording_id)
        elif last.outcome == "ok" and self._options.against_vbc:
            # whole, and with an error: VBC did not give the bytes to compare it with
            if checked.absent or last.error:
                self._counts["unproven"] += 1
            else:
                self._proven.append(last.recording_id)
        self._failures_in_a_row = self._failures_in_a_row + 1 if last.outcome == "unreadable" else 0
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise VbcError(
                f"{MAX_FAILURES_IN_A_ROW} files in a row could not be read, the last one: {last.error}"
            )

    def _confirm_absent(self, absent: list[_Checked], pool: ThreadPoolExecutor) -> None:
        """Record once more, with the evidence, what VBC did not have."""
        answers = self._fetcher.confirm_absent([checked.absent for checked in absent if checked.absent], pool)
        self._ledger.add([self._stamp(check, TICK) for check in answers])

    def _make_result(self) -> FixityResult:
        # measured again, as this run has checked some
        extent, findings, folders = (
            self._inventory.measure(),
            read_findings(self._session.loaded),
            self._folders,
        )
        counts = self._counts
        ids = {
            name: tuple(dict.fromkeys(item.recording_id for item in findings if item.outcome == name))
            for name in OPEN
        }
        return FixityResult(
            ok=not (findings or folders.sidecars or folders.manifests),
            checked=counts["checked"],
            bytes=counts["bytes"],
            damaged=ids["damaged"],
            missing=ids["missing"],
            unreadable=ids["unreadable"],
            repaired=tuple(sorted(self._repaired)),
            proven=tuple(sorted(self._proven)),
            unproven=counts["unproven"],
            unknown=folders.unknown,
            unknown_keys=tuple(folders.unknown_keys),
            sidecars=tuple(sorted(folders.sidecars)),
            manifests=tuple(sorted(folders.manifests)),
            without_sidecars=folders.bare_files,
            read_instead=self._reader.read_instead,
            left=extent.files - extent.done_files,
            never_checked=extent.never_checked,
            oldest_check=extent.oldest,
            findings=tuple(findings),
            flaws=tuple(folders.flaws()),
        )


def _size_of(file: ArchivedFile) -> int:
    return file.size


def _least(limit: int | None) -> int:
    return 1 << 62 if limit is None else limit
