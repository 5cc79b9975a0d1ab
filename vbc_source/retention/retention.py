"""Delete at VBC what is old and archived; each file is verified again right before the deletion."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import islice

from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.errors import BadRequest, Forbidden, NotFound, Unavailable
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.load.progress import write_size
from vbc_source.retention.candidates import RetentionCandidate, read_candidates
from vbc_source.retention.deletions import DELETIONS, Deletion, make_table
from vbc_source.retention.legal_hold import LegalHold

log = logging.getLogger(__name__)

BATCH = 200  # recordings for each load of the deletions


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
        SettingsError: A setting is missing or malformed; the message names it.
        VbcError: The run stopped. Deletions until then are in the table `recording_deletions`.
    """
    with open_archive(target, bucket_url) as session:
        candidates = read_candidates(session.loaded, older_than, shorter_than, now())
        run = _RetentionRun(session, hold or LegalHold(), apply, now)
        return run.run(candidates)


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
                free = [one for one in batch if not self._hold.holds(one.recording_id, one.call_id)]
                requests = [request for request in pool.map(self._prove, free) if request]
                counts["held"] += len(batch) - len(free)
                counts["unproven"] += len(free) - len(requests)
                counts["proven"] += len(requests)
                counts["bytes"] += sum(request.size_bytes for request in requests)
                if self._apply and requests:
                    self._delete_all(pool, requests)
                log.info("retention: %d proven, %d deleted", counts["proven"], counts["deleted"])
        return RetentionResult(self._apply, **counts, ok=not (counts["unproven"] or counts["failed"]))

    def _prove(self, candidate: RetentionCandidate) -> Deletion | None:
        """Read the file from the bucket; return None unless it is the file in the ledger."""
        reason = self._find_flaw(candidate)
        if reason:
            log.warning("%s is not deleted: %s", candidate.title, reason)
            return None
        now = self._now()
        return Deletion(
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

    def _find_flaw(self, candidate: RetentionCandidate) -> str | None:  # noqa: PLR0911 - one return a flaw
        if not candidate.uri or not candidate.sha256 or not candidate.size_bytes:
            return "the ledger has no address, size or hash of its file"
        if not candidate.attempts:
            return "its file was found in the bucket and never compared with VBC's own bytes"
        if candidate.listed_bytes not in (None, candidate.size_bytes):
            return "VBC lists another size for it than its file had: it has changed since it was archived"
        key = self._bucket.key_of(candidate.uri)
        if key is None:
            return f"its file is in another bucket than {self._bucket.url}"
        content = self._bucket.read(key)
        if content is None:
            return "its file is missing in the bucket"
        if (content.size, content.sha256) != (candidate.size_bytes, candidate.sha256):
            return "its file in the bucket differs from the one that was stored"
        return None

    def _delete_all(self, pool: ThreadPoolExecutor, requests: list[Deletion]) -> None:
        # before the calls, so that no deletion is without a row, even after a kill
        self._load(requests)
        futures = [pool.submit(self._delete, request) for request in requests]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
            # waits for the calls in flight: their outcome must be recorded, too
            done = [
                future.result() for future in futures if not future.cancelled() and not future.exception()
            ]
            self._load(done)
            self._counts.update(row.status for row in done)

    def _delete(self, request: Deletion) -> Deletion:
        api = RecordingApi(
            self._session.client,
            self._session.config.recording_api,
            request.account_id,
            request.recording_type,
            request.user_id,
        )
        try:
            api.delete(request.recording_id)
        except NotFound:
            return replace(request, status="gone", noted_at=self._now())
        except (Forbidden, BadRequest, Unavailable) as error:
            log.warning("%s", error)
            return replace(request, status="failed", error=str(error), noted_at=self._now())
        return replace(request, status="deleted", noted_at=self._now())

    def _load(self, rows: list[Deletion]) -> None:
        if rows:
            with self._session.loaded.lock(), explaining():
                load_rows(self._session.pipeline, DELETIONS, make_table(rows), "append")
