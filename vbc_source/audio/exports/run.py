"""Archives the members of an export's zip as the recordings they are."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import BinaryIO, NamedTuple

from vbc_source.api.export_jobs import ExportApi, Job
from vbc_source.audio.archive import Archive
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.folders import FolderListings
from vbc_source.audio.exports.matching import LoadedRecording, MemberMatcher
from vbc_source.audio.exports.receipts import ExportReceipts
from vbc_source.audio.exports.zip_download import fetch_zip
from vbc_source.audio.exports.zip_file import Limits, Member, Zip
from vbc_source.audio.ledger import describe
from vbc_source.audio.ledger_writer import AudioLedger
from vbc_source.errors import InvalidContent
from vbc_source.load.progress import Progress, write_size
from vbc_source.recordings import escape

log = logging.getLogger(__name__)

BATCH = 500  # members to look up at once
UNMATCHED = "unmatched"
_SOUNDS = (".mp3", ".wav")

Key = tuple[str, str, str, int]


@dataclass(slots=True)
class ExportResult:
    """What archiving exports did.

    Attributes:
        jobs: exports that were looked into.
        stored: files stored.
        found: files that were stored and proven already.
        bytes: of the files stored.
        unmatched: files that belong to no loaded recording, or to more than one.
        left_out: members that are neither sound nor called so.
        failed: members that were refused, damaged, or not what they should be.
        lacking: files that VBC did not put into its zips.
        requests: sent to the gateway.
        seconds: how long it took.
        errors: why exports could not be archived, each in one line.
        ok: whether nothing failed and nothing was lacking.
    """

    jobs: int = 0
    stored: int = 0
    found: int = 0
    bytes: int = 0
    unmatched: int = 0
    left_out: int = 0
    failed: int = 0
    lacking: int = 0
    requests: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Describe the result in lines for people."""
        yield (
            f"{self.stored:,} files stored ({write_size(self.bytes)}) from {self.jobs:,} exports, "
            f"{self.requests:,} requests, {self.seconds:.1f} s."
        )
        counts = asdict(self)
        words = {
            "found": "were stored already",
            "unmatched": f"belong to no loaded recording: see {UNMATCHED}/ (run vbc sync, then again)",
            "left_out": "are no sound and were left out",
            "failed": "were refused or damaged",
            "lacking": "were not in the zip: VBC has not packed them; vbc audio fetches them one by one",
        }
        told = [f"{counts[name]:,} {text}" for name, text in words.items() if counts[name]]
        if told:
            yield f"{'; '.join(told)}."


class _Done(NamedTuple):
    """What became of a member: which count it belongs to, and where its file is."""

    what: str
    key: str | None = None
    size: int = 0


