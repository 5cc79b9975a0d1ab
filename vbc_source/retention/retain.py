"""Delete at VBC what is old and archived; each file is verified again right before the deletion."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.errors import UsageError
from vbc_source.load.destinations import Target
from vbc_source.load.progress import write_size
from vbc_source.retention.candidates import (
    OLDEST_START,
    RetentionCandidate,
    read_candidates,
    read_known_names,
)
from vbc_source.retention.deletion_run import BATCH, DeletionRun
from vbc_source.retention.legal_hold import LegalHold
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

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

    Returns:
        The counts of recordings that were deleted, or would be, and of those that must stay.

    Raises:
        UsageError: No recording can be as old as `older_than`.
        SettingsError: A setting is missing or malformed; the message names it.
        WrongClock: This machine's clock differs from the gateway's.
        VbcError: The run stopped. Deletions until then are in the table `recording_deletions`.
    """
    _check_age(older_than, now())
    with open_archive(target, bucket_url) as session:
        unmatched = find_unmatched(session.loaded, hold) if hold else ()
        candidates = read_candidates(session.loaded, older_than, shorter_than, now())
        run = _RetentionRun(session, hold or LegalHold(), apply, now)
        return replace(run.run(candidates), unmatched=unmatched)


def _check_age(older_than: timedelta, now: datetime) -> None:
    if older_than < timedelta(0) or older_than > now - OLDEST_START:
        raise UsageError(f"older than {older_than.days:,} days: no recording can be that old")


def find_unmatched(loaded: LoadedTables, hold: LegalHold) -> tuple[str, ...]:
    """Return the places of the entries of a hold list that match no loaded recording, and log them."""
    places = tuple(entry.place for entry in hold.find_unmatched(read_known_names(loaded, sorted(hold.names))))
    if places:
        log.warning("%s", describe_unmatched(places))
    return places


class _RetentionRun:
    def __init__(
        self, session: ArchiveSession, hold: LegalHold, apply: bool, now: Callable[[], datetime]
    ) -> None:
        self._session, self._hold, self._apply, self._now = session, hold, apply, now
        self._counts: Counter[str] = Counter()

    def run(self, candidates: Iterator[RetentionCandidate]) -> RetentionResult:
        counts = self._counts
        with ThreadPoolExecutor(self._session.config.max_concurrency) as pool:
            deletions = DeletionRun(self._session, pool, self._now)
            while batch := list(islice(candidates, BATCH)):
                # for each batch: a run may take hours
                deletions.check_clock(batch[0])
                free = [one for one in batch if not self._is_held(one)]
                proofs = deletions.prove(free)
                counts["held"] += len(batch) - len(free)
                counts["unproven"] += len(free) - len(proofs)
                counts["proven"] += len(proofs)
                counts["bytes"] += sum(proof.request.size_bytes for proof in proofs)
                if self._apply and proofs:
                    counts.update(row.status for row in deletions.delete(proofs))
                log.info("retention: %d proven, %d deleted", counts["proven"], counts["deleted"])
        totals: dict[str, Any] = dict(counts)
        return RetentionResult(self._apply, **totals, ok=not (counts["unproven"] or counts["failed"]))

    def _is_held(self, candidate: RetentionCandidate) -> bool:
        # a hold may name the call that it was archived with; a row of an older version has none, and None
        # would count as an unknown call, which any entry may mean
        archived = {candidate.call_id, candidate.archived_call_id or candidate.call_id}
        return self._hold.holds(candidate.recording_id, *archived)
