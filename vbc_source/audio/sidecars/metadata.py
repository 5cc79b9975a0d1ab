"""Read what is loaded of archived recordings, for their sidecars: a few queries for many files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any

from vbc_source.api.endpoints import RECORDING_ENDPOINTS, Endpoint
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.ledger import COLUMNS, LedgerRow
from vbc_source.audio.ledger_queries import FITS, SAME_RECORDING, write_ledger
from vbc_source.audio.sidecars.notes import FOLDER_OF_URI
from vbc_source.audio.sidecars.sidecar import Proof
from vbc_source.recordings import EPOCH, RecordingType
from vbc_source.schema.names import LOAD_ID
from vbc_source.warehouse.completeness import SCAN_WINDOWS
from vbc_source.warehouse.queries import LoadedTables, Value, query_pages, write_instant

PAGE_ROWS = 5000
_PROOF = tuple(field.name for field in fields(Proof))


@dataclass(frozen=True, slots=True)
class LoadedFacts:
    """What is loaded of a recording as it was archived: its row with its lists, and the proof of its list."""

    recording: Mapping[str, Any] | None = None
    proof: Proof | None = None


class StoredFiles:
    """The files that the ledger names in some folders."""

    def __init__(self, loaded: LoadedTables, bucket: Bucket, folders: Sequence[str]) -> None:
        self._loaded = loaded
        self._values: dict[str, Value] = {"folders": [bucket.uri(folder) for folder in folders]}

    def read(self) -> Iterator[LedgerRow]:
        """Yield the row of each file, in the order of `fetched_at`."""
        columns = ("fetched_at", "uri", *(name for name in COLUMNS if name not in ("fetched_at", "uri")))
        for row in query_pages(self._loaded, self._write, columns, 2, PAGE_ROWS, **self._values):
            yield LedgerRow(**{name: _to_utc(value) for name, value in row.items()})

    def read_facts(self, kind: RecordingType, first: datetime, last: datetime) -> dict[str, LoadedFacts]:
        """Read what is loaded of the recordings of one type that were fetched in a span, by address."""

        def write(loaded: LoadedTables) -> str:
            bounds = "CAST(:first AS TIMESTAMPTZ) AND CAST(:last AS TIMESTAMPTZ)"
            between = f"fetched_at BETWEEN {bounds} AND recording_type = '{kind}'"
            return f"SELECT * FROM ({self._write(loaded)}) AS s WHERE {between}"

        values: dict[str, Value] = {**self._values, "first": first, "last": last}
        return _FactsReader(self._loaded, RECORDING_ENDPOINTS[kind], kind, write, values).read()

    def _write(self, loaded: LoadedTables) -> str:
        ledger = write_ledger(loaded)
        return f"SELECT * FROM ({ledger}) AS l WHERE status = 'stored' AND {FOLDER_OF_URI} IN (:folders)"


class _FactsReader:
    """Reads what is loaded of the files that a query of the ledger selects."""

    def __init__(
        self,
        loaded: LoadedTables,
        endpoint: Endpoint,
        kind: RecordingType,
        write_files: Callable[[LoadedTables], str],
        values: Mapping[str, Value],
    ) -> None:
        self._loaded, self._endpoint, self._kind = loaded, endpoint, kind
        self._write_files, self._values = write_files, values

    def read(self) -> dict[str, LoadedFacts]:
        """Return what is loaded, by address."""
        recordings, proofs = self._read_recordings(), self._read_proofs()
        return {uri: LoadedFacts(recordings.get(uri), proofs.get(uri)) for uri in {**recordings, **proofs}}

    def _read_recordings(self) -> dict[str, dict[str, Any]]:
        table = self._endpoint.name
        if not self._loaded.find(table):
            return {}
        names = list(self._loaded.columns(table))
        # aliases: the table's own names would stand beside those that `FITS` compares, twice in one query
        columns = {f"c{number}": name for number, name in enumerate(names)}

        def write(loaded: LoadedTables) -> str:
            own = ", ".join(f'"{name}" AS {alias}' for alias, name in columns.items())
            user = "user_id" if self._endpoint.per_user else "''"
            size = "file_size_in_bytes" if "file_size_in_bytes" in names else "CAST(NULL AS BIGINT)"
            call = "call_id" if "call_id" in names else "CAST(NULL AS VARCHAR)"
            began = f'coalesce("start", {write_instant(EPOCH)})'
            return f"""
                SELECT a.uri, {", ".join(f"r.{alias}" for alias in columns)}
                FROM ({self._write_files(loaded)}) AS a JOIN (
                    SELECT account_id, '{self._kind}' AS recording_type, {user} AS user_id,
                        id AS recording_id, {began} AS began, {size} AS size_bytes, {call} AS call_id, {own}
                    FROM {table}
                ) AS r ON {SAME_RECORDING} AND {FITS}"""

        found: dict[str, dict[str, Any]] = {}
        for uri, *values in self._loaded.query(write, **self._values):
            row = {name: _to_utc(value) for name, value in zip(names, values, strict=True)}
            # where a destination is append-only, the newest load counts
            if uri not in found or str(row.get(LOAD_ID)) > str(found[uri].get(LOAD_ID)):
                found[uri] = row
        for name in self._endpoint.shape.lists:
            items = self._read_items(name)
            for uri, row in found.items():
                row[name] = items.get(uri, [])
        return {uri: _drop_own(row) for uri, row in found.items()}

    def _read_items(self, name: str) -> dict[str, list[Any]]:
        """Read a list of the recordings as the API has it, by address of the file."""
        table, endpoint = f"{self._endpoint.name}__{name}", self._endpoint
        if not self._loaded.find(table):
            return {}
        present = self._loaded.columns(table)
        own = {*endpoint.key, endpoint.shape.child_key, "position", "is_empty"}
        # the typed column first, then what did not fit it
        values = sorted(column for column in present if column not in own and not column.startswith("_dlt_"))
        load = f"l.{LOAD_ID}" if LOAD_ID in present else "''"

        def write(loaded: LoadedTables) -> str:
            same = " AND ".join(f"l.{column} = a.{column}" for column in (*endpoint.key, "recording_id"))
            cells = ", ".join(f'l."{column}"' for column in values)
            return f"""
                SELECT a.uri, {load} AS load_id, l.position, {cells}
                FROM ({self._write_files(loaded)}) AS a JOIN {table} AS l ON {same}"""

        loads: dict[str, dict[str, dict[int, Any]]] = {}
        for uri, load_id, position, *cells in self._loaded.query(write, **self._values):
            value = next((cell for cell in cells if cell is not None), None)
            loads.setdefault(uri, {}).setdefault(str(load_id), {})[int(position)] = value
        # an append-only destination has the items of every load; load ids are times, as text
        return {uri: _order_items(by_load[max(by_load)]) for uri, by_load in loads.items()}

    def _read_proofs(self) -> dict[str, Proof]:
        if not self._loaded.find(SCAN_WINDOWS):
            return {}

        def write(loaded: LoadedTables) -> str:
            columns = loaded.columns(SCAN_WINDOWS)
            adds_up = "AND coalesce(w.is_proven, true)" if "is_proven" in columns else ""
            read = ("resource", "window_start", "window_end", "total_items", "scanned_at")
            # bounds are whole seconds, both inclusive; a killed load may leave windows without recordings
            return f"""
                SELECT uri, {", ".join(_PROOF)} FROM (
                    SELECT a.uri, {", ".join(f"w.{name}" for name in read)}, w.filters,
                        w.{LOAD_ID} AS load_id,
                        row_number() OVER (
                            PARTITION BY a.uri ORDER BY w.scanned_at DESC, w.window_start, w.window_end
                        ) AS place
                    FROM ({self._write_files(loaded)}) AS a JOIN {SCAN_WINDOWS} AS w
                        ON w.resource = '{self._endpoint.name}' AND w.account_id = a.account_id
                        AND coalesce(w.user_id, '') = a.user_id AND a.call_start >= w.window_start
                        AND a.call_start < w.window_end + INTERVAL '1 second'
                    JOIN _dlt_loads AS d ON d.load_id = w.{LOAD_ID} AND d.status = 0
                    WHERE true {adds_up}
                ) AS p WHERE place = 1"""

        return {
            uri: Proof(**{name: _to_utc(cell) for name, cell in zip(_PROOF, cells, strict=True)})
            for uri, *cells in self._loaded.query(write, **self._values)
        }


def _order_items(items: Mapping[int, Any]) -> list[Any]:
    """Put the items of a list in its order; one that was null or empty was not loaded."""
    if set(items.values()) == {None}:
        return []
    return [items.get(position) for position in range(max(items) + 1)]


def _drop_own(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_dlt_")}


def _to_utc(value: Any) -> Any:
    """Return an instant in UTC; destinations give it the zone of their session."""
    return value.astimezone(timezone.utc) if isinstance(value, datetime) and value.tzinfo else value
