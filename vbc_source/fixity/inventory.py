"""The files that the ledger has, each with its newest check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from vbc_source.audio.ledger import COLUMNS, LEDGER, VERSION_KEY, LedgerRow
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.audio.sidecars.notes import FOLDER_OF_URI
from vbc_source.errors import VbcError
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.recordings import EPOCH, RECORDING_KEY
from vbc_source.warehouse.audio_checks import CHECKS, NEWEST, OPEN
from vbc_source.warehouse.queries import LoadedTables, query_pages, write_instant
from vbc_source.warehouse.recordings import RecordingSelection

PAGE_ROWS = 20_000  # each page of files that are due is a query of the whole ledger
MOST_FINDINGS = 10_000  # in a result
_ORDER = ("checked_at", "fetched_at", *VERSION_KEY)
_OPEN = ", ".join(f"'{outcome}'" for outcome in OPEN)
_NEVER = write_instant(EPOCH)
_BEFORE = "checked_at < CAST(:started_at AS TIMESTAMPTZ)"


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file as the ledger has it; `newest` says whether no later version of the recording is stored."""

    row: LedgerRow
    newest: bool

    @property
    def size(self) -> int:
        """Its size in bytes by the ledger."""
        return self.row.size_bytes or 0


class Extent(NamedTuple):
    """The files of a selection; those that the run has checked since it began are done.

    `oldest` is when the file was checked whose check is oldest; None where none was ever checked.
    """

    files: int
    size: int
    done_files: int
    done_size: int
    never_checked: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A file whose newest check found it damaged, missing or unreadable."""

    account_id: str
    recording_type: str
    user_id: str
    recording_id: int
    version: int
    uri: str | None
    outcome: str
    error: str | None
    checked_at: datetime


class _Span(NamedTuple):
    """Some folders that follow each other, and the first and last address in them."""

    folders: tuple[str, ...] = ()
    first: str = ""
    last: str = ""


class FileInventory:
    """The stored files of a selection. `started_at` is when the run began: files checked since are done.

    With `unproven` only those that were found in the bucket and never compared with VBC's bytes.
    """

    def __init__(
        self,
        loaded: LoadedTables,
        selection: RecordingSelection,
        started_at: datetime,
        *,
        unproven: bool = False,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._loaded, self._selection = loaded, selection
        self._unproven, self._page_rows = unproven, page_rows
        self._values: dict[str, str | int | datetime] = {**selection.bounds, "started_at": started_at}

    def measure(self) -> Extent:
        """Measure the selection."""

        def write(loaded: LoadedTables) -> str:
            return f"""
                SELECT count(*), sum(size_bytes), sum(CASE WHEN {_BEFORE} THEN 0 ELSE 1 END),
                    sum(CASE WHEN {_BEFORE} THEN 0 ELSE size_bytes END),
                    sum(CASE WHEN outcome IS NULL THEN 1 ELSE 0 END),
                    min(CASE WHEN outcome IS NOT NULL THEN checked_at END)
                FROM ({self._write(loaded)}) AS f"""

        ((*counts, oldest),) = self._loaded.query(write, **self._values)
        files, size, done_files, done_size, never_checked = (int(count or 0) for count in counts)
        return Extent(files, size, done_files, done_size, never_checked, oldest)

    def read_open(self) -> Iterator[ArchivedFile]:
        """Yield the files with a finding that is open, least recently checked first."""
        return self._read(f"{_BEFORE} AND outcome IN ({_OPEN})")

    def read_due(self) -> Iterator[ArchivedFile]:
        """Yield the files without an open finding, never checked ones first, then by the newest check."""
        return self._read(f"{_BEFORE} AND (outcome IS NULL OR outcome NOT IN ({_OPEN}))")

    def read_folders(self, is_chosen: Callable[[str], bool]) -> Iterator[tuple[str, list[ArchivedFile]]]:
        """Yield the folders of files whose address is chosen, each with its files."""
        for span in self._read_spans(is_chosen):
            files: dict[str, list[ArchivedFile]] = {folder: [] for folder in span.folders}
            for file in self._read("true", ("uri", *VERSION_KEY), span):
                # whatever the collation, a folder's files are all between its first and its last one
                if (folder := str(file.row.uri).rpartition("/")[0]) in files:
                    files[folder].append(file)
            yield from files.items()

    def _read_spans(self, is_chosen: Callable[[str], bool]) -> Iterator[_Span]:
        """Yield the chosen folders in groups of about a page of files, in the destination's order."""

        def write(loaded: LoadedTables) -> str:
            return f"""
                SELECT {FOLDER_OF_URI} AS folder, min(uri) AS first_uri, max(uri) AS last_uri,
                    count(*) AS files
                FROM ({self._write(loaded, checks=False)}) AS f WHERE uri IS NOT NULL
                GROUP BY {FOLDER_OF_URI} ORDER BY first_uri"""

        span, files = _Span(), 0
        for folder, first, last, count in self._loaded.query(write, **self._values):
            chosen = is_chosen(folder)
            # a span is read from its first address to its last: a folder between them would be read as well
            if span.folders and (not chosen or files + int(count) > self._page_rows):
                yield span
                span, files = _Span(), 0
            if chosen:
                span = _Span((*span.folders, folder), span.first or first, last)
                files += int(count)
        if span.folders:
            yield span

    def _read(
        self, condition: str, order: tuple[str, ...] = _ORDER, span: _Span | None = None
    ) -> Iterator[ArchivedFile]:
        names = (*order, *(name for name in (*COLUMNS, "newest_version") if name not in order))
        bounds = {"span_first": span.first, "span_last": span.last} if span else {}

        def write(loaded: LoadedTables) -> str:
            # checks are joined where files are chosen by them: to compare folders needs none
            return f"SELECT * FROM ({self._write(loaded, span is None, span)}) AS f WHERE {condition}"

        values = {**self._values, **bounds}
        for row in query_pages(self._loaded, write, names, len(order), self._page_rows, **values):
            yield _read_file(row)

    def _write(self, loaded: LoadedTables, checks: bool = True, span: _Span | None = None) -> str:
        if not loaded.has(LEDGER):
            raise VbcError(
                "no recording is archived yet, so there is nothing to check: run vbc audio first; if the "
                "ledger was lost, vbc audio --rebuild-ledger"
            )
        types = ", ".join(f"'{kind}'" for kind in self._selection.types)
        same = " AND ".join(f"c.{name} = a.{name}" for name in VERSION_KEY)
        key = ", ".join(RECORDING_KEY)
        checked = f"SELECT {', '.join(VERSION_KEY)}, checked_at, outcome FROM ({NEWEST}) AS n"
        if not (checks and loaded.has(CHECKS)):
            # no row, with the types that the table would have
            checked = (
                f"SELECT {', '.join(VERSION_KEY)}, fetched_at AS checked_at, status AS outcome "
                f"FROM ({write_ledger(loaded)}) AS n WHERE 1 = 0"
            )
        listed = ", ".join(f"a.{name}" for name in COLUMNS)
        between = "AND uri BETWEEN :span_first AND :span_last" if span else ""
        # where the ledger is only appended to, the newest row of a version counts, wherever it has the file
        is_appended = loaded.kind == FILESYSTEM
        unproven = "AND a.attempts = 0 AND a.version = coalesce(v.newest_version, 1)"
        # joined, not a window: few recordings have a later version
        return f"""
            SELECT {listed}, coalesce(v.newest_version, 1) AS newest_version, c.outcome AS outcome,
                coalesce(c.checked_at, {_NEVER}) AS checked_at
            FROM (
                SELECT *, row_number() OVER (
                        PARTITION BY {", ".join(VERSION_KEY)} ORDER BY fetched_at DESC
                    ) AS place
                FROM ({write_ledger(loaded)}) AS l
                WHERE status = 'stored' {"" if is_appended else between}
            ) AS a LEFT JOIN (
                SELECT {key}, max(version) AS newest_version FROM ({write_ledger(loaded)}) AS w
                WHERE status = 'stored' AND version > 1 GROUP BY {key}
            ) AS v ON {" AND ".join(f"v.{name} = a.{name}" for name in RECORDING_KEY)}
            LEFT JOIN ({checked}) AS c ON {same}
            WHERE a.place = 1 AND a.recording_type IN ({types}) {between if is_appended else ""}
                AND coalesce(a.call_start, a.fetched_at)
                    BETWEEN CAST(:since AS TIMESTAMPTZ) AND CAST(:until AS TIMESTAMPTZ)
                {unproven if self._unproven else ""}"""


