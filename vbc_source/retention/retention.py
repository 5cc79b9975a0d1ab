"""Delete at VBC what is old and archived; each file is verified again right before the deletion."""

from __future__ import annotations

import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from vbc_source.api.evidence import DeletionEvidence, request_present, says_gone
from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.errors import BadRequest, Forbidden, NotFound, Unavailable, UsageError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.load.progress import write_size
from vbc_source.retention.candidates import (
    OLDEST_START,
    ChangedSince,
    RetentionCandidate,
    read_candidates,
    read_known_names,
)
from vbc_source.retention.deletions import DELETIONS, Deletion, make_table
from vbc_source.retention.legal_hold import LegalHold
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

BATCH = 200  # recordings for each load of the deletions
MOST_PLACES = 20  # of entries in a message


@dataclass(frozen=True, slots=True)
class RetentionResult:
    """What a run deleted, or would delete.

    Attributes:
        applied: Whether recordings were deleted; False for a dry run.
        proven: Recordings that are old enough and proven to be archived.
        bytes: Bytes of their files.
        held: Recordings that are old enough, but on legal hold.
        unproven: Recordings that are old enough, but whose file differs from the ledger.
        deleted: Recordings deleted by this run.
        gone: Recordings that were already deleted.
        failed: Recordings that VBC did not delete.
        unmatched: Places in the hold list, such as `line 3`, whose entry matches no loaded recording.
        ok: Whether nothing was unproven and nothing failed.
    """

    applied: bool
    proven: int = 0
    bytes: int = 0
    held: int = 0
    unproven: int = 0
    deleted: int = 0
    gone: int = 0
    failed: int = 0
    unmatched: tuple[str, ...] = ()
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        if self.applied:
            yield (
                f"{self.deleted:,} recordings deleted at VBC, {self.gone:,} were already gone, "
                f"{self.failed:,} failed."
            )
        else:
            yield (
                f"Dry run: {self.proven:,} recordings ({write_size(self.bytes)}) are proven to be archived; "
                "--apply would delete them at VBC."
            )
        yield f"Kept: {self.held:,} on the hold list, {self.unproven:,} without proof."
        if self.unmatched:
            yield describe_unmatched(self.unmatched)


def describe_unmatched(places: Sequence[str]) -> str:
    """Describe the entries of a hold list that match no loaded recording."""
    more = ", …" if len(places) > MOST_PLACES else ""
    return (
        f"{len(places):,} entries of the hold list match no loaded recording: "
        f"{', '.join(places[:MOST_PLACES])}{more}"
    )


