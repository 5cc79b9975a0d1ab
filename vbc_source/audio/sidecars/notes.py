"""The table `audio_manifests`: which folders have sidecars and a manifest of all that the ledger names there.

So a run finds the folders that lack some with one query, and neither lists nor reads the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import dlt
import pyarrow as pa

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.sidecars.manifest import MANIFEST
from vbc_source.load.ledgers import load_rows, make_schema
from vbc_source.schema.columns import INSTANT
from vbc_source.warehouse.queries import LoadedTables

NOTES = "audio_manifests"
NOTE_KEY = ("uri",)
COLUMNS = {
    "uri": pa.string(),
    "files": pa.int64(),
    "newest": INSTANT,
    "sha256": pa.string(),
    "written_at": INSTANT,
}
# the folder of a file's address
FOLDER_OF_URI = "regexp_replace(uri, '/[^/]*$', '')"


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder of the bucket: how many files the ledger names in it, and their newest `fetched_at`."""

    folder: str
    files: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class FolderNote:
    """A folder whose manifest names all files that the ledger had in it, and their sidecars."""

    uri: str
    files: int
    newest: datetime
    sha256: str
    written_at: datetime


def find_folders(
    loaded: LoadedTables, bucket: Bucket, *, every: bool = False, named: Collection[str] = ()
) -> list[FolderState]:
    """Find the folders with files in the ledger that no note covers, or all, in the order of their names.

    `named` folders are found although a note covers them.
    """

    def write(loaded: LoadedTables) -> str:
        # not LIKE: an address may hold `_` and `%`; DISTINCT, as append-only destinations repeat rows
        folders = f"""
            SELECT {FOLDER_OF_URI} AS uri, count(DISTINCT uri) AS files, max(fetched_at) AS newest
            FROM {LEDGER} WHERE status = 'stored' AND substr(uri, 1, {len(bucket.url) + 1}) = :bucket
            GROUP BY {FOLDER_OF_URI}"""
        if every or not loaded.has(NOTES):
            return f"SELECT uri, files, newest FROM ({folders}) AS f"
        return f"""
            SELECT uri, files, newest FROM ({folders}) AS f WHERE uri IN (:named) OR NOT EXISTS (
                SELECT 1 FROM {NOTES} AS n WHERE n.uri = f.uri AND n.files = f.files AND n.newest = f.newest
            )"""

    if not loaded.find(LEDGER):
        loaded.refresh()  # this run may have created it
    if not loaded.has(LEDGER):
        return []
    rows = loaded.query(write, bucket=f"{bucket.url}/", named=[bucket.uri(folder) for folder in named])
    read = [(bucket.key_of(uri), int(files), newest) for uri, files, newest in rows]
    return [FolderState(folder, files, newest) for folder, files, newest in sorted(read) if folder]


def load_notes(
    pipeline: dlt.Pipeline, loaded: LoadedTables, bucket: Bucket, notes: Sequence[FolderNote]
) -> None:
    """Load notes; a folder has one."""
    # before the note, after which nobody looks into the folder again
    bucket.sync(f"{note.uri}/{MANIFEST}" for note in notes)
    table = pa.Table.from_pylist([asdict(note) for note in notes], make_schema(COLUMNS, NOTE_KEY))
    with loaded.lock():
        load_rows(pipeline, NOTES, table, "merge", NOTE_KEY)
