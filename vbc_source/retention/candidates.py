"""Which recordings are old enough to be deleted at VBC, and archived: asked page by page, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from vbc_source.audio.ledger import LEDGER
from vbc_source.errors import VbcError
from vbc_source.recordings import RecordingType
from vbc_source.retention.deletions import DELETIONS
from vbc_source.warehouse.queries import LoadedTables, Row, page_through
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

PAGE = 1000
KNOWN_SINCE = datetime(1970, 1, 2, tzinfo=timezone.utc)  # before, it is a `start` that is not known
_ORDER = ("began", "recording_type", "account_id", "user_id", "recording_id")
_SAME = " AND ".join(f"{{0}}.{name} = w.{name}" for name in _ORDER[1:])


@dataclass(frozen=True, slots=True)
class RetentionCandidate:
    """A recording that is old enough, and what the ledger says of its file.

    Attributes:
        account_id: the real account.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        recording_id: the API's id.
        start: when the call began.
        call_id: of the call, or None.
        uri: where its file is.
        size_bytes: of the file.
        sha256: of the file.
        attempts: 0 where the file was found in the bucket, not fetched.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    recording_id: int
    start: datetime
    call_id: str | None
    uri: str | None
    size_bytes: int | None
    sha256: str | None
    attempts: int

    @property
    def title(self) -> str:
        """Names it in logs and errors."""
        return f"{self.recording_type} recording {self.recording_id}"


class RetentionCandidates:
    """Archived recordings of some age that are not deleted yet.

    Args:
        loaded: what the destination holds.
        older_than: their age at least.
        shorter_than: how long the call was at most; None for any.
        now: from when the age counts.
    """

    def __init__(
        self, loaded: LoadedTables, older_than: timedelta, shorter_than: timedelta | None, now: datetime
    ) -> None:
        self._loaded, self._shorter = loaded, shorter_than
        self._values: dict[str, str | int | datetime] = {
            **RecordingSelection(since=KNOWN_SINCE, until=now - older_than).bounds
        }
        if shorter_than is not None:
            self._values["shorter"] = int(shorter_than / timedelta(milliseconds=1))

    def read(self) -> Iterator[RetentionCandidate]:
        """Give them, oldest first.

        Raises:
            VbcError: there is no ledger, or it could not be asked.
        """
        yield from map(_read_candidate, page_through(self._read_page, 5))

    def _read_page(self, last: Row | None) -> list[Row]:
        values = dict(self._values)
        if last is not None:
            values |= {f"last_{name}": value for name, value in zip(_ORDER, last, strict=False)}
        return self._loaded.query(lambda loaded: self._write(loaded, last is not None), **values)

    def _write(self, loaded: LoadedTables, behind: bool) -> str:
        if not loaded.has(LEDGER):
            raise VbcError("nothing is archived yet, so nothing can be deleted: run vbc audio first")
        conditions = [_write_behind()] if behind else []
        if self._shorter is not None:
            conditions.append("w.duration < :shorter")
        if loaded.has(DELETIONS):
            conditions.append(
                f"NOT EXISTS (SELECT 1 FROM {DELETIONS} AS d WHERE {_SAME.format('d')} "
                "AND d.status IN ('deleted', 'gone'))"
            )
        key = ", ".join(_ORDER[1:])
        return f"""
            SELECT {", ".join(f"w.{name}" for name in _ORDER)}, w.call_id, a.uri, a.size_bytes, a.sha256,
                a.attempts
            FROM ({write_recordings(loaded, RecordingSelection())}) AS w JOIN (
                SELECT {key}, max(uri) AS uri, max(size_bytes) AS size_bytes, max(sha256) AS sha256,
                    min(attempts) AS attempts
                FROM {LEDGER} WHERE status = 'stored' GROUP BY {key} HAVING min(sha256) = max(sha256)
            ) AS a ON {_SAME.format("a")}
            {"WHERE" if conditions else ""} {" AND ".join(conditions)}
            ORDER BY {", ".join(f"w.{name}" for name in _ORDER)} LIMIT {PAGE}"""


def _write_behind() -> str:
    condition = ""
    for name in reversed(_ORDER):
        value = f"CAST(:last_{name} AS TIMESTAMPTZ)" if name == "began" else f":last_{name}"
        equal = f" OR (w.{name} = {value} AND ({condition}))" if condition else ""
        condition = f"w.{name} > {value}{equal}"
    return f"({condition})"


def _read_candidate(row: Row) -> RetentionCandidate:
    began, kind, account, user, recording_id, call_id, uri, size, sha256, attempts = row
    return RetentionCandidate(
        str(account),
        kind,
        str(user),
        int(recording_id),
        began,
        call_id,
        uri,
        None if size is None else int(size),
        sha256,
        int(attempts),
    )
