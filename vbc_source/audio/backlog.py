"""The backlog: recordings that are loaded and not archived yet, or have changed since."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import FINAL, FITS, SAME_RECORDING, write_ledger, write_states
from vbc_source.recordings import RECORDING_KEY, Recording, RecordingKey
from vbc_source.warehouse.erasures import write_without_erased
from vbc_source.warehouse.queries import LoadedTables, query_pages
from vbc_source.warehouse.recordings import (
    RECORDING_COLUMNS,
    RecordingSelection,
    read_recording,
    write_recordings,
    write_those,
)

PAGE_ROWS = 5000
_ORDER = ("attempts", "began", "recording_type", "account_id", "user_id", "recording_id")


class Backlog:
    """The recordings of a selection that are not archived as they are loaded now, nor erased.

    Those tried `max_attempts` times, or since `started_at`, the start of this run, are left out. `only` has
    the keys of the recordings to choose from, all if None.
    """

    def __init__(
        self,
        loaded: LoadedTables,
        selection: RecordingSelection,
        max_attempts: int,
        started_at: datetime,
        page_rows: int = PAGE_ROWS,
        only: Collection[RecordingKey] | None = None,
    ) -> None:
        self._loaded, self._selection, self._page_rows = loaded, selection, page_rows
        self._only = only
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
        columns = (*_ORDER, *(name for name in RECORDING_COLUMNS if name not in _ORDER), "version")
        for row in query_pages(
            self._loaded, self._write, columns, len(_ORDER), self._page_rows, **self._values
        ):
            # `write_those` compares ids alone, and two users may have the same one
            if self._only is None or tuple(row[name] for name in RECORDING_KEY) in self._only:
                yield read_recording(row)

    def _write(self, loaded: LoadedTables) -> str:
        recordings = write_without_erased(loaded, write_recordings(loaded, self._selection))
        if self._only is not None:
            recordings = write_those(recordings, (key[-1] for key in self._only))
        states = write_states(loaded, recordings)
        if not loaded.has(LEDGER):
            return states
        # `started_at`: rows of this run are loaded while pages are read, and one more attempt moves a row
        # behind the page, where it would be found and requested again
        return f"""
            SELECT r.* FROM ({states}) AS r WHERE NOT EXISTS (
                SELECT 1 FROM ({write_ledger(loaded)}) AS a WHERE {SAME_RECORDING} AND {FITS}
                    AND (a.status IN {FINAL} OR a.attempts >= :max_attempts
                        OR a.fetched_at >= CAST(:started_at AS TIMESTAMPTZ))
            )"""
