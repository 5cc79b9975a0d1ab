from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from test_recording import make

from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import LedgerRow, describe

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


def row(number: int) -> LedgerRow:
    return describe(make(recording_id=number), "stored", NOW, uri=f"s3://bucket/{number}", sha256="ab")


def test_what_was_written_is_there_after_a_kill(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.intend(row(1))
    journal.intend(row(2))
    journal.settle(row(1))
    found = Journal(own_folder / "journal")  # the first was never closed
    assert (found.rows, found.intents) == ([row(1)], [row(2)])
    journal.close()
    found.close()


def test_a_line_that_was_cut_off_is_left_out(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.settle(row(1))
    journal.settle(row(2))
    journal.close()
    path = own_folder / "journal"
    path.write_bytes(path.read_bytes()[:-40])
    journal = Journal(path)
    assert journal.rows == [row(1)]
    journal.settle(row(3))
    journal.close()
    journal = Journal(path)
    assert journal.rows == [row(1), row(3)]
    journal.close()


def test_what_is_loaded_is_forgotten_and_what_came_meanwhile_is_not(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.settle(row(1))
    loaded = journal.rows
    journal.settle(row(2))
    journal.intend(row(3))
    journal.forget(loaded)
    journal.settle(row(3))
    journal.close()
    journal = Journal(own_folder / "journal")
    assert (journal.rows, journal.intents) == ([row(2), row(3)], [])
    journal.close()
