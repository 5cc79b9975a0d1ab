"""Query what is loaded of each list of recordings: counts and ids, with what is archived and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import write_ledger
from vbc_source.config import CALL_LOGS_TABLE
from vbc_source.errors import SettingsError
from vbc_source.extract.reading.lists import ListOwner
from vbc_source.filters import Filters
from vbc_source.pii import PiiPolicy
from vbc_source.recordings import RECORDING_KEY, RecordingType
from vbc_source.schema.erased import ERASED
from vbc_source.warehouse.queries import LoadedTables, Row, write_instant
from vbc_source.warehouse.recordings import TABLES, RecordingSelection, has_users, write_recordings
from vbc_source.warehouse.tombstones import GROUP_GONE, TOMBSTONES, Tombstone
from vbc_source.windows import Window, floor_second

_LIST = "account_id, user_id"
_OF_LIST = "b.account_id = :account AND b.user_id = :user"
_IDS_PER_QUERY = 500
_OPERATORS = {"gte": ">=", "lte": "<=", "": "="}
_STATES = {"stored": "stored", "deleted": "erased"}  # of files: columns of the base query, by status
_PERSONAL = ("caller_id", "cnam", "dnis", "from", "to", "source_user", "destination_user")

ListKind = Literal["company", "user", "call_logs"]
RowId = int | str  # the number of a recording, or the leg of a call


def recording_type_of(kind: ListKind) -> RecordingType:
    """Return the type of recordings in a list; call logs, of which none is ever gone, pass for company."""
    return "user" if kind == "user" else "company"


@dataclass(frozen=True, slots=True)
class LoadedCounts:
    """Counts of what is loaded of a span of a list; the others are parts of `loaded`."""

    loaded: int = 0
    tombstoned: int = 0
    archived: int = 0
    without_audio: int = 0  # neither archived nor gone, nor deleted in the archive

    @property
    def expected(self) -> int:
        """Recordings that the API should have."""
        return self.loaded - self.tombstoned


class Inventory:
    """The loaded rows of one kind of list that the filters select: both sides must leave out the same."""

    def __init__(self, loaded: LoadedTables, kind: ListKind, filters: Filters, privacy: PiiPolicy) -> None:
        self._read_id: Callable[[Any], RowId] = str if kind == CALL_LOGS_TABLE else int
        self._loaded, self._kind, self._filters = loaded, kind, dict(filters.params)
        self._filter_values = _read_filter_values(self._filters, privacy)

    def count(self, windows: Sequence[Window]) -> dict[ListOwner, list[LoadedCounts]]:
        """Count the recordings of spans, in all lists at once."""
        silent = (
            "AND 1 = 0" if self._kind == CALL_LOGS_TABLE else "AND stored + deleted + gone = 0"
        )  # calls: no audio
        sums = [
            f"sum(CASE WHEN {_write_span(window)} {condition} THEN 1 ELSE 0 END)"
            for window in windows
            for condition in ("", "AND gone = 1", "AND stored = 1", silent)
        ]
        rows = self._query(
            lambda base: f"SELECT {_LIST}, {', '.join(sums)} FROM ({base}) AS b GROUP BY {_LIST}"
        )
        return {
            # rows of a company's list have an empty text as their user
            ListOwner(str(account), str(user) or None): [
                LoadedCounts(*map(int, numbers[first : first + 4])) for first in range(0, len(numbers), 4)
            ]
            for account, user, *numbers in rows
        }

    def read_ids(self, owner: ListOwner, window: Window) -> dict[RowId, bool]:
        """Return the ids of a span of a list, and whether each is tombstoned."""
        return self._read_ids(owner, _write_span(window))

    def find_ids(self, owner: ListOwner, ids: Iterable[RowId]) -> dict[RowId, bool]:
        """Return those of some ids that are loaded with any `start`, and whether each is tombstoned."""
        ordered = sorted(map(repr, ids))  # numbers, or quoted digests
        present: dict[RowId, bool] = {}
        for first in range(0, len(ordered), _IDS_PER_QUERY):
            batch = ", ".join(ordered[first : first + _IDS_PER_QUERY])
            present |= self._read_ids(owner, f"recording_id IN ({batch})")
        return present

    def read_erased(self, owner: ListOwner) -> frozenset[RowId]:
        """Return the recordings of a list that were erased for good: VBC may list one again."""
        # legs that were erased count as loaded, see `_write_legs`
        if self._kind == CALL_LOGS_TABLE or not self._loaded.find(ERASED):
            return frozenset()
        query = f"SELECT row_id FROM {ERASED} AS b WHERE {_OF_LIST} AND b.resource = :resource"
        resource = TABLES[recording_type_of(self._kind)]
        rows = self._loaded.query(query, resource=resource, **_name(owner))
        return frozenset(int(row_id) for (row_id,) in rows)

    def read_tombstones(self, owner: ListOwner) -> dict[RowId, Tombstone]:
        """Return the newest tombstone of each recording of a list, whether it is still gone or came back."""
        if not self._loaded.find(TOMBSTONES):
            return {}
        query = f"""
            SELECT recording_id, detected_at, evidence, returned_at FROM {TOMBSTONES} AS b
            WHERE {_OF_LIST} AND b.recording_type = :kind ORDER BY detected_at"""
        rows = self._loaded.query(query, kind=self._kind, **_name(owner))
        key = owner.account, recording_type_of(self._kind), owner.user or ""
        # sorted by time, so that the newest row of a recording is kept
        return {int(id_): Tombstone(*key, int(id_), at, str(text), back) for id_, at, text, back in rows}

    def find_cuts(self, owner: ListOwner, windows: Sequence[Window], parts: int) -> list[list[datetime]]:
        """Return where to cut spans of a list into parts of about equally many loaded recordings."""
        selects = " UNION ALL ".join(
            f"""SELECT {number} AS span, part, max(began) AS cut FROM (
                SELECT began, ntile({parts}) OVER (ORDER BY began) AS part FROM base
                WHERE {_write_span(window)}
            ) AS p{number} GROUP BY part"""
            for number, window in enumerate(windows)
        )
        rows = self._query(
            lambda base: (
                f"WITH base AS (SELECT began FROM ({base}) AS b WHERE {_OF_LIST}) "
                f"SELECT span, cut FROM ({selects}) AS c ORDER BY span, cut"
            ),
            owner,
        )
        cuts: list[list[datetime]] = [[] for _ in windows]
        for number, moment in rows:
            cut, window = floor_second(moment), windows[int(number)]
            # many recordings may start in one second
            if window.start < cut < window.end and cut not in cuts[int(number)]:
                cuts[int(number)].append(cut)
        return cuts

    def _read_ids(self, owner: ListOwner, condition: str) -> dict[RowId, bool]:
        where = f"{_OF_LIST} AND {condition}"
        rows = self._query(lambda base: f"SELECT recording_id, gone FROM ({base}) AS b WHERE {where}", owner)
        return {self._read_id(id_): bool(gone) for id_, gone in rows}

    def _query(self, write: Callable[[str], str], owner: ListOwner | None = None) -> list[Row]:
        values = {**RecordingSelection().bounds, **self._filter_values, **(_name(owner) if owner else {})}
        return self._loaded.query(lambda loaded: write(self._write_base(loaded)), **values)

    def _write_base(self, loaded: LoadedTables) -> str:
        """Write the query of all recordings, each once: where a destination only appends, rows repeat."""
        if self._kind == CALL_LOGS_TABLE:
            return self._write_legs(loaded)
        rows = self._write_filtered(write_recordings(loaded, RecordingSelection((self._kind,))))
        key = ", ".join(RECORDING_KEY)
        ledgers = {
            **{name: (LEDGER, self._write_files(loaded, status)) for name, status in _STATES.items()},
            "gone": (TOMBSTONES, f"SELECT {key} FROM {TOMBSTONES} {GROUP_GONE}"),
        }
        flags, joins = [], []
        for name, (table, query) in ledgers.items():
            if loaded.has(table):
                same = " AND ".join(f"{name}.{column} = r.{column}" for column in RECORDING_KEY)
                joins.append(f"LEFT JOIN ({query}) AS {name} ON {same}")
                flags.append(f"max(CASE WHEN {name}.recording_id IS NULL THEN 0 ELSE 1 END) AS {name}")
            else:
                flags.append(f"0 AS {name}")
        return f"""
            SELECT r.account_id, r.user_id, r.recording_id, max(r.began) AS began, {", ".join(flags)}
            FROM ({rows}) AS r {" ".join(joins)} GROUP BY r.account_id, r.user_id, r.recording_id"""

    def _write_files(self, loaded: LoadedTables, status: str) -> str:
        """Write the query of recordings with a file of some status; where there is a ledger."""
        if not loaded.has(LEDGER):
            return ""
        key = ", ".join(RECORDING_KEY)
        return f"SELECT DISTINCT {key} FROM ({write_ledger(loaded)}) AS f WHERE status = '{status}'"

    def _write_legs(self, loaded: LoadedTables) -> str:
        """Write the query of all legs of calls, those that were erased too; nothing says that one is gone."""
        conditions = [
            _write_log_filter(name, f":filter_{number}") for number, name in enumerate(self._filters)
        ]
        bounds = '"start" BETWEEN CAST(:since AS TIMESTAMPTZ) AND CAST(:until AS TIMESTAMPTZ)'
        legs = f"""
            SELECT account_id, '' AS user_id, leg AS recording_id, max("start") AS began, 0 AS stored,
                0 AS deleted, 0 AS gone
            FROM {CALL_LOGS_TABLE} WHERE {" AND ".join([bounds, *conditions])} GROUP BY account_id, leg"""
        if not loaded.has(ERASED):
            return legs
        # VBC keeps them: its API deletes no call logs
        return f"""{legs} UNION ALL
            SELECT account_id, '' AS user_id, row_id, max("start"), 0, 0, 0 FROM {ERASED}
            WHERE resource = '{CALL_LOGS_TABLE}' AND {bounds} GROUP BY account_id, row_id"""

    def _write_filtered(self, rows: str) -> str:
        """Write the query of those rows that the source's filters select."""
        for number, name in enumerate(self._filters):
            condition = _write_filter(recording_type_of(self._kind), name, f":filter_{number}")
            rows = f"SELECT r.* FROM ({rows}) AS r WHERE {condition}"
        return rows


