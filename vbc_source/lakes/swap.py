"""Replace files of a table by others, in a bucket that can only write, list and delete single files.

A note says what happens, and is written before anything else:

1. `writing`: the new files are written. Until all are there, readers leave them out.
2. `written`: from now on the new files count, and readers leave out the old ones, which are removed.
3. The note is removed.

After a kill, the next compaction removes the new files in case 1, and the rest of the old ones in case 2. So
a row is never lost, and never counted twice by readers that use `list_files`. Others see some rows twice
while a compaction runs; the views in docs/current_rows.sql leave those out.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

from vbc_source.durable_files import fsync, make_folder, replace_file
from vbc_source.errors import VbcError

log = logging.getLogger(__name__)

NOTES_FOLDER = "_vbc_compaction"  # in the dataset, beside the folders of the tables
LOADING = "_vbc_loading"  # files that are being copied into a folder of tables
LONGEST = timedelta(hours=1)  # the longest compaction of one table; an older note was left by a killed one


@dataclass(frozen=True, slots=True)
class CompactionNote:
    """What a compaction of one table does.

    Attributes:
        id: Random id of the compaction.
        host: The machine that it runs on.
        began_at: When it began, ISO.
        is_written: Whether all new files are there.
        added: Names of the new files, without the dataset's folder.
        replaced: Names of the old files.
    """

    id: str
    host: str
    began_at: str
    is_written: bool
    added: tuple[str, ...]
    replaced: tuple[str, ...]

    @property
    def hidden(self) -> frozenset[str]:
        """The files that do not count now."""
        return frozenset(self.replaced if self.is_written else self.added)

    @property
    def is_late(self) -> bool:
        """Whether the compaction should have ended."""
        return datetime.now(timezone.utc) - datetime.fromisoformat(self.began_at) > LONGEST


class Swap:
    """Replaces files of one table; the caller lets no other process of this machine do so meanwhile."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._fs, self.table = client, client.fs_client, table
        self._note_path = _join(client, NOTES_FOLDER, f"{table}.json")

    def recover(self) -> None:
        """Finish or undo what a killed compaction has left."""
        note = self.read_note()
        if note is None:
            return
        # a note of this machine is that of a killed compaction, since the caller holds the lock. Of another
        # machine only time tells: a bucket has no locks.
        if note.host != socket.gethostname() and not note.is_late:
            raise VbcError(
                f"table {self.table} is being compacted on {note.host} since {note.began_at}; where that was "
                f"killed, it can be compacted again an hour later"
            )
        log.info("%s: finishing a compaction that was killed", self.table)
        # the note goes last: a kill before that leaves it, and the next compaction does this again
        self._remove(note.hidden)
        self._fs.rm_file(self._note_path)

    def run(self, added: Mapping[str, Callable[[], bytes]], replaced: Iterable[str]) -> None:
        """Replace files by others, which are made one by one; names are without the dataset's folder."""
        note = CompactionNote(
            id=uuid4().hex,
            host=socket.gethostname(),
            began_at=datetime.now(timezone.utc).isoformat(),
            is_written=False,
            added=tuple(added),
            replaced=tuple(replaced),
        )
        self._write_note(note)
        for name, make in added.items():
            self._write(_join(self._client, name), make())
        # another machine that took this one for dead has removed its files, and written a note perhaps
        if self.read_note() != note or note.is_late:
            raise VbcError(f"table {self.table} was compacted by another machine at the same time")
        self._write_note(replace(note, is_written=True))
        self._remove(note.replaced)
        self._fs.rm_file(self._note_path)

    def read_note(self) -> CompactionNote | None:
        """Read the note of a compaction that runs, or was killed."""
        return _read_note(self._client, self.table)

    def _write_note(self, note: CompactionNote) -> None:
        self._write(self._note_path, json.dumps(asdict(note)).encode())

    def _write(self, path: str, content: bytes) -> None:
        if not self._client.config.is_local_filesystem:
            self._fs.pipe_file(path, content)  # a bucket shows a file when it is whole
            return
        # not in the table's folder, where readers would take the draft for one of its files
        draft = _join(self._client, NOTES_FOLDER, f"{uuid4().hex}.draft")
        self._fs.makedirs(_join(self._client, NOTES_FOLDER), exist_ok=True)
        self._fs.pipe_file(draft, content)
        make_folder(Path(path).parent)
        replace_file(Path(draft), Path(path))  # on the disk, before what it replaces is removed

    def _remove(self, names: Iterable[str]) -> None:
        folders: set[Path] = set()
        for name in names:
            path = _join(self._client, name)
            with suppress(FileNotFoundError):  # a killed compaction had removed it, or not written it
                self._fs.rm_file(path)
                folders.add(Path(path).parent)
        if self._client.config.is_local_filesystem:
            # before the note goes: after a crash of the machine, files that came back would count again
            for folder in folders:
                fsync(folder)


def remove_drafts(client: Any) -> None:
    """Remove files that a kill left half written."""
    for path in client.fs_client.glob(_join(client, NOTES_FOLDER, "*.draft")):
        client.fs_client.rm_file(path)


def remove_unloaded(client: Any) -> None:
    """Remove copies that a killed load has left; the caller holds the locks of all that load."""
    for path in client.fs_client.glob(_join(client, LOADING, "*")):
        client.fs_client.rm_file(path)


def list_files(client: Any, table: str) -> list[str]:
    """List the files of a table that count, whatever a compaction does at this moment."""
    while True:
        # the note is read on both sides of the listing: one that changes meanwhile would leave out the old
        # files and the new ones, or count both
        before = _read_note(client, table)
        paths: list[str] = client.list_table_files(table)
        if before == _read_note(client, table):
            hidden = before.hidden if before else frozenset()
            return [path for path in paths if name_file(client, path) not in hidden]


def name_file(client: Any, path: str) -> str:
    """Return the name of a file without the dataset's folder, with slashes."""
    return str(client.pathlib.relpath(path, client.dataset_path)).replace("\\", "/")


def base_name(path: str) -> str:
    """Return the last part of a path or an address, whatever separates the parts."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _read_note(client: Any, table: str) -> CompactionNote | None:
    try:
        fields = json.loads(client.fs_client.cat_file(_join(client, NOTES_FOLDER, f"{table}.json")))
    except FileNotFoundError:
        return None
    return CompactionNote(
        **{**fields, "added": tuple(fields["added"]), "replaced": tuple(fields["replaced"])}
    )


def _join(client: Any, *names: str) -> str:
    return str(client.pathlib.join(client.dataset_path, *names))
