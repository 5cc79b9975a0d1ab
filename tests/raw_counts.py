"""Plain SQL on the source's own tables: what dashboard, notebook and models have to agree with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from raw_tables import connect_postgres

Query = Callable[[str], list[tuple[Any, ...]]]

# the two lists, without what VBC does not know any more; a length that came as text is one if it is a number
RECORDINGS = """
    SELECT 'company' AS type, '' AS user_id, account_id, id, call_direction,
        coalesce(duration, {said}) AS length, start
    FROM {raw}company_recordings
    UNION ALL
    SELECT 'user', user_id, account_id, id, call_direction, coalesce(duration, {said}), start
    FROM {raw}user_recordings"""
KEPT = """
    SELECT *, coalesce(nullif(upper(trim(call_direction)), ''), 'UNKNOWN') AS direction,
        CASE WHEN length >= 0 THEN length / 1000.0 END AS seconds,
        (start AT TIME ZONE '{zone}') AS local
    FROM ({recordings}) r WHERE {started}{gone}"""
GONE = """ AND NOT EXISTS (SELECT 1 FROM {raw}recording_tombstones t WHERE t.returned_at IS NULL
        AND t.account_id = r.account_id AND t.recording_type = r.type AND coalesce(t.user_id, '') = r.user_id
        AND t.recording_id = r.id)"""
EXTENSIONS = """
    SELECT 'company' AS type, '' AS user_id, account_id, recording_id AS id, trim(extension) AS extension
    FROM {raw}company_recordings__extensions WHERE trim(extension) <> ''
    UNION
    SELECT 'user', user_id, account_id, recording_id, trim(extension)
    FROM {raw}user_recordings__extensions WHERE trim(extension) <> ''"""
NUMBER = "'^[0-9]{1,15}([.][0-9]{1,9})?$'"
SAID = f"CASE WHEN duration__v_text ~ {NUMBER} THEN round(CAST(duration__v_text AS decimal(30, 9))) END"


def ask_duckdb(folder: Path) -> Query:
    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(folder / "vbc.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return ask


def ask_postgres(sql: str) -> list[tuple[Any, ...]]:
    with connect_postgres() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


class RawCounts:
    """Counts the rows of the source's tables.

    Args:
        query: asks the database.
        raw: what stands before the names of tables.
        zone: of days and hours.
        complete: whether lengths as text and tombstones were ever loaded.
        started: whether to leave out what has no start, and so is in no period.
    """

    def __init__(self, query: Query, raw: str, zone: str, complete: bool, started: bool = True) -> None:
        self._query = query
        text = RECORDINGS.format(raw=raw, said=SAID if complete else "NULL")
        gone = GONE.format(raw=raw) if complete else ""
        self._kept = KEPT.format(
            zone=zone, recordings=text, gone=gone, started="start IS NOT NULL" if started else "true"
        )
        self._extensions, self._raw = EXTENSIONS.format(raw=raw), raw

    def ask(self, sql: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Ask of the recordings, `kept`, that fit a condition."""
        return self._query(f"WITH kept AS (SELECT * FROM ({self._kept}) k WHERE {where}) {sql}")

    def totals(self, where: str = "true") -> tuple[int, float, float | None, float | None]:
        """Recordings, seconds, median and 90th percentile."""
        ((count, seconds, median, p90),) = self.ask(
            "SELECT count(*), coalesce(sum(seconds), 0), "
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), "
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) FROM kept",
            where,
        )
        return count, float(seconds), *(None if value is None else float(value) for value in (median, p90))

    def extensions(self, where: str = "true") -> dict[Any, int]:
        """Recordings by account and extension; one with two counts for both."""
        join = f"JOIN ({self._extensions}) e USING (type, user_id, account_id, id)"
        rows = self.ask(f"SELECT account_id, extension, count(*) FROM kept {join} GROUP BY 1, 2", where)
        return {(account, number): count for account, number, count in rows}

    def having(self, extension: str) -> str:
        """The condition that an extension took part."""
        return (
            f"EXISTS (SELECT 1 FROM ({self._extensions}) e "
            f"WHERE e.extension = '{extension}' AND e.type = k.type "
            "AND e.user_id = k.user_id AND e.account_id = k.account_id AND e.id = k.id)"
        )

    def archived(self) -> str:
        """The condition that its audio is stored."""
        return (
            f"EXISTS (SELECT 1 FROM {self._raw}recording_audio a WHERE a.status = 'stored' AND "
            "a.account_id = k.account_id AND a.recording_type = k.type AND "
            "coalesce(a.user_id, '') = k.user_id AND a.recording_id = k.id)"
        )

    def group(self, columns: str, where: str = "true") -> dict[Any, int]:
        """Recordings by some columns."""
        rows = self.ask(f"SELECT {columns}, count(*) FROM kept GROUP BY {columns}", where)
        return {key[0] if len(key) == 1 else tuple(key): count for *key, count in rows}
