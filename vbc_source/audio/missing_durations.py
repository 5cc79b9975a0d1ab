"""Measure files that are in the bucket and whose length is not in the ledger: nothing is asked of VBC.

They were archived by an earlier version, or found in the bucket. A run measures a part of them, so that an
hourly `vbc audio` stays short; the next ones measure the rest.
"""

from __future__ import annotations

import hashlib
import logging
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate, takewhile

from vbc_source.audio.bucket import Bucket, BucketFailed
from vbc_source.audio.durations import measure_duration
from vbc_source.audio.formats import FORMATS
from vbc_source.audio.ledger import COLUMNS, LEDGER, VERSION_KEY, LedgerRow
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.audio.session import ArchiveSession
from vbc_source.audio.spool import NoRoom, SpoolFile
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

MOST_FILES, MOST_BYTES = 500, 1 << 30  # of a run
# a run chooses among this many at random, so that files that cannot be read do not block the others
CANDIDATES = 10 * MOST_FILES
_FORMATS = {audio_format.content_type: audio_format for audio_format in FORMATS}


def measure_missing(session: ArchiveSession) -> int:
    """Measure a part of the files without a length, and load their rows again; return how many."""
    rows = _choose(_read_unmeasured(session.loaded))
    if not rows:
        return 0
    measured = 0
    pool = ThreadPoolExecutor(session.config.max_concurrency)
    try:
        for row, duration in zip(rows, pool.map(_Measurement(session), rows), strict=True):
            if duration is not None:
                session.ledger.journal.record(replace(row, audio_duration=duration))
                measured += 1
    # the files are archived: that a length is not known yet must not fail the run
    except (BucketFailed, NoRoom) as error:
        log.warning("the lengths of archived files are measured by a later run: %s", error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    session.ledger.load()
    return measured


def _read_unmeasured(loaded: LoadedTables) -> list[LedgerRow]:
    """Read rows without a length, each version of a recording once."""
    if not loaded.find(LEDGER):
        return []
    same = " AND ".join(f"m.{name} = l.{name}" for name in VERSION_KEY)
    types = ", ".join(f"'{content_type}'" for content_type in _FORMATS)

    def write(loaded: LoadedTables) -> str:
        ledger = write_ledger(loaded)
        # where rows are appended, the one with the length stands beside the one without
        return f"""
            SELECT {", ".join(COLUMNS)} FROM ({ledger}) AS l
            WHERE status = 'stored' AND audio_duration IS NULL AND content_type IN ({types}) AND NOT EXISTS (
                SELECT 1 FROM ({ledger}) AS m WHERE {same} AND m.audio_duration IS NOT NULL
            ) ORDER BY fetched_at LIMIT {CANDIDATES}"""

    rows = (LedgerRow(*row) for row in loaded.query(write))
    return list({row.key: row for row in rows}.values())


def _choose(rows: list[LedgerRow]) -> list[LedgerRow]:
    chosen = random.sample(rows, min(MOST_FILES, len(rows)))
    sizes = accumulate(row.size_bytes or 0 for row in chosen)
    # one at least: a file above the limit would never be measured
    return chosen[: max(1, sum(1 for _ in takewhile(lambda size: size <= MOST_BYTES, sizes)))]


class _Measurement:
    """Reads the file of a row into the spool, and measures it there."""

    def __init__(self, session: ArchiveSession) -> None:
        self._bucket: Bucket = session.archive.bucket
        self._spool = session.archive.spool

    def __call__(self, row: LedgerRow) -> int | None:
        """Return the length in milliseconds, 0 without sound; None where the file is not the archived one."""
        key, size = self._bucket.key_of(row.uri or ""), row.size_bytes or 0
        if key is None or self._bucket.size(key) != size:
            return None
        path, digest = self._spool / uuid.uuid4().hex, hashlib.sha256()
        try:
            with SpoolFile(path) as file:
                for chunk in self._bucket.read_range(key, 0, size):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != row.sha256:
                return None
            # 0, not None: it would be read again by every run
            return measure_duration(path, _FORMATS[str(row.content_type)]) or 0
        finally:
            path.unlink(missing_ok=True)
