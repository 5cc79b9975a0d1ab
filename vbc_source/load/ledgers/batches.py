"""Rows of a ledger that wait in a journal, and are loaded in batches: a load takes about a second."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from vbc_source.errors import VbcError

log = logging.getLogger(__name__)

BATCH_ROWS, BATCH_SECONDS = 2000, 60.0  # load as soon as one of them is reached
MAX_WAITING_ROWS = 10 * BATCH_ROWS  # while loads fail


class BatchedLedger(ABC):
    """A ledger whose rows are loaded in batches; `clock` is monotonic, in seconds."""

    def __init__(self, table: str, clock: Callable[[], float]) -> None:
        self._table, self._clock = table, clock
        self._loaded_at = clock()

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Number of rows that are not loaded yet."""

    @abstractmethod
    def load(self) -> None:
        """Load all waiting rows."""

    def load_when_due(self) -> None:
        """Load rows if many wait or they have waited long; a failure is raised only if too many wait."""
        if self.waiting < BATCH_ROWS and (
            not self.waiting or self._clock() - self._loaded_at < BATCH_SECONDS
        ):
            return
        try:
            self.load()
        except VbcError as error:
            # the rows are safe in the journal: one failed load is no reason to end hours of work
            if self.waiting > MAX_WAITING_ROWS:
                raise
            log.warning("the table %s could not be loaded and is retried: %s", self._table, error)
        self._loaded_at = self._clock()

    def load_if_possible(self) -> None:
        """Load all waiting rows while another error ends the run, which must be the one that is reported."""
        try:
            self.load()
        except Exception as error:
            log.warning("the table %s could not be loaded; the next run loads it: %s", self._table, error)
