"""Which recordings are loaded and not archived yet: asked page by page, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vbc_source.audio.ledger import LEDGER
from vbc_source.recordings import Recording
from vbc_source.warehouse.queries import LoadedTables, Row, page_through
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

PAGE = 5000
_ORDER = ("attempts", "began", "recording_type", "account_id", "user_id", "recording_id")
_CAST = "CAST(:{} AS TIMESTAMPTZ)"


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
        self,
        loaded: LoadedTables,
        selection: RecordingSelection,
        max_attempts: int,
        began: datetime,
        page: int = PAGE,
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

        def write(loaded: LoadedTables) -> str:
            behind = f"WHERE {_write_behind()}" if last is not None else ""
            order = ", ".join(_ORDER)
            return f"""
                SELECT {order}, download_url, size_bytes, shared_id FROM ({self._write(loaded)}) AS missing
                {behind} ORDER BY {order} LIMIT {self._page}"""

        return self._loaded.query(write, **values)

    def _write(self, loaded: LoadedTables) -> str:
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
