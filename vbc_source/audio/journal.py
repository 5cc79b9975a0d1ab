"""The journal: a file with the ledger rows that are not loaded yet.

A load takes about a second, a recording less. So rows are loaded in batches, and the journal keeps them
until then: files that a killed run has stored are not downloaded again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from vbc_source.audio.ledger import LedgerRow
from vbc_source.durable_files import replace_file
from vbc_source.private_files import make_private_folder, open_private

_DECODER = msgspec.json.Decoder(tuple[str, LedgerRow])


class Journal:
    """A line for each file before it is stored (an intent), and one after it (a row).

    Thread-safe, but only one process at a time may use its file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._file: BinaryIO | None = None
        self._intents: dict[tuple[Any, ...], LedgerRow] = {}
        self._rows: dict[tuple[Any, ...], LedgerRow] = {}
        make_private_folder(path.parent)
        for stage, row in _read_lines(path):
            self._apply(stage, row)
        # a line that a kill has cut off must go: the next one would be appended to it, and be lost with it
        self._rewrite()

    @property
    def rows(self) -> list[LedgerRow]:
        """Rows that are not loaded yet."""
        with self._lock:
            return list(self._rows.values())

    def __len__(self) -> int:
        """The number of rows that are not loaded yet."""
        return len(self._rows)

    @property
    def intents(self) -> list[LedgerRow]:
        """Rows of files that were about to be stored; after a kill they may be stored or not."""
        with self._lock:
            return list(self._intents.values())

    def intend(self, row: LedgerRow) -> None:
        """Record that a file is about to be stored."""
        self._append("intent", row)

    def record(self, row: LedgerRow) -> None:
        """Record what happened; this replaces the intent."""
        self._append("done", row)

    def forget(self, rows: Sequence[LedgerRow] = (), intents: Sequence[LedgerRow] = ()) -> None:
        """Remove rows that are loaded, and intents of files that were not stored."""
        with self._lock:
            for row in rows:
                if self._rows.get(row.key) == row:  # a newer row of the same key is not loaded yet
                    del self._rows[row.key]
            for row in intents:
                self._intents.pop(row.key, None)
            self._rewrite()

    def close(self) -> None:
        """Close the file; its content stays."""
        if self._file:
            self._file.close()

    def _append(self, stage: str, row: LedgerRow) -> None:
        line = _encode(stage, row)
        with self._lock:
            self._apply(stage, row)
            assert self._file  # noqa: S101 - opened by __init__
            # flushed, not synced: the journal must survive a killed process; after a crash of the machine
            # a lost line costs one download. A file that is gone must not look as if it were lost.
            self._file.write(line)
            self._file.flush()
            if row.status == "erased":
                os.fsync(self._file.fileno())

    def _apply(self, stage: str, row: LedgerRow) -> None:
        if stage == "intent":
            self._intents[row.key] = row
        else:
            self._intents.pop(row.key, None)
            self._rows[row.key] = row

    def _rewrite(self) -> None:
        draft = self._path.with_suffix(".draft")
        with os.fdopen(open_private(draft), "wb") as file:
            file.writelines(_encode("intent", row) for row in self._intents.values())
            file.writelines(_encode("done", row) for row in self._rows.values())
        self.close()
        replace_file(draft, self._path)
        self._file = os.fdopen(open_private(self._path, os.O_APPEND), "ab")


def _encode(stage: str, row: LedgerRow) -> bytes:
    return msgspec.json.encode((stage, row)) + b"\n"


def _read_lines(path: Path) -> Iterator[tuple[str, LedgerRow]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with suppress(msgspec.MsgspecError):  # a kill may cut off the last line
            yield _DECODER.decode(line)
