"""Which rows of which tables are erased, as conditions in SQL for DuckDB and Postgres. Pure.

A column is searched unless it is known to hold nothing personal, as `pii` has it (`schema.specs`): a column
that nobody has declared counts as personal. Rows of an erased recording or call go with it, by their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from vbc_source.api.endpoints import (
    CALL_LOGS,
    COMPANY,
    ENDPOINTS,
    EXTENSIONS,
    RECORDING_ENDPOINTS,
    USERS,
    Endpoint,
)
from vbc_source.erasure.subject import Subject
from vbc_source.recordings import RECORDING_KEY, write_recording_key
from vbc_source.schema.erased import ERASED, ERASURES

if TYPE_CHECKING:
    from vbc_source.erasure.journal import ErasedLeg, ErasedRecording

Kind = Literal["text", "number", "other"]

MEMBERS = (USERS.name, EXTENSIONS.name)  # of the account, with their child tables: no callers
# what was done stays: ids, times and hashes, but no number
KEPT = frozenset({ERASURES, ERASED, "recording_deletions", "recording_holds", "audio_checks", "custody"})
# temporary tables with what is erased
GONE, CALLS = "vbc_forget_recordings", "vbc_forget_calls"
# the same of recordings that are blocked: their rows stay, although they hold the number
KEPT_RECORDINGS, KEPT_CALLS = "vbc_forget_kept_recordings", "vbc_forget_kept_calls"
GONE_COLUMNS = (*RECORDING_KEY, "recording_key")
CALL_COLUMNS = ("account_id", "call_id")

_IDS = frozenset({"account_id", "user_id", "recording_type", "recording_id", "job_id", "position", "leg"})
# texts that are full of digits: here a number counts only without separators
_DENSE = frozenset({"file_name", "call_id", "id", "uri", "sha256", "reading_id", "recording_key"})
_PLAIN = {  # of the tables that are ours, what holds ids, codes and hashes
    "scan_windows": {"reading_id", "resource", "filters"},
    "user_access": {"resource", "access"},
    "recording_arrivals": {"resource"},
    "recording_tombstones": set(),
    "recording_audio": {"uri", "status", "sha256", "content_type"},
    "recording_deletions": {"deletion_id", "status", "uri", "sha256"},
    "call_gaps": {"class", "direction", "extension"},
    ERASURES: {"erasure_id", "subject_hash", "kind", "status", "version"},
    ERASED: {"resource", "row_id", "erasure_id"},
}


def list_searched(table: str, columns: Mapping[str, Kind]) -> list[str]:
    """Return the columns of a table that may hold a number."""
    return [name for name, kind in columns.items() if _is_searched(table, name, kind)]


def _is_searched(table: str, name: str, kind: Kind) -> bool:
    if kind == "other" or name in _IDS or name.startswith("_dlt_") or name in _PLAIN.get(table, ()):
        return False
    if kind == "text":
        return True
    endpoint = _find_endpoint(table)
    # a number that the specs do not know may be a telephone number
    return endpoint is not None and name not in _name_known(endpoint, table)


def _find_endpoint(table: str) -> Endpoint | None:
    root = table.partition("__")[0]
    return next((item for item in ENDPOINTS if item.name == root), None)


def _name_known(endpoint: Endpoint, table: str) -> frozenset[str]:
    shape = endpoint.shape
    child = table.partition("__")[2]
    columns: Mapping[str, pa.DataType] = shape.lists[child].columns if child in shape.lists else shape.fields
    return frozenset({*columns, shape.id_column, *shape.lists})


Matches = Callable[[str, str], str]  # a text and a pattern, in the dialect of a database


def write_duckdb_match(text: str, pattern: str) -> str:
    """Write whether a text matches, for DuckDB."""
    return f"regexp_matches({text}, '{pattern}')"


def write_postgres_match(text: str, pattern: str) -> str:
    """Write whether a text matches, for Postgres; its driver takes a percent sign for a placeholder."""
    return f"{text} ~ '{pattern}'"


def write_search(
    table: str, columns: Mapping[str, Kind], subject: Subject, match: Matches, prefix: str = "t."
) -> str:
    """Write the condition that a row holds the number or its hash."""
    searched = []
    for name in list_searched(table, columns):
        text = f'CAST({prefix}"{name}" AS VARCHAR)'
        if name == "download_url":  # the path has ids; a number stands in what follows it
            text = f"split_part({text}, '?', 2)"
        dense = name in _DENSE or name == "download_url"
        searched.append(f"coalesce({match(text, subject.compact if dense else subject.pattern)}, false)")
    return " OR ".join(searched) or "false"


def write_condition(table: str, columns: Mapping[str, Kind], subject: Subject, match: Matches) -> str:
    """Write the condition that a row, of a table named `t` in the query, is to be erased."""
    search = write_search(table, columns, subject, match)
    gone = " OR ".join(_list_keys(table, columns, "t.", (GONE, CALLS))) or "false"
    kept = " OR ".join(_list_keys(table, columns, "t.", (KEPT_RECORDINGS, KEPT_CALLS))) or "false"
    # what is blocked wins: its rows hold the number as well
    return f"({search} OR {gone}) AND NOT ({kept})"


def _list_keys(table: str, columns: Mapping[str, Kind], prefix: str, named: tuple[str, str]) -> Iterator[str]:
    if table in KEPT:
        return
    gone, calls = named
    for kind, endpoint in RECORDING_ENDPOINTS.items():
        if table == endpoint.name:
            yield _write_in(gone, prefix, f"'{kind}'", endpoint.per_user, endpoint.shape.id_column)
        elif table.startswith(endpoint.name + "__"):
            yield _write_in(gone, prefix, f"'{kind}'", endpoint.per_user, endpoint.shape.child_key)
    if set(RECORDING_KEY) <= columns.keys():
        yield _write_in(gone, prefix, f'{prefix}"recording_type"', True, "recording_id")
    # `recording_arrivals` has the name of the table in place of the type
    elif {"account_id", "resource", "user_id", "recording_id"} <= columns.keys():
        kind = f"CASE {prefix}\"resource\" WHEN '{COMPANY.name}' THEN 'company' ELSE 'user' END"
        yield _write_in(gone, prefix, kind, True, "recording_id")
    if "recording_key" in columns:
        yield f'EXISTS (SELECT 1 FROM {gone} AS g WHERE g.recording_key = {prefix}"recording_key")'
    # the `id` of a call log is the `call_id` of its recordings
    call = "id" if table == CALL_LOGS.name else "call_id"
    recordings = tuple(endpoint.name for endpoint in RECORDING_ENDPOINTS.values())
    if call in columns and "account_id" in columns and not table.startswith(recordings):
        # a row of one recording goes with that one, not with others of its call
        names = () if table == CALL_LOGS.name else ("recording_id", "recording_key")
        of_none = [f'{prefix}"{name}" IS NULL' for name in names if name in columns]
        of_call = (
            f'EXISTS (SELECT 1 FROM {calls} AS g WHERE g.account_id = {prefix}"account_id" '
            f'AND g.call_id = {prefix}"{call}")'
        )
        yield f"({' AND '.join([of_call, *of_none])})"


def _write_in(gone: str, prefix: str, kind: str, per_user: bool, id_column: str) -> str:
    user = f"coalesce({prefix}\"user_id\", '')" if per_user else "''"
    return (
        f'EXISTS (SELECT 1 FROM {gone} AS g WHERE g.account_id = {prefix}"account_id" '
        f"AND g.recording_type = {kind} AND g.user_id = {user} "
        f'AND g.recording_id = CAST({prefix}"{id_column}" AS VARCHAR))'
    )


@dataclass(frozen=True, slots=True)
class Erased:
    """What is erased: recordings and legs of calls; the rows of `kept` recordings stay."""

    recordings: Sequence[ErasedRecording]
    legs: Sequence[ErasedLeg]
    kept: Sequence[ErasedRecording] = ()

    def list_tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """Return the temporary tables that say so: name, columns and rows, all texts."""
        return [
            (GONE, GONE_COLUMNS, _list_recordings(self.recordings)),
            (CALLS, CALL_COLUMNS, _list_calls([*self.recordings, *self.legs])),
            (KEPT_RECORDINGS, GONE_COLUMNS, _list_recordings(self.kept)),
            (KEPT_CALLS, CALL_COLUMNS, _list_calls(self.kept)),
        ]


def _list_recordings(rows: Sequence[ErasedRecording]) -> list[tuple[str, ...]]:
    return [(*map(str, row.key), write_recording_key(row.key)) for row in rows]


def _list_calls(rows: Sequence[ErasedRecording | ErasedLeg]) -> list[tuple[str, ...]]:
    return sorted({(row.account_id, row.call_id) for row in rows if row.call_id})


def read_kind(data_type: str) -> Kind:
    """Return what a column of a database or of dlt holds."""
    name = data_type.lower()
    # first: `interval` has an `int` in it
    if any(word in name for word in ("time", "date", "bool", "interval", "blob", "bytea", "binary")):
        return "other"
    if any(word in name for word in ("int", "decimal", "numeric", "wei", "double", "real", "float")):
        return "number"
    return "text"