def retain(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    older_than: timedelta,
    shorter_than: timedelta | None = None,
    bucket_url: str | None = None,
    hold: LegalHold | None = None,
    apply: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> RetentionResult:
    """Delete at VBC the recordings that are old enough, proven to be archived, and not on legal hold.

    Args:
        target: Where the recordings are loaded.
        older_than: Minimum age, by the start of the call.
        shorter_than: Only recordings of calls shorter than this; any if None.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        hold: Recordings and calls that must not be deleted.
        apply: Whether to delete. Without it everything is verified and counted, and nothing deleted.
        now: Returns the current time.

    Raises:
        UsageError: No recording can be as old as `older_than`.
        SettingsError: A setting is missing or malformed; the message names it.
        WrongClock: This machine's clock differs from the gateway's.
        VbcError: The run stopped. Deletions until then are in the table `recording_deletions`.
    """
    _check_age(older_than, now())
    with open_archive(target, bucket_url) as session:
        unmatched = _find_unmatched(session.loaded, hold) if hold else ()
        candidates = read_candidates(session.loaded, older_than, shorter_than, now())
        run = _RetentionRun(session, hold or LegalHold(), apply, now)
        return replace(run.run(candidates), unmatched=unmatched)


def _check_age(older_than: timedelta, now: datetime) -> None:
    if older_than < timedelta(0) or older_than > now - OLDEST_START:
        raise UsageError(f"older than {older_than.days:,} days: no recording can be that old")


def _find_unmatched(loaded: LoadedTables, hold: LegalHold) -> tuple[str, ...]:
    places = tuple(entry.place for entry in hold.find_unmatched(read_known_names(loaded, sorted(hold.names))))
    if places:
        log.warning("%s", describe_unmatched(places))
    return places


class _Proof(NamedTuple):
    """A recording whose file was just verified, and the row that requests its deletion."""

    candidate: RetentionCandidate
    request: Deletion


class _RetentionRun:
    def __init__(
        self, session: ArchiveSession, hold: LegalHold, apply: bool, now: Callable[[], datetime]
    ) -> None:
        self._session, self._bucket = session, session.archive.bucket
        self._hold, self._apply, self._now = hold, apply, now
        self._counts: Counter[str] = Counter()

    def run(self, candidates: Iterator[RetentionCandidate]) -> RetentionResult:
        counts = self._counts
        with ThreadPoolExecutor(self._session.config.max_concurrency) as pool:
            while batch := list(islice(candidates, BATCH)):
                self._check_clock(batch[0])
                free = [one for one in batch if not self._is_held(one)]
                proofs = [proof for proof in pool.map(self._prove, free) if proof]
                counts["held"] += len(batch) - len(free)
                counts["unproven"] += len(free) - len(proofs)
                counts["proven"] += len(proofs)
                counts["bytes"] += sum(proof.request.size_bytes for proof in proofs)
                if self._apply and proofs:
                    self._delete_all(pool, proofs)
                log.info("retention: %d proven, %d deleted", counts["proven"], counts["deleted"])
        totals: dict[str, Any] = dict(counts)
        return RetentionResult(self._apply, **totals, ok=not (counts["unproven"] or counts["failed"]))

    def _is_held(self, candidate: RetentionCandidate) -> bool:
        archived = {candidate.call_id, candidate.archived_call_id or candidate.call_id}
        return self._hold.holds(candidate.recording_id, *archived)

    def _check_clock(self, candidate: RetentionCandidate) -> None:
        """Compare this machine's clock with the gateway's: the age of a recording depends on it."""
        api = self._open_api(candidate)
        with suppress(Forbidden, NotFound):  # these are answers, too
            next(api.list({}, 1), None)
        api.check_clock(self._now())

    def _open_api(self, owner: RetentionCandidate | Deletion) -> RecordingApi:
        client, root = self._session.client, self._session.config.recording_api
        return RecordingApi(client, root, owner.account_id, owner.recording_type, owner.user_id)

    def _prove(self, candidate: RetentionCandidate) -> _Proof | None:
        """Read the file from the bucket; return None unless it is the file in the ledger."""
        reason = self._find_flaw(candidate)
        if reason:
            log.warning("%s is not deleted: %s", candidate.title, reason)
            return None
        now = self._now()
        request = Deletion(
            deletion_id=uuid.uuid4().hex,
            status="requested",
            account_id=candidate.account_id,
            recording_type=candidate.recording_type,
            user_id=candidate.user_id,
            recording_id=candidate.recording_id,
            uri=candidate.uri or "",
            size_bytes=candidate.size_bytes or 0,
            sha256=candidate.sha256 or "",
            verified_at=now,
            error=None,
            noted_at=now,
        )
        return _Proof(candidate, request)

    def _find_flaw(self, candidate: RetentionCandidate) -> str | None:  # noqa: PLR0911 - one return a flaw
        if not candidate.uri or not candidate.sha256 or not candidate.size_bytes:
            return "the ledger has no address, size or hash of its file"
        if not candidate.attempts:
            return "its file was found in the bucket and never compared with VBC's own bytes"
        if candidate.has_changed:
            return "it has changed at VBC since it was archived: run vbc audio"
        if candidate.version > 1:
            return (
                f"it had changed at VBC after it was archived, and has {candidate.version} files now: "
                "look at them, then use vbc recordings delete"
            )
        key = self._bucket.key_of(candidate.uri)
        if key is None:
            return f"its file is in another bucket than {self._bucket.url}"
        if candidate.owners != 1 or key not in candidate.keys:
            return "the ledger names the file of another recording for it"
        content = self._bucket.read(key)
        if content is None:
            return "its file is missing in the bucket"
        if (content.size, content.sha256) != (candidate.size_bytes, candidate.sha256):
            return "its file in the bucket differs from the one that was stored"
        return None

    def _delete_all(self, pool: ThreadPoolExecutor, proofs: list[_Proof]) -> None:
        # before the calls, so that no deletion is without a row, even after a kill
        self._load([proof.request for proof in proofs])
        futures = [pool.submit(self._delete, proof) for proof in proofs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            self._note_interrupted(futures)
            raise
        self._note(self._confirm(pool, [future.result() for future in futures]))

    def _note_interrupted(self, futures: list[Future[Deletion]]) -> None:
        """Record what happened until an error, which must be the one that is reported."""
        for future in futures:
            future.cancel()
        # waits for the calls in flight: their outcome must be recorded, too
        done = [future.result() for future in futures if not future.cancelled() and not future.exception()]
        try:
            self._note([self._doubt(row) if row.status == "gone" else row for row in done])
        except Exception as error:
            log.warning("%d outcomes of deletions are not recorded: %s", len(done), error)

    def _note(self, rows: list[Deletion]) -> None:
        self._load(rows)
        self._counts.update(row.status for row in rows)

    def _delete(self, proof: _Proof) -> Deletion:
        """Delete a recording; the outcome `gone` is still to be confirmed."""
        candidate, request = proof
        try:
            self._open_api(request).delete(candidate.recording_id, candidate.check_unchanged, self._now())
        except (NotFound, Forbidden, BadRequest, Unavailable, ChangedSince) as error:
            log.warning("%s is not deleted: %s", candidate.title, error)
            gone = isinstance(error, NotFound) and says_gone(error)
            return replace(
                request, status="gone" if gone else "failed", error=str(error), noted_at=self._now()
            )
        return replace(request, status="deleted", noted_at=self._now())

    def _confirm(self, pool: ThreadPoolExecutor, rows: list[Deletion]) -> list[Deletion]:
        """Confirm which recordings are gone: a failing gateway may answer 404 to everything."""
        confirmed = [row for row in rows if row.status != "gone"]
        owners: defaultdict[tuple[str, str, str], list[Deletion]] = defaultdict(list)
        for row in rows:
            if row.status == "gone":
                owners[row.account_id, row.recording_type, row.user_id].append(row)
        for absent in owners.values():
            api = self._open_api(absent[0])
            evidence = DeletionEvidence(api, pool, partial(request_present, api), self._now)
            gone = dict(evidence.confirm(row.recording_id for row in absent))
            confirmed += [
                replace(row, error=None) if row.recording_id in gone else self._doubt(row) for row in absent
            ]
        return confirmed

    def _doubt(self, row: Deletion) -> Deletion:
        return replace(row, status="failed", error=f"{row.error}; it is not confirmed to be gone")

    def _load(self, rows: list[Deletion]) -> None:
        if rows:
            with self._session.loaded.lock(), explaining():
                load_rows(self._session.pipeline, DELETIONS, make_table(rows), "append")
