from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from archiving import make_recording

from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import LedgerRow, make_ledger_row

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)


def row(number: int) -> LedgerRow:
    return make_ledger_row(
        make_recording(recording_id=number), "stored", NOW, uri=f"s3://bucket/{number}", sha256="ab"
    )


def test_rows_and_intents_survive_a_kill(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.intend(row(1))
    journal.intend(row(2))
    journal.record(row(1))
    found = Journal(own_folder / "journal")  # the first was never closed
    assert (found.rows, found.intents) == ([row(1)], [row(2)])
    journal.close()
    found.close()


def test_cut_off_line_is_ignored(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.record(row(1))
    journal.record(row(2))
    journal.close()
    path = own_folder / "journal"
    path.write_bytes(path.read_bytes()[:-40])
    journal = Journal(path)
    assert journal.rows == [row(1)]
    journal.record(row(3))
    journal.close()
    journal = Journal(path)
    assert journal.rows == [row(1), row(3)]
    journal.close()


def test_only_loaded_rows_are_forgotten(own_folder: Path) -> None:
    journal = Journal(own_folder / "journal")
    journal.record(row(1))
    loaded = journal.rows
    journal.record(row(2))
    journal.intend(row(3))
    journal.forget(loaded)
    journal.record(row(3))
    journal.close()
    journal = Journal(own_folder / "journal")
    assert (journal.rows, journal.intents) == ([row(2), row(3)], [])
    journal.close()
