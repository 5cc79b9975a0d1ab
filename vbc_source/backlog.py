"""Which recordings are loaded and not archived yet: asked page by page, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from vbc_source.faults import VbcError
from vbc_source.ledger import LEDGER
from vbc_source.loaded import Loaded, Row, page_through
from vbc_source.recording import EPOCH, TYPES, Recording, RecordingType

TABLES: dict[RecordingType, str] = {"company": "company_recordings", "user": "user_recordings"}
PAGE = 5000
FOREVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
_ORDER = ("attempts", "began", "recording_type", "account_id", "user_id", "recording_id")
_CAST = "CAST(:{} AS TIMESTAMPTZ)"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which recordings are meant.

    Attributes:
        types: `company`, `user` or both.
        since: oldest `start`; None for any.
        until: newest `start`; None for any.
    """

    types: tuple[RecordingType, ...] = TYPES
    since: datetime | None = None
    until: datetime | None = None

    @property
    def bounds(self) -> dict[str, datetime]:
        """Both bounds, as values of a query."""
        return {"since": self.since or EPOCH, "until": self.until or FOREVER}


class Backlog:
    """What is left to archive.

    Args:
        loaded: what the destination holds.
        selection: which recordings are meant.
        max_attempts: how often a file is asked for before it is given up.
        began: when this run began; what it tried itself is not tried again by it.
        page: how many to ask for at once.
    """

    def __init__(
        self, loaded: Loaded, selection: Selection, max_attempts: int, began: datetime, page: int = PAGE
    ) -> None:
        self._loaded, self._selection, self._page = loaded, selection, page
        self._values: dict[str, str | int | datetime] = {
            **selection.bounds,
            "most": max_attempts,
            "run_began": began,
        }

    def measure(self) -> tuple[int, int]:
        """How many files are left, and how many bytes as far as the API tells."""
        ((files, size),) = self._loaded.query(
            lambda loaded: (
                f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM ({self._write(loaded)}) AS missing"
            ),
            **self._values,
        )
        return int(files), int(size)

    def read(self) -> Iterator[Recording]:
        """Give what is left: what was never tried first, then what failed; each oldest first.

        Each page is a query of its own, behind the last row of the page before, so that nothing is
        held open for the hours that the files take.
        """
        yield from map(_read_recording, page_through(self._read_page, 6))

    def _read_page(self, last: Row | None) -> list[Row]:
        values = dict(self._values)
        if last is not None:
            values |= {f"last_{name}": value for name, value in zip(_ORDER, last, strict=False)}

        def write(loaded: Loaded) -> str:
            behind = f"WHERE {_write_behind()}" if last is not None else ""
            order = ", ".join(_ORDER)
            return f"""
                SELECT {order}, download_url, size_bytes, shared_id FROM ({self._write(loaded)}) AS missing
                {behind} ORDER BY {order} LIMIT {self._page}"""

        return self._loaded.query(write, **values)

    def _write(self, loaded: Loaded) -> str:
        wanted = write_recordings(loaded, self._selection)
        if not loaded.has(LEDGER):
            return f"SELECT wanted.*, 0 AS attempts FROM ({wanted}) AS wanted"
        same = "a.account_id = w.account_id AND a.recording_type = w.recording_type "
        same += "AND a.user_id = w.user_id AND a.recording_id = w.recording_id"
        return f"""
            SELECT w.*, coalesce(a.attempts, 0) AS attempts FROM ({wanted}) AS w LEFT JOIN (
                SELECT account_id, recording_type, user_id, recording_id, max(attempts) AS attempts
                FROM {LEDGER} WHERE status IN ('failed', 'forbidden') GROUP BY 1, 2, 3, 4
            ) AS a ON {same}
            WHERE NOT EXISTS (
                SELECT 1 FROM {LEDGER} AS a WHERE {same} AND (a.status IN ('stored', 'missing')
                    OR a.attempts >= :most OR a.fetched_at >= {_CAST.format("run_began")})
            )"""


def write_recordings(loaded: Loaded, selection: Selection) -> str:
    """Write the query of the recordings of a selection.

    Raises:
        VbcError: none are loaded.
    """
    parts = [
        _write_table(loaded, kind, table)
        for kind, table in TABLES.items()
        if kind in selection.types and loaded.has(table)
    ]
    if not parts:
        meant = " or ".join(TABLES[kind] for kind in selection.types)
        raise VbcError(f"there is no table {meant} in the destination: run vbc sync first")
    since, until = _CAST.format("since"), _CAST.format("until")
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS r WHERE began BETWEEN {since} AND {until}"


def _write_table(loaded: Loaded, kind: str, table: str) -> str:
    def column(name: str, sql_type: str) -> str:
        return f'"{name}"' if loaded.has(table, name) else f"CAST(NULL AS {sql_type})"

    began = (
        f"coalesce({column('start', 'TIMESTAMPTZ')}, CAST('{EPOCH:%Y-%m-%d %H:%M:%S}+00:00' AS TIMESTAMPTZ))"
    )
    user, shared = "''", "0"
    if kind == "user":
        users = "OVER (PARTITION BY account_id, id)"
        user, shared = "user_id", f"CASE WHEN min(user_id) {users} <> max(user_id) {users} THEN 1 ELSE 0 END"
    return f"""
        SELECT account_id, '{kind}' AS recording_type, {user} AS user_id, id AS recording_id,
            {began} AS began, {column("download_url", "VARCHAR")} AS download_url, {shared} AS shared_id,
            {column("file_size_in_bytes", "BIGINT")} AS size_bytes,
            {column("duration", "BIGINT")} AS duration, {column("call_id", "VARCHAR")} AS call_id,
            {column("file_name", "VARCHAR")} AS file_name, {column("end", "TIMESTAMPTZ")} AS ended
        FROM {table}"""


def _write_behind() -> str:
    """Compare with the last row, column by column: not every database compares rows."""
    condition = ""
    for name in reversed(_ORDER):
        value = _CAST.format(f"last_{name}") if name == "began" else f":last_{name}"
        equal = f" OR ({name} = {value} AND ({condition}))" if condition else ""
        condition = f"{name} > {value}{equal}"
    return condition


def _read_recording(row: Row) -> Recording:
    attempts, began, kind, account, user, recording_id, link, size, shared = row
    return Recording(
        account_id=str(account),
        recording_type=kind,
        user_id=str(user),
        recording_id=int(recording_id),
        start=began,
        download_url=link,
        size_bytes=None if size is None else int(size),
        shared_id=bool(shared),
        attempts=int(attempts),
    )