def read_findings(loaded: LoadedTables) -> list[Finding]:
    """Read the open findings of files that the ledger has, whichever run has found them."""
    if len(loaded.find(CHECKS, LEDGER)) < 2:
        return []

    def write(loaded: LoadedTables) -> str:
        # a file that was erased since it was checked is no finding any more
        same = " AND ".join(f"a.{name} = c.{name}" for name in VERSION_KEY)
        return f"""
            SELECT {", ".join(VERSION_KEY)}, uri, outcome, error, checked_at FROM ({NEWEST}) AS c
            WHERE outcome IN ({_OPEN}) AND EXISTS (
                SELECT 1 FROM ({write_ledger(loaded)}) AS a WHERE {same} AND a.status = 'stored')
            ORDER BY {", ".join(VERSION_KEY)} LIMIT {MOST_FINDINGS}"""

    return [Finding(*row) for row in loaded.query(write)]


def name_of(file: ArchivedFile) -> str:
    """Return the name of a file in its folder."""
    return PurePosixPath(str(file.row.uri)).name


def _read_file(row: dict[str, Any]) -> ArchivedFile:
    fields = {name: row[name] for name in COLUMNS}
    for name in ("recording_id", "version", "attempts", "size_bytes", "audio_duration"):
        fields[name] = None if fields[name] is None else int(fields[name])
    return ArchivedFile(LedgerRow(**fields), row["version"] == row["newest_version"])