class ExportRun:
    """Archives one export after the other.

    Args:
        archive: where files go.
        ledger: where it is written down.
        workers: files to store at once.
        most_bytes: how large a zip may be.
        keep_unmatched: whether to store what belongs to no loaded recording.
        limits: how much a zip may claim to hold.
    """

    def __init__(
        self,
        archive: Archive,
        ledger: AudioLedger,
        workers: int,
        most_bytes: int,
        *,
        keep_unmatched: bool = True,
        limits: Limits | None = None,
    ) -> None:
        self._archive, self._ledger, self._workers = archive, ledger, workers
        self._most_bytes, self._keep_unmatched, self._limits = most_bytes, keep_unmatched, limits or Limits()
        self._receipts = ExportReceipts(archive.spool.parent / "exports", archive.bucket)
        self._folders = FolderListings(archive.bucket)
        self.outcome = ExportResult()

    def is_archived(self, job_id: str) -> bool:
        """Whether an export is archived as a whole already; counts its files as found then."""
        sizes = self._receipts.read(job_id)
        if sizes is None:
            return False
        self.outcome.jobs += 1
        self.outcome.found += len(sizes)
        return True

    def download(self, api: ExportApi, job: Job, catalog: Catalog) -> None:
        """Archive what is in an export's zip and not archived yet.

        Raises:
            ExportFailed: there is no zip; the message says why.
            ZipRefused: it is none, or one that claims too much.
            GatewayFault: the gateway's last word.
            BucketFailed: the bucket does not take the files.
        """
        api.check_ready(job)
        with self._fetch(api, job) as file:
            self._ledger.load()  # what an export before this one has stored counts
            self._folders = FolderListings(self._archive.bucket)
            members = Zip(file, self._limits)
            done = list(self._work_off(job.id, members, catalog))
        self._ledger.load()
        lacking = max((job.total or 0) - len(members.members), 0)
        self.outcome.jobs += 1
        self.outcome.lacking += lacking
        if not lacking and all(one.what in ("stored", "found", "left_out") for one in done):
            self._receipts.write(job.id, {one.key: one.size for one in done if one.key})

    @contextmanager
    def _fetch(self, api: ExportApi, job: Job) -> Iterator[BinaryIO]:
        path = self._archive.spool / f"{uuid.uuid4().hex}.zip"
        try:
            fetch_zip(api.client, api.find_links(job), path, self._most_bytes, f"export job {job.id}")
            with path.open("rb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def _work_off(self, job_id: str, source: Zip, catalog: Catalog) -> Iterator[_Done]:
        progress = Progress(len(source.members), sum(member.size for member in source.members))
        taken: set[Key] = set()
        names: dict[str, int] = {}
        members = iter(source.members)
        with ThreadPoolExecutor(self._workers) as pool:
            while batch := list(islice(members, BATCH)):
                planned = list(self._plan(batch, catalog, taken))
                keys = [_name_unmatched(job_id, member, names) for member in batch]
                for one in pool.map(lambda *args: self._store(source, *args), batch, planned, keys):
                    self._count(one)
                    progress.count(one.size)
                    yield one
                self._ledger.load_when_due()

    def _plan(
        self, batch: Sequence[Member], catalog: Catalog, taken: set[Key]
    ) -> Iterator[LoadedRecording | None]:
        """Say for each member whose it is; a recording has one file."""
        asked = [member for member in batch if not member.refused]
        matching = MemberMatcher(catalog.find(asked) if asked else (), catalog.privacy)
        for member in batch:
            found = None if member.refused else matching.find(member.name, member.size, member.modified)
            if found is not None:
                one = found.recording
                key: Key = (one.account_id, one.recording_type, one.user_id, one.recording_id)
                found = None if key in taken else found
                taken.add(key)
            yield found

    def _store(self, source: Zip, member: Member, found: LoadedRecording | None, name: str) -> _Done:
        """Store a member under the recording's key, or under `unmatched/`."""
        if found is not None:
            return self._store_matched(source, member, found)
        try:
            if not member.refused:
                there = self._find_unmatched(name, member.size)
                if there or not self._keep_unmatched:
                    return _Done("unmatched", there)
            key, _ = self._archive.keep(name, source.open(member))
        except InvalidContent as fault:
            if not member.refused and not member.name.lower().endswith(_SOUNDS):
                return _Done("left_out")
            log.warning("a member of the export is not stored: %s", fault)
            return _Done("failed")
        return _Done("unmatched", key, member.size)

    def _store_matched(self, source: Zip, member: Member, found: LoadedRecording) -> _Done:
        recording, now = found.recording, datetime.now(timezone.utc)
        if found.stored and self._folders.has(*found.stored):
            return _Done("found", *found.stored)
        try:
            row = self._archive.store(recording, source.open(member))
        except InvalidContent as fault:
            log.warning("audio of %s is failed: %s", recording.title, fault)
            self._archive.journal.settle(describe(recording, "failed", now, error=str(fault)))
            return _Done("failed")
        return _Done("stored", self._archive.bucket.key_of(row.uri or ""), row.size_bytes or 0)

    def _find_unmatched(self, name: str, size: int) -> str | None:
        return next((name + end for end in _SOUNDS if self._folders.has(name + end, size)), None)

    def _count(self, one: _Done) -> None:
        setattr(self.outcome, one.what, getattr(self.outcome, one.what) + 1)
        self.outcome.bytes += one.size if one.what == "stored" else 0


def _name_unmatched(job_id: str, member: Member, names: dict[str, int]) -> str:
    """Name a file that is nobody's: members' own names hold phone numbers, and occur twice."""
    names[member.name] = number = names.get(member.name, 0) + 1
    told = hashlib.sha256(f"{number}/{member.name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{UNMATCHED}/{escape(job_id)}/{told}"
