"""Load the rows of `audio_checks` in batches; a journal keeps those that wait, also after a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from vbc_source.audio.session import ArchiveSession
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import BatchedLedger, load_rows
from vbc_source.load.pipelines import keep_connected
from vbc_source.private_files import open_private
from vbc_source.warehouse.audio_checks import CHECKS, AudioCheck, make_checks_table


class CheckLedger(BatchedLedger):
    """Rows that wait in the journal, and the table into which they are loaded."""

    def __init__(
        self, session: ArchiveSession, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(CHECKS, clock)
        self._session = session
        self._rows = list(_read_lines(path))
        # whether an earlier load, perhaps of a killed run, may have loaded some of them
        self._in_doubt = True
        self._file = os.fdopen(open_private(path, os.O_APPEND), "ab")
        self.load()

    @property
    def waiting(self) -> int:
        """Number of rows that are not loaded yet."""
        return len(self._rows)

    def add(self, checks: Sequence[AudioCheck]) -> None:
        """Record checks; a killed run does not lose them."""
        self._rows += checks
        self._file.writelines(msgspec.json.encode(check) + b"\n" for check in checks)
        self._file.flush()

    def load(self) -> None:
        """Load all waiting rows."""
        if self._rows and self._in_doubt:
            self._drop_loaded()
        if self._rows:
            self._in_doubt = True
            repaired = [row.uri for row in self._rows if row.outcome == "repaired" and row.uri]
            # before the rows: a crash of the machine must not undo what a check calls repaired
            self._session.archive.bucket.sync(repaired)
            with self._session.loaded.lock(), explaining():
                load_rows(
                    self._session.pipeline, CHECKS, make_checks_table(self._rows), "append", ("check_id",)
                )
            if not self._session.loaded.find(CHECKS):
                self._session.loaded.refresh()
        self._rows, self._in_doubt = [], False
        # after the load: what a kill leaves here is loaded already, and known by its `check_id`
        self._file.truncate(0)
        self._loaded_at = self._clock()

    def close(self) -> None:
        """Close the journal; its content stays."""
        self._file.close()

    def _drop_loaded(self) -> None:
        """Forget the rows that are loaded already: nothing is appended twice."""
        session = self._session
        with session.loaded.lock(), explaining(), keep_connected(session.pipeline):
            # a killed load may hold these rows: first it is completed, then it is known which are there
            if session.pipeline.has_pending_data:
                session.pipeline.run()
        session.loaded.refresh()
        if not session.loaded.has(CHECKS):
            return
        query = f"SELECT check_id FROM {CHECKS} WHERE checked_at >= CAST(:first AS TIMESTAMPTZ)"
        known = session.loaded.query(query, first=min(row.checked_at for row in self._rows))
        ids = {id_ for (id_,) in known}
        self._rows = [row for row in self._rows if row.check_id not in ids]


def _read_lines(path: Path) -> Iterator[AudioCheck]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(msgspec.MsgspecError):  # a kill may cut off the last line
            yield msgspec.json.decode(line, type=AudioCheck)
