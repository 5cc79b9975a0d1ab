"""What is stored and not in the ledger yet, on disk.

A load takes about a second, a recording less. So rows are loaded in batches, and until then a journal
keeps them: what a killed run has stored is not fetched again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from vbc_source.audio.ledger import LedgerRow


class Journal:
    """A line for each file that is about to be stored, and for each that is.

    Args:
        path: the file; one process at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._intents: dict[tuple[Any, ...], LedgerRow] = {}
        self._rows: dict[tuple[Any, ...], LedgerRow] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for stage, row in _read_lines(path):
            self._note(stage, row)
        self._rewrite()

    @property
    def rows(self) -> list[LedgerRow]:
        """What happened and is not loaded yet."""
        with self._lock:
            return list(self._rows.values())

    @property
    def intents(self) -> list[LedgerRow]:
        """What was about to be stored; after a kill nobody knows whether it was."""
        with self._lock:
            return list(self._intents.values())

    def intend(self, row: LedgerRow) -> None:
        """Write down what is about to be stored."""
        self._write("intent", row)

    def settle(self, row: LedgerRow) -> None:
        """Write down what happened."""
        self._write("done", row)

    def forget(self, rows: Sequence[LedgerRow] = (), intents: Sequence[LedgerRow] = ()) -> None:
        """Take out rows that are loaded, and intents that came to nothing."""
        with self._lock:
            for row in rows:
                if self._rows.get(row.key) == row:
                    del self._rows[row.key]
            for row in intents:
                self._intents.pop(row.key, None)
            self._rewrite()

    def _write(self, stage: str, row: LedgerRow) -> None:
        with self._lock:
            self._note(stage, row)
            assert self._file  # noqa: S101 - it is open from the beginning
            self._file.write(_encode(stage, row))
            self._file.flush()

    def _note(self, stage: str, row: LedgerRow) -> None:
        if stage == "intent":
            self._intents[row.key] = row
        else:
            self._intents.pop(row.key, None)
            self._rows[row.key] = row

    def _rewrite(self) -> None:
        draft = self._path.with_suffix(".draft")
        with draft.open("w") as file:
            file.writelines(_encode("intent", row) for row in self._intents.values())
            file.writelines(_encode("done", row) for row in self._rows.values())
            file.flush()
            os.fsync(file.fileno())
        self.close()
        draft.replace(self._path)
        self._file = self._path.open("a")

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._file:
            self._file.close()


def _encode(stage: str, row: LedgerRow) -> str:
    return json.dumps([stage, {**asdict(row), "fetched_at": row.fetched_at.isoformat()}]) + "\n"


def _read_lines(path: Path) -> Iterator[tuple[str, LedgerRow]]:
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            stage, fields = json.loads(line)
            row = LedgerRow(**fields)
            yield stage, replace(row, fetched_at=datetime.fromisoformat(fields["fetched_at"]))
        except (ValueError, TypeError, KeyError):  # the line that a kill has cut off
            continue
