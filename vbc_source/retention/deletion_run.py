"""Deletion at VBC: each file is verified right before, and each call is recorded before and after."""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from vbc_source.api.deletion_evidence import DeletionEvidence, request_present, says_gone
from vbc_source.api.recordings import RecordingApi
from vbc_source.audio.session import ArchiveSession
from vbc_source.errors import BadRequest, Forbidden, NotFound, Unavailable
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.retention.candidates import ChangedSince, RetentionCandidate
from vbc_source.retention.deletions import DELETION_KEY, DELETIONS, Deletion, make_deletions_table

log = logging.getLogger(__name__)

BATCH = 200  # recordings for each load of the deletions


class ProvenCandidate(NamedTuple):
    """A recording whose file was just verified, and the row that requests its deletion."""

    candidate: RetentionCandidate
    request: Deletion


class DeletionRun:
    """Deletes recordings at VBC, a batch at a time; the threads are the pool's."""

    def __init__(self, session: ArchiveSession, pool: Executor, now: Callable[[], datetime]) -> None:
        self._session, self._bucket = session, session.archive.bucket
        self._pool, self._now = pool, now

    def check_clock(self, candidate: RetentionCandidate) -> None:
        """Compare this machine's clock with the gateway's: the age of a recording depends on it."""
        self._open_api(candidate).request_clock(self._now())

    def prove(self, candidates: Sequence[RetentionCandidate]) -> list[ProvenCandidate]:
        """Read the files of a batch from the bucket; return those that are as the ledger has them."""
        return [proof for proof in self._pool.map(self._prove, candidates) if proof]

    def delete(self, proofs: Sequence[ProvenCandidate]) -> list[Deletion]:
        """Delete a batch; return its rows, which are loaded already."""
        # before the calls, so that no deletion is without a row, even after a kill
        self._load([proof.request for proof in proofs])
        futures = [self._pool.submit(self._delete, proof) for proof in proofs]
        try:
            for future in futures:
                future.result()
        # also Ctrl-C: what was deleted until then must be recorded
        except BaseException:
            self._note_interrupted(futures)
            raise
        rows = self._confirm([future.result() for future in futures])
        self._load(rows)
        return rows

    def _open_api(self, owner: RetentionCandidate | Deletion) -> RecordingApi:
        client, root = self._session.client, self._session.config.recording_api
        return RecordingApi(client, root, owner.account_id, owner.recording_type, owner.user_id)

    def _prove(self, candidate: RetentionCandidate) -> ProvenCandidate | None:
        reason = self._find_flaw(candidate)
        if reason:
            log.warning("%s is not deleted: %s", candidate.title, reason)
            return None
        # after the file was read to its end: `verified_at` is never earlier than the proof
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
        return ProvenCandidate(candidate, request)

    def _find_flaw(self, candidate: RetentionCandidate) -> str | None:
        key = self._bucket.key_of(candidate.uri or "")
        # what the ledger tells comes first, as it costs no reading
        flaw = candidate.find_flaw(key)
        if flaw or not key:
            return flaw
        content = self._bucket.read(key)
        if content is None:
            return "its file is missing in the bucket"
        if (content.size, content.sha256) != (candidate.size_bytes, candidate.sha256):
            return "its file in the bucket differs from the one that was stored"
        return None

    def _note_interrupted(self, futures: list[Future[Deletion]]) -> None:
        """Record what happened until an error, which must be the one that is reported."""
        for future in futures:
            future.cancel()
        # waits for the calls in flight: their outcome must be recorded, too
        done = [future.result() for future in futures if not future.cancelled() and not future.exception()]
        try:
            # a 404 that nobody has confirmed is no evidence
            self._load([self._doubt(row) if row.status == "gone" else row for row in done])
        except Exception as error:
            log.warning("%d outcomes of deletions are not recorded: %s", len(done), error)

    def _delete(self, proof: ProvenCandidate) -> Deletion:
        """Delete a recording; the outcome `gone` is still to be confirmed."""
        candidate, request = proof
        try:
            self._open_api(request).delete(candidate.recording_id, candidate.check_unchanged, self._now())
        # those of one recording; a wrong clock or a refused login ends the run
        except (NotFound, Forbidden, BadRequest, Unavailable, ChangedSince) as error:
            log.warning("%s is not deleted: %s", candidate.title, error)
            gone = isinstance(error, NotFound) and says_gone(error)
            return replace(
                request, status="gone" if gone else "failed", error=str(error), noted_at=self._now()
            )
        return replace(request, status="deleted", noted_at=self._now())

    def _confirm(self, rows: list[Deletion]) -> list[Deletion]:
        """Confirm which recordings are gone: a failing gateway may answer 404 to everything."""
        confirmed = [row for row in rows if row.status != "gone"]
        owners: defaultdict[tuple[str, str, str], list[Deletion]] = defaultdict(list)
        for row in rows:
            if row.status == "gone":
                owners[row.account_id, row.recording_type, row.user_id].append(row)
        for absent in owners.values():
            api = self._open_api(absent[0])
            evidence = DeletionEvidence(api, self._pool, partial(request_present, api), self._now)
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
                load_rows(
                    self._session.pipeline, DELETIONS, make_deletions_table(rows), "append", DELETION_KEY
                )
