"""One run of the archive: which files, in how many threads, and what came of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from vbc_source.api.client import Client
from vbc_source.api.downloads import Download
from vbc_source.audio.archive import Archive
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.ledger import LedgerRow, describe
from vbc_source.audio.ledger_writer import AudioLedger
from vbc_source.config import VbcConfig
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    ForeignAddress,
    InvalidContent,
    NotFound,
    NotSubscribed,
    Unavailable,
    VbcError,
)
from vbc_source.load.progress import Progress, write_size
from vbc_source.recordings import Recording

log = logging.getLogger(__name__)

MOST_IN_A_ROW = 25  # failures, before it is the gateway or a setting that is broken, not a recording
FOLDERS = 8  # listings of the bucket to remember

Sizes = dict[str, int]


@dataclass(slots=True)
class AudioResult:
    """What a run did.

    Attributes:
        stored: files fetched and stored.
        exported: those of them that came by exports.
        exports: how many exports that took.
        found: files that were in the bucket already, without a row in the ledger.
        bytes: of the files stored.
        missing: recordings whose audio is gone.
        forbidden: recordings whose audio the API user may not read.
        failed: recordings whose audio could not be stored; they are tried again next time.
        requests: sent to the gateway.
        seconds: how long it took.
        ok: whether nothing failed.
    """

    stored: int = 0
    exported: int = 0
    exports: int = 0
    found: int = 0
    bytes: int = 0
    missing: int = 0
    forbidden: int = 0
    failed: int = 0
    requests: int = 0
    seconds: float = 0.0
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Describe the result in lines for people."""
        yield (
            f"{self.stored:,} files stored ({write_size(self.bytes)}), {self.requests:,} requests, "
            f"{self.seconds:.1f} s."
        )
        others: dict[str, Any] = asdict(self)
        if self.exports:
            yield f"{self.exported:,} of them came by {self.exports:,} exports."
        words = {
            "found": "were in the bucket already",
            "missing": "are gone at VBC",
            "forbidden": "may not be read",
            "failed": "failed and are tried again next time",
        }
        told = [f"{others[name]:,} {text}" for name, text in words.items() if others[name]]
        if told:
            yield f"{', '.join(told)}."


class AudioRun:
    """Archives what is left.

    Args:
        config: The settings.
        client: Sends the requests.
        archive: where files go.
        ledger: where it is written down.
        backlog: what is left.
        limit: how many files at most.
    """

    def __init__(
        self,
        config: VbcConfig,
        client: Client,
        archive: Archive,
        ledger: AudioLedger,
        backlog: Backlog,
        limit: int | None,
    ) -> None:
        self._config, self._client = config, client
        self._archive, self._ledger = archive, ledger
        self._backlog, self._limit = backlog, limit
        self._outcome = AudioResult()
        self._in_a_row = 0
        self._listed: dict[str, Sizes] = {}

    def run(self) -> AudioResult:
        """Archive, and load the ledger whatever happens."""
        began = time.monotonic()
        files, size = self._backlog.measure()
        self._progress = Progress(min(files, self._limit or files), size)
        pool = ThreadPoolExecutor(self._config.max_concurrency)
        try:
            self._work_off(pool)
        except Exception:
            self._client.close()
            pool.shutdown(wait=True, cancel_futures=True)
            self._ledger.load()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        self._ledger.load()
        outcome = self._outcome
        outcome.requests = self._client.requests_sent
        outcome.seconds = time.monotonic() - began
        outcome.ok = not outcome.failed and (self._config.skip_forbidden or not outcome.forbidden)
        return outcome

    def _work_off(self, pool: ThreadPoolExecutor) -> None:
        pending: set[Future[LedgerRow]] = set()
        for recording in islice(self._backlog.read(), self._limit):
            while len(pending) >= 2 * self._config.max_concurrency:
                pending = self._collect(pending)
            pending.add(pool.submit(self._archive_one, recording, self._list(recording.folder)))
        while pending:
            pending = self._collect(pending)

    def _list(self, folder: str) -> Sizes:
        """What is in a folder of the bucket, asked once: recordings come in the order of their days."""
        if folder not in self._listed:
            if len(self._listed) >= FOLDERS:
                del self._listed[next(iter(self._listed))]
            self._listed[folder] = dict(self._archive.bucket.list_sizes(folder))
        return self._listed[folder]

    def _collect(self, pending: set[Future[LedgerRow]]) -> set[Future[LedgerRow]]:
        done, left = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            self._count(future.result())
        self._ledger.load_when_due()
        return left

    def _count(self, row: LedgerRow) -> None:
        outcome = self._outcome
        if row.status == "stored":
            outcome.stored += row.attempts > 0
            outcome.found += row.attempts == 0
            outcome.bytes += (row.size_bytes or 0) if row.attempts else 0
        else:
            setattr(outcome, row.status, getattr(outcome, row.status) + 1)
        self._progress.count(row.size_bytes or 0)
        self._in_a_row = self._in_a_row + 1 if row.status in ("failed", "forbidden") else 0
        if self._in_a_row >= MOST_IN_A_ROW:
            raise VbcError(
                f"{MOST_IN_A_ROW} files in a row could not be stored, the last one because: {row.error}. The "
                "next run goes on with others and comes back to these"
            )

    def _archive_one(self, recording: Recording, sizes: Sizes) -> LedgerRow:
        now, what = datetime.now(timezone.utc), f"audio of {recording.title}"
        try:
            found = self._archive.adopt(recording, sizes)
            if found:
                return found
            if not recording.download_url:
                raise InvalidContent("the API gives no download_url")  # noqa: TRY301
            return self._archive.store(
                recording, Download(self._client, recording.download_url, recording.size_bytes, what)
            )
        except NotSubscribed:
            raise
        except NotFound as fault:
            row = describe(recording, "missing", now, error=str(fault))
        except Forbidden as fault:
            row = describe(recording, "forbidden", now, error=str(fault))
        except (InvalidContent, ForeignAddress, BadRequest, Unavailable) as fault:
            row = describe(recording, "failed", now, error=str(fault))
        log.warning("%s is %s: %s", what, row.status, row.error)
        self._archive.journal.settle(row)
        return row
