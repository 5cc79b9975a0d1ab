"""The backlog: recordings that are loaded and not archived yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vbc_source.audio.ledger import KEY, LEDGER
from vbc_source.recordings import Recording
from vbc_source.warehouse.queries import LoadedTables, query_pages
from vbc_source.warehouse.recordings import (
    RECORDING_COLUMNS,
    RecordingSelection,
    read_recording,
    write_recordings,
)

PAGE_ROWS = 5000
_ORDER = ("attempts", "began", "recording_type", "account_id", "user_id", "recording_id")
_SAME_RECORDING = " AND ".join(f"a.{name} = r.{name}" for name in KEY)


class Backlog:
    """The recordings of a selection that are not archived yet.

    Those tried `max_attempts` times, or since `started_at`, the start of this run, are left out.
    """

    def __init__(
        self,
        loaded: LoadedTables,
        selection: RecordingSelection,
        max_attempts: int,
        started_at: datetime,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._loaded, self._selection, self._page_rows = loaded, selection, page_rows
        self._values: dict[str, str | int | datetime] = {
            **selection.bounds,
            "max_attempts": max_attempts,
            "started_at": started_at,
        }

    def measure(self) -> tuple[int, int]:
        """Return the number of files, and their bytes as far as the API reports them."""

        def write(loaded: LoadedTables) -> str:
            return f"SELECT count(*), coalesce(sum(size_bytes), 0) FROM ({self._write(loaded)}) AS missing"

        ((files, size),) = self._loaded.query(write, **self._values)
        return int(files), int(size)

    def read(self) -> Iterator[Recording]:
        """Yield the recordings: those never tried first, then those that failed; each oldest first."""
        columns = (*_ORDER, *(name for name in RECORDING_COLUMNS if name not in _ORDER))
        for row in query_pages(
            self._loaded, self._write, columns, len(_ORDER), self._page_rows, **self._values
        ):
            yield read_recording(row)

    def _write(self, loaded: LoadedTables) -> str:
        recordings = write_recordings(loaded, self._selection)
        if not loaded.has(LEDGER):
            return f"SELECT r.*, 0 AS attempts FROM ({recordings}) AS r"
        key = ", ".join(KEY)
        # max: on file destinations the ledger is append-only, and holds a row for each attempt
        return f"""
            SELECT r.*, coalesce(a.attempts, 0) AS attempts FROM ({recordings}) AS r LEFT JOIN (
                SELECT {key}, max(attempts) AS attempts
                FROM {LEDGER} WHERE status IN ('failed', 'forbidden') GROUP BY {key}
            ) AS a ON {_SAME_RECORDING}
            WHERE NOT EXISTS (
                SELECT 1 FROM {LEDGER} AS a WHERE {_SAME_RECORDING} AND (a.status IN ('stored', 'missing')
                    OR a.attempts >= :max_attempts OR a.fetched_at >= CAST(:started_at AS TIMESTAMPTZ))
            )"""
