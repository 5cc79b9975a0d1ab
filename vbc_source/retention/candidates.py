"""Candidates for deletion: archived recordings that are old enough and not deleted yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from vbc_source.audio.ledger import KEY, LEDGER
from vbc_source.errors import VbcError
from vbc_source.recordings import RecordingType
from vbc_source.retention.deletions import DELETIONS
from vbc_source.warehouse.queries import LoadedTables, query_pages
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

PAGE_ROWS = 1000
OLDEST_START = datetime(1970, 1, 2, tzinfo=timezone.utc)  # earlier ones stand for an unknown start
_ORDER = ("began", "recording_type", "account_id", "user_id", "recording_id")
_PROOF = ("call_id", "listed_bytes", "uri", "size_bytes", "sha256", "attempts")


@dataclass(frozen=True, slots=True)
class RetentionCandidate:
    """A recording that is old enough, with its file as the ledger records it.

    `listed_bytes` is the size that VBC lists now. `attempts` is 0 if the file was only found in the bucket.
    """

    began: datetime
    recording_type: RecordingType
    account_id: str
    user_id: str
    recording_id: int
    call_id: str | None
    listed_bytes: int | None
    uri: str | None
    size_bytes: int | None
    sha256: str | None
    attempts: int

    @property
    def title(self) -> str:
        """Its name in logs and errors."""
        return f"{self.recording_type} recording {self.recording_id}"


def read_candidates(
    loaded: LoadedTables, older_than: timedelta, shorter_than: timedelta | None, now: datetime
) -> Iterator[RetentionCandidate]:
    """Yield archived recordings that are not deleted yet and old enough by their start, oldest first."""
    selection = RecordingSelection(since=OLDEST_START, until=now - older_than)
    values: dict[str, str | int | datetime] = {**selection.bounds}
    if shorter_than is not None:
        values["max_milliseconds"] = int(shorter_than / timedelta(milliseconds=1))

    def write(loaded: LoadedTables) -> str:
        return _write_candidates(loaded, limit_duration=shorter_than is not None)

    for row in query_pages(loaded, write, (*_ORDER, *_PROOF), len(_ORDER), PAGE_ROWS, **values):
        yield RetentionCandidate(**row)


def _write_candidates(loaded: LoadedTables, *, limit_duration: bool) -> str:
    if not loaded.has(LEDGER):
        raise VbcError("no recording is archived yet, so none can be deleted: run vbc audio first")
    same_recording = " AND ".join(f"{{0}}.{name} = r.{name}" for name in KEY)
    conditions = ["r.duration < :max_milliseconds"] if limit_duration else []
    if loaded.has(DELETIONS):
        conditions.append(
            f"NOT EXISTS (SELECT 1 FROM {DELETIONS} AS d WHERE {same_recording.format('d')} "
            "AND d.status IN ('deleted', 'gone'))"
        )
    key = ", ".join(KEY)
    # Where the ledger is append-only, a recording may have several rows: they count only if they agree on
    # the hash, and with the smallest `attempts`, since 0 is no proof.
    return f"""
        SELECT {", ".join(f"r.{name}" for name in _ORDER)}, r.call_id,
            r.size_bytes AS listed_bytes, a.uri, a.size_bytes, a.sha256, a.attempts
        FROM ({write_recordings(loaded, RecordingSelection())}) AS r JOIN (
            SELECT {key}, max(uri) AS uri, max(size_bytes) AS size_bytes, max(sha256) AS sha256,
                min(attempts) AS attempts
            FROM {LEDGER} WHERE status = 'stored' GROUP BY {key} HAVING min(sha256) = max(sha256)
        ) AS a ON {same_recording.format("a")}
        {"WHERE" if conditions else ""} {" AND ".join(conditions)}"""
