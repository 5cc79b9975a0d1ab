"""Loads the ledgers of the archive into the destination."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import dlt
import pyarrow as pa

from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import COLUMNS, KEY, LEDGER
from vbc_source.errors import VbcError
from vbc_source.load.ledgers import load_rows, make_schema

log = logging.getLogger(__name__)

BATCH_ROWS, BATCH_SECONDS = 2000, 60.0
MOST_WAITING = 10 * BATCH_ROWS

TakeTurn = Callable[[], AbstractContextManager[Any]]


class AudioLedger:
    """The table, and the journal before it.

    Args:
        pipeline: loads it.
        journal: keeps rows until then.
        take_turn: keeps others from the destination for the time of a load.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        journal: Journal,
        take_turn: TakeTurn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self._pipeline, self._take_turn, self._clock = pipeline, take_turn, clock
        self._loaded_at = clock()

    def is_due(self) -> bool:
        """Whether rows have waited long enough for a load, or are enough of them."""
        waiting = len(self.journal.rows)
        return waiting >= BATCH_ROWS or (waiting > 0 and self._clock() - self._loaded_at >= BATCH_SECONDS)

    def load_when_due(self) -> None:
        """Load what waits when it is time to; where that fails, it goes on waiting in the journal.

        Raises:
            VbcError: too much waits.
        """
        if not self.is_due():
            return
        try:
            self.load()
        except VbcError as error:
            if len(self.journal.rows) > MOST_WAITING:
                raise
            log.warning("the ledger could not be loaded, which is tried again: %s", error)
            self._loaded_at = self._clock()

    def load(self) -> None:
        """Load what waits."""
        rows = self.journal.rows
        if rows:
            table = pa.Table.from_pylist([asdict(row) for row in rows], make_schema(COLUMNS, KEY))
            with self._take_turn():
                load_rows(self._pipeline, LEDGER, table, "merge", KEY)
            self.journal.forget(rows)
        self._loaded_at = self._clock()
