"""Archive the members of an export's zip as the recordings they belong to."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Literal, NamedTuple

from vbc_source.api.export_jobs import ExportApi, Job, name_job
from vbc_source.audio.bucket import BucketFailed, FolderListings
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.matching import LoadedRecording, MemberMatcher
from vbc_source.audio.exports.receipts import ExportReceipts
from vbc_source.audio.exports.zip_download import fetch_zip
from vbc_source.audio.exports.zip_file import Member, Zip, ZipRefused
from vbc_source.audio.formats import FORMATS
from vbc_source.audio.session import ArchiveSession
from vbc_source.audio.sidecars.missing_sidecars import describe_written
from vbc_source.errors import InvalidContent, LoginRefused, NotSubscribed
from vbc_source.load.progress import Progress, write_size
from vbc_source.recordings import RECORDING_KEY, escape
from vbc_source.schema.erased import ERASED

log = logging.getLogger(__name__)

BATCH_MEMBERS = 500  # looked up with one query
UNMATCHED = "unmatched"
STOPPING_ERRORS = (BucketFailed, LoginRefused, NotSubscribed)  # every other export would fail likewise
_SUFFIXES = tuple(f".{audio_format.extension}" for audio_format in FORMATS)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was archived from exports.

    Attributes:
        jobs: Exports processed.
        stored: Files stored.
        found: Files that were already stored and verified.
        bytes: Bytes of the files stored.
        unmatched: Files that belong to no loaded recording, or to more than one.
        left_out: Members that are not audio, and have no audio file's name.
        failed: Members that were refused, damaged or not the expected file.
        lacking: Files that VBC did not pack into its zips.
        sidecars: Sidecars written, also of files that earlier runs have stored.
        refused: Addresses of manifests that are not readable, and of files that a manifest has with another
            SHA-256 than the ledger.
        requests: Requests sent to the gateway.
        seconds: Duration of the run.
        errors: Why exports could not be archived, one line each.
        ok: Whether nothing failed and nothing was lacking.
    """

    jobs: int = 0
    stored: int = 0
    found: int = 0
    bytes: int = 0
    unmatched: int = 0
    left_out: int = 0
    failed: int = 0
    lacking: int = 0
    sidecars: int = 0
    refused: tuple[str, ...] = ()
    requests: int = 0
    seconds: float = 0.0
    errors: tuple[str, ...] = ()
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield (
            f"{self.stored:,} files stored ({write_size(self.bytes)}) from {self.jobs:,} exports, "
            f"{self.requests:,} requests, {self.seconds:.1f} s."
        )
        others = {
            "were already stored": self.found,
            f"belong to no loaded recording: see {UNMATCHED}/ (run vbc sync, then repeat)": self.unmatched,
            "are not audio and were left out": self.left_out,
            "were refused or damaged": self.failed,
            "were not in the zip: VBC did not pack them; run vbc audio to download them": self.lacking,
        }
        if any(others.values()):
            yield f"{'; '.join(f'{count:,} {text}' for text, count in others.items() if count)}."
        yield from describe_written(self.sidecars, self.refused)


class _MemberResult(NamedTuple):
    """Which count a member belongs to, and key and size of its file."""

    status: Literal["stored", "found", "unmatched", "left_out", "failed"]
    key: str | None = None
    size: int = 0


