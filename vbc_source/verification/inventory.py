"""What is loaded of each list of recordings: counts and ids, with what is archived and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from vbc_source.audio.ledger import LEDGER
from vbc_source.extract.lists import ListOwner
from vbc_source.filters import Filters
from vbc_source.pii import PiiPolicy
from vbc_source.recordings import RecordingType
from vbc_source.verification.filtered import LoadedFilter
from vbc_source.warehouse.queries import LoadedTables, Row
from vbc_source.warehouse.recordings import TABLES, RecordingSelection, write_recordings
from vbc_source.warehouse.tombstones import KEY, TOMBSTONES, Tombstone
from vbc_source.windows import Window, floor_second

_WHO = "account_id, user_id"
_SAME = " AND ".join(f"{{0}}.{name} = r.{name}" for name in KEY)
_ASKED = 500  # ids that one query names

Write = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class LoadedCounts:
    """What is loaded of a span of a list.

    Attributes:
        loaded: rows, the tombstoned ones too.
        tombstoned: of them, what is known to be gone at VBC.
        archived: of them, whose audio is stored.
        without_audio: neither archived nor gone.
    """

    loaded: int = 0
    tombstoned: int = 0
    archived: int = 0
    without_audio: int = 0

    @property
    def expected(self) -> int:
        """How many the API should have."""
        return self.loaded - self.tombstoned


class Inventory:
    """What a destination holds of the recordings of one type.

    Args:
        loaded: the destination.
        kind: of which type.
        filters: the source's: what they leave out does not count.
        privacy: how names and numbers were loaded.
    """

    def __init__(
        self, loaded: LoadedTables, kind: RecordingType, filters: Filters, privacy: PiiPolicy
    ) -> None:
        self._loaded, self._kind = loaded, kind
        self._filtered = LoadedFilter(filters, privacy)

    def tally(self, windows: Sequence[Window]) -> dict[ListOwner, list[LoadedCounts]]:
        """Count the rows of spans, of all lists at once."""
        sums = [
            f"sum(CASE WHEN began BETWEEN {_write(window.start)} AND {_write(window.end)} {which} "
            "THEN 1 ELSE 0 END)"
            for window in windows
            for which in ("", "AND gone = 1", "AND stored = 1", "AND stored = 0 AND gone = 0")
        ]
        rows = self._query(
            lambda base: f"SELECT {_WHO}, {', '.join(sums)} FROM ({base}) AS b GROUP BY {_WHO}"
        )
        return {self._place(row): _read_tallies(row[2:]) for row in rows}

    def newest(self) -> dict[ListOwner, datetime]:
        """The newest `start` of each list."""
        rows = self._query(lambda base: f"SELECT {_WHO}, max(began) FROM ({base}) AS b GROUP BY {_WHO}")
        return {self._place(row): row[2].astimezone(timezone.utc) for row in rows}

    def ids(self, place: ListOwner, window: Window) -> dict[int, bool]:
        """The ids of a span of a list, and whether each is tombstoned."""
        span = f"began BETWEEN {_write(window.start)} AND {_write(window.end)}"
        return self._read_ids(place, span)

    def find(self, place: ListOwner, ids: Iterable[int]) -> dict[int, bool]:
        """Those of some ids that are loaded, wherever they begin, and whether each is tombstoned."""
        wanted = sorted(ids)
        found: dict[int, bool] = {}
        for number in range(0, len(wanted), _ASKED):
            named = ", ".join(map(str, wanted[number : number + _ASKED]))
            found |= self._read_ids(place, f"recording_id IN ({named})")
        return found

    def tombstones(self, place: ListOwner) -> dict[int, Tombstone]:
        """The tombstones of a list, those that are history too."""
        columns = ", ".join((*KEY, "detected_at", "evidence", "returned_at"))
        where = f"{_write_place('t.')} AND t.recording_type = :kind"

        def write(loaded: LoadedTables) -> str:
            if not loaded.has(TOMBSTONES):
                return "SELECT 1 AS nothing FROM (SELECT 1 AS one) AS n WHERE 1 = 0"
            return f"SELECT {columns} FROM {TOMBSTONES} AS t WHERE {where} ORDER BY detected_at"

        rows = self._loaded.query(write, **self._name(place))
        return {int(row[3]): _read_tombstone(row) for row in rows}

    def cut(self, place: ListOwner, windows: Sequence[Window], parts: int) -> list[list[datetime]]:
        """Where to cut spans of a list into parts of about as many rows."""
        selects = " UNION ALL ".join(
            f"""SELECT {number} AS span, part, max(began) AS cut FROM (
                SELECT began, ntile({parts}) OVER (ORDER BY began) AS part FROM base
                WHERE began BETWEEN {_write(window.start)} AND {_write(window.end)}
            ) AS p{number} GROUP BY part"""
            for number, window in enumerate(windows)
        )
        where = _write_place("b.")
        rows = self._query(
            lambda base: (
                f"WITH base AS (SELECT began FROM ({base}) AS b WHERE {where}) "
                f"SELECT span, cut FROM ({selects}) AS c ORDER BY span, cut"
            ),
            place,
        )
        cuts: list[list[datetime]] = [[] for _ in windows]
        for span, cut in rows:
            moment, window = floor_second(cut), windows[int(span)]
            if window.start < moment < window.end and moment not in cuts[int(span)]:
                cuts[int(span)].append(moment)
        return cuts

    def _read_ids(self, place: ListOwner, which: str) -> dict[int, bool]:
        where = f"{_write_place('b.')} AND {which}"
        rows = self._query(lambda base: f"SELECT recording_id, gone FROM ({base}) AS b WHERE {where}", place)
        return {int(id_): bool(gone) for id_, gone in rows}

    def _name(self, place: ListOwner) -> dict[str, str]:
        return {"account": place.account, "kind": self._kind, "whose": place.user or ""}

    def _query(self, write: Write, place: ListOwner | None = None) -> list[Row]:
        values = {
            **RecordingSelection().bounds,
            **self._filtered.values,
            **(self._name(place) if place else {}),
        }
        return self._loaded.query(lambda loaded: write(self._write_base(loaded)), **values)

    def _write_base(self, loaded: LoadedTables) -> str:
        """Write the query of all rows: each recording once, also where a destination only appends."""
        rows = write_recordings(loaded, RecordingSelection((self._kind,)))
        rows = self._filtered.write(loaded, TABLES[self._kind], rows)
        stored = f"SELECT DISTINCT {', '.join(KEY)} FROM {LEDGER} WHERE status = 'stored'"
        gone = f"SELECT {', '.join(KEY)} FROM {TOMBSTONES} GROUP BY {', '.join(KEY)}"
        gone += " HAVING max(detected_at) > max(coalesce(returned_at, CAST('1970-01-01' AS TIMESTAMPTZ)))"
        joins = [
            (name, f"LEFT JOIN ({query}) AS {name} ON {_SAME.format(name)}")
            for name, query, table in (("stored", stored, LEDGER), ("gone", gone, TOMBSTONES))
            if loaded.has(table)
        ]
        flags = [
            f"max(CASE WHEN {name}.recording_id IS NULL THEN 0 ELSE 1 END) AS {name}" for name, _ in joins
        ]
        flags += [f"0 AS {name}" for name in ("stored", "gone") if name not in dict(joins)]
        return f"""
            SELECT r.account_id, r.user_id, r.recording_id, max(r.began) AS began, {", ".join(flags)}
            FROM ({rows}) AS r {" ".join(join for _, join in joins)}
            GROUP BY r.account_id, r.user_id, r.recording_id"""

    def _place(self, row: Row) -> ListOwner:
        return ListOwner(str(row[0]), str(row[1]) or None)


def _write(moment: datetime) -> str:
    return f"CAST('{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}+00:00' AS TIMESTAMPTZ)"


def _write_place(of: str) -> str:
    return f"{of}account_id = :account AND {of}user_id = :whose"


def _read_tombstone(row: Row) -> Tombstone:
    account, kind, user, id_, detected, evidence, returned = row
    return Tombstone(str(account), kind, str(user), int(id_), detected, str(evidence), returned)


def _read_tallies(numbers: Sequence[int]) -> list[LoadedCounts]:
    counts = list(map(int, numbers))
    return [LoadedCounts(*counts[first : first + 4]) for first in range(0, len(counts), 4)]