def _read_filter_values(filters: dict[str, str | int], privacy: PiiPolicy) -> dict[str, str | int]:
    """Return the values of the placeholders `:filter_0` and so on, hashed like the loaded column."""
    values: dict[str, str | int] = {}
    for number, (name, value) in enumerate(filters.items()):
        hide = name in _PERSONAL and not privacy.keeps
        loaded_value = privacy.hide(str(value)) if hide else value
        if loaded_value is None:
            raise SettingsError(
                f"filters: {name} was dropped before it was loaded (pii = drop), so what the filter selects "
                "cannot be compared"
            )
        values[f"filter_{number}"] = loaded_value
    return values


def _write_filter(kind: RecordingType, name: str, value: str) -> str:
    column, _, operator = name.partition(":")
    table, id_column = TABLES[kind], "id"
    if column == "extension":
        table, id_column = f"{table}__extensions", "recording_id"
    same = f"f.account_id = r.account_id AND f.{id_column} = r.recording_id"
    if has_users(kind):
        same += " AND f.user_id = r.user_id"
    # not a join: several rows of a list could match
    return f"EXISTS (SELECT 1 FROM {table} AS f WHERE {same} AND f.{column} {_OPERATORS[operator]} {value})"


def _write_log_filter(name: str, value: str) -> str:
    column, _, operator = name.partition(":")
    if operator:  # an instant
        # the Reports API takes dates in UTC, without an offset
        value = f"CAST(concat({value}, '+00:00') AS TIMESTAMPTZ)"
    return f'"{column}" {_OPERATORS[operator]} {value}'


def _name(owner: ListOwner) -> dict[str, str]:
    return {"account": owner.account, "user": owner.user or ""}


def _write_span(window: Window) -> str:
    return f"began BETWEEN {write_instant(window.start)} AND {write_instant(window.end)}"