class ExportRun:
    """Archives one export after the other; `counts` are those of `ExportResult`.

    `keep_unmatched` tells whether to store files that belong to no loaded recording.
    """

    def __init__(self, session: ArchiveSession, *, keep_unmatched: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        self._archive, self._ledger, self._config = session.archive, session.ledger, session.config
        # the zip of an older export may hold a recording that was erased since, and so belongs to none
        self._keep_unmatched = keep_unmatched and not session.loaded.find(ERASED)
        self._receipts = ExportReceipts(self._archive.spool.parent / "exports", self._archive.bucket)
        self._folders = FolderListings(self._archive.bucket)

    def is_archived(self, job_id: str) -> bool:
        """Return whether an export is already archived completely; if so, count its files as found."""
        sizes = self._receipts.read(job_id)
        if sizes is None:
            return False
        self.counts["jobs"] += 1
        self.counts["found"] += len(sizes)
        return True

    def archive(self, api: ExportApi, job: Job, catalog: Catalog) -> None:
        """Archive the files in an export's zip that are not archived yet."""
        api.check_ready(job)
        with self._fetch(api, job) as file:
            self._ledger.load()  # the catalog must know what an earlier export has stored
            # listed anew: the listings before lack what the export before has stored
            self._folders = FolderListings(self._archive.bucket)
            source = _open_zip(file, job)
            results = list(self._archive_members(job.id, source, catalog))
        self._ledger.load()
        lacking = max((job.total or 0) - len(source.members), 0)
        self.counts["jobs"] += 1
        self.counts["lacking"] += lacking
        # no receipt with unmatched files: once their recordings are loaded, the same zip has more to give
        if not lacking and all(result.status in ("stored", "found", "left_out") for result in results):
            self._receipts.write(job.id, {result.key: result.size for result in results if result.key})

    @contextmanager
    def _fetch(self, api: ExportApi, job: Job) -> Iterator[BinaryIO]:
        path = self._archive.spool / f"{uuid.uuid4().hex}.zip"
        try:
            fetch_zip(api.client, api.find_links(job), path, self._config.max_zip_bytes, name_job(job.id))
            with path.open("rb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def _archive_members(self, job_id: str, source: Zip, catalog: Catalog) -> Iterator[_MemberResult]:
        progress = Progress(len(source.members), sum(member.size for member in source.members))
        matched: set[tuple[Any, ...]] = set()
        names: Counter[str] = Counter()
        members = iter(source.members)
        with ThreadPoolExecutor(self._config.max_concurrency) as pool:
            while batch := list(islice(members, BATCH_MEMBERS)):
                matches = _match(batch, catalog, matched)
                # not in the threads: the key of a name that repeats depends on the order of the members
                keys = [_make_unmatched_key(job_id, member, names) for member in batch]
                sources = [source] * len(batch)
                for result in pool.map(self._store, sources, batch, matches, keys):
                    self.counts[result.status] += 1
                    if result.status == "stored":
                        self.counts["bytes"] += result.size
                    progress.count(result.size)
                    yield result
                self._ledger.load_when_due()

    def _store(
        self, source: Zip, member: Member, match: LoadedRecording | None, unmatched_key: str
    ) -> _MemberResult:
        if match is not None:
            return self._store_matched(source, member, match)
        if not member.refused:
            keys = (unmatched_key + suffix for suffix in _SUFFIXES)
            stored = next((key for key in keys if self._folders.has(key, member.size)), None)
            if stored or not self._keep_unmatched:
                return _MemberResult("unmatched", stored)
        try:
            key, size = self._archive.store_unmatched(unmatched_key, source.open(member))
        except InvalidContent as error:
            if not member.refused and not member.name.lower().endswith(_SUFFIXES):
                return _MemberResult("left_out")
            log.warning("a member of the export is not stored: %s", error)
            return _MemberResult("failed")
        return _MemberResult("unmatched", key, size)

    def _store_matched(self, source: Zip, member: Member, match: LoadedRecording) -> _MemberResult:
        if match.erased:
            return _MemberResult("left_out")
        # the ledger's word is not enough: the object has to be there
        if match.stored and self._folders.has(*match.stored):
            return _MemberResult("found", *match.stored)
        try:
            sizes = self._folders.list_sizes(match.recording.folder)
            row = self._archive.store(match.recording, source.open(member), sizes)
        except InvalidContent as error:
            # the row lets `vbc audio` try the file by itself
            self._archive.record_failure(match.recording, error)
            return _MemberResult("failed")
        return _MemberResult("stored", self._archive.bucket.key_of(row.uri or ""), row.size_bytes or 0)


def _open_zip(file: BinaryIO, job: Job) -> Zip:
    try:
        return Zip(file)
    except ZipRefused as error:
        raise ZipRefused(f"{name_job(job.id)}: {error}") from None


def _match(
    members: Sequence[Member], catalog: Catalog, matched: set[tuple[Any, ...]]
) -> list[LoadedRecording | None]:
    """Match members to recordings; a recording gets the first matching member only.

    `matched` holds the keys of recordings that already have a file, and is extended here.
    """
    readable = [member for member in members if not member.refused]
    matcher = MemberMatcher(catalog.find(readable) if readable else (), catalog.pii)
    matches: list[LoadedRecording | None] = []
    for member in members:
        match = None
        if not (member.refused or member.ambiguous):
            match = matcher.find(member.name, member.size, member.modified)
        if match is not None:
            key = tuple(getattr(match.recording, name) for name in RECORDING_KEY)
            match = None if key in matched else match
            matched.add(key)
        matches.append(match)
    return matches


def _make_unmatched_key(job_id: str, member: Member, names: Counter[str]) -> str:
    """Make the key of a file without a recording: hashed, as members' names contain phone numbers."""
    names[member.name] += 1  # a name may occur more than once in a zip
    identity = f"{names[member.name]}/{member.name}".encode("utf-8", "surrogatepass")
    return f"{UNMATCHED}/{escape(job_id)}/{hashlib.sha256(identity).hexdigest()[:32]}"
