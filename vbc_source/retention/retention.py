"""Deletes at VBC what is old and archived: proven anew for each recording, right before it is deleted."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from itertools import islice

import dlt

from vbc_source.api.client import Client
from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.archive_audio import open_archive
from vbc_source.audio.bucket import Bucket
from vbc_source.config import VbcConfig, load_audio_config
from vbc_source.errors import BadRequest, Forbidden, NotFound, Unavailable
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.progress import write_size
from vbc_source.retention.candidates import RetentionCandidate, RetentionCandidates
from vbc_source.retention.deletions import DELETIONS, Deletion, make_table
from vbc_source.retention.legal_hold import LegalHold
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

BATCH = 200  # deletions between two loads of their ledger


@dataclass(slots=True)
class RetentionResult:
    """What a run did, or would do.

    Attributes:
        applied: whether anything was deleted; else it was a dry run.
        proven: recordings old enough and proven to be archived.
        bytes: of their files.
        held: old enough, but on the hold list.
        unproven: old enough, but their file is not there as the ledger says.
        deleted: deleted now.
        gone: found to be deleted already.
        failed: VBC did not delete them.
        ok: whether nothing was unproven and nothing failed.
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
        """Describe the result in lines for people."""
        if self.applied:
            yield (
                f"{self.deleted:,} recordings deleted at VBC, {self.gone:,} were gone already, "
                f"{self.failed:,} failed."
            )
        else:
            yield (
                f"A dry run: {self.proven:,} recordings ({write_size(self.bytes)}) are proven to be "
                "archived and would be deleted at VBC with --apply."
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
    """Delete at VBC what is old enough, archived, proven now, and not on hold.

    Args:
        target: Where the recordings are loaded.
        older_than: by the beginning of the call.
        shorter_than: only recordings of shorter calls; of any unless given.
        bucket_url: where the files are; from `[sources.vbc.audio]` unless given.
        hold: what must not be deleted.
        apply: delete; without it nothing is, but all is proven and counted.
        now: tells the time.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    with explaining():
        config = load_audio_config(bucket_url=bucket_url)
        bucket, client = Bucket(config.bucket), Client.from_config(config)
    with hold_pipeline(target.ledgers("audio")) as held, closing(client):
        loaded = LoadedTables(target)
        with open_archive(held, bucket, loaded):
            candidates = RetentionCandidates(loaded, older_than, shorter_than, now())
            run = _Run(config, client, bucket, loaded, held, now)
            return run.run(candidates.read(), hold or LegalHold(), apply)


class _Run:
    def __init__(
        self,
        config: VbcConfig,
        client: Client,
        bucket: Bucket,
        loaded: LoadedTables,
        held: dlt.Pipeline,
        now: Callable[[], datetime],
    ) -> None:
        self._config, self._client = config, client
        self._bucket, self._loaded = bucket, loaded
        self._held, self._now = held, now

    def run(self, candidates: Iterator[RetentionCandidate], hold: LegalHold, apply: bool) -> RetentionResult:
        outcome = RetentionResult(apply)
        with ThreadPoolExecutor(self._config.max_concurrency) as pool:
            while batch := list(islice(candidates, BATCH)):
                free = [one for one in batch if not hold.holds(one.recording_id, one.call_id)]
                outcome.held += len(batch) - len(free)
                requests = [found for found in pool.map(self._prove, free) if found]
                outcome.unproven += len(free) - len(requests)
                outcome.proven += len(requests)
                outcome.bytes += sum(request.size_bytes for request in requests)
                if apply and requests:
                    self._delete_all(pool, requests, outcome)
                log.info("retention: %s proven, %s deleted", f"{outcome.proven:,}", f"{outcome.deleted:,}")
        outcome.ok = not outcome.unproven and not outcome.failed
        return outcome

    def _prove(self, candidate: RetentionCandidate) -> Deletion | None:
        """Read the file from the bucket: None unless it is there as the ledger says."""
        reason = self._find_flaw(candidate)
        if reason:
            log.warning("%s is not deleted: %s", candidate.title, reason)
            return None
        now = self._now()
        return Deletion(
            uuid.uuid4().hex,
            "requested",
            candidate.account_id,
            candidate.recording_type,
            candidate.user_id,
            candidate.recording_id,
            str(candidate.uri),
            int(candidate.size_bytes or 0),
            str(candidate.sha256),
            now,
            None,
            now,
        )

    def _find_flaw(self, candidate: RetentionCandidate) -> str:
        if not candidate.uri or not candidate.sha256 or not candidate.size_bytes:
            return "the ledger lacks its address, its size or its hash"
        if not candidate.attempts:
            return "its file was found in the bucket and never compared with VBC's own bytes"
        key = self._bucket.key_of(candidate.uri)
        if key is None:
            return f"its file is in another bucket than {self._bucket.url}"
        content = self._bucket.read(key)
        if content is None:
            return "its file is missing in the bucket"
        if (content.size, content.sha256) != (candidate.size_bytes, candidate.sha256):
            return "its file in the bucket is not the one that was stored"
        return ""

    def _delete_all(
        self, pool: ThreadPoolExecutor, requests: list[Deletion], outcome: RetentionResult
    ) -> None:
        self._load(requests)
        done: list[Deletion] = []
        futures = [pool.submit(self._delete, request) for request in requests]
        try:
            for future in futures:
                done.append(future.result())
        except Exception:
            for future in futures:
                future.cancel()
            finished = [future for future in futures if not future.cancelled() and not future.exception()]
            done = [future.result() for future in finished]
            raise
        finally:
            self._load(done)
            for row in done:
                setattr(outcome, row.status, getattr(outcome, row.status) + 1)

    def _delete(self, request: Deletion) -> Deletion:
        api = RecordingApi(
            self._client,
            self._config.recording_api,
            request.account_id,
            "user" if request.recording_type == "user" else "company",
            request.user_id,
        )
        try:
            api.delete(request.recording_id)
        except NotFound:
            return replace(request, status="gone", noted_at=self._now())
        except (Forbidden, BadRequest, Unavailable) as fault:
            log.warning("%s", fault)
            return replace(request, status="failed", error=str(fault), noted_at=self._now())
        return replace(request, status="deleted", noted_at=self._now())

    def _load(self, rows: list[Deletion]) -> None:
        if rows:
            with self._loaded.lock(), explaining():
                load_rows(self._held, DELETIONS, make_table(rows), "append")
