"""Plain SQL on the loaded tables: dashboard, notebook and models must agree with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from raw_tables import connect_postgres

Query = Callable[[str], list[tuple[Any, ...]]]

# both kinds of recordings without the tombstoned; a length that was loaded as text counts if it is a number
RECORDINGS = """
    SELECT 'company' AS type, '' AS user_id, account_id, id, call_direction,
        coalesce(duration, {text_length}) AS length, start
    FROM {raw}company_recordings
    UNION ALL
    SELECT 'user', user_id, account_id, id, call_direction, coalesce(duration, {text_length}), start
    FROM {raw}user_recordings"""
CURRENT = """
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
TEXT_LENGTH = (
    f"CASE WHEN duration__v_text ~ {NUMBER} THEN round(CAST(duration__v_text AS decimal(30, 9))) END"
)


def query_duckdb(folder: Path) -> Query:
    def select(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(folder / "vbc.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    return select


def query_postgres(sql: str) -> list[tuple[Any, ...]]:
    with connect_postgres() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


class RawCounts:
    """Counts of the loaded tables.

    Args:
        query: Runs a query.
        raw: Prefix of the names of tables.
        zone: Time zone of days and hours.
        complete: Whether there are lengths that were loaded as text.
        started: Whether to leave out recordings without a start, which are in no period.
    """

    def __init__(self, query: Query, raw: str, zone: str, complete: bool, started: bool = True) -> None:
        self._query = query
        text = RECORDINGS.format(raw=raw, text_length=TEXT_LENGTH if complete else "NULL")
        gone = GONE.format(raw=raw)
        self._current = CURRENT.format(
            zone=zone, recordings=text, gone=gone, started="start IS NOT NULL" if started else "true"
        )
        self._extensions, self._raw = EXTENSIONS.format(raw=raw), raw

    def select(self, sql: str, where: str = "true") -> list[tuple[Any, ...]]:
        """Query the recordings that match a condition, as `current`."""
        return self._query(f"WITH current AS (SELECT * FROM ({self._current}) k WHERE {where}) {sql}")

    def totals(self, where: str = "true") -> tuple[int, float, float | None, float | None]:
        """Return recordings, seconds, median and 90th percentile."""
        ((count, seconds, median, p90),) = self.select(
            "SELECT count(*), coalesce(sum(seconds), 0), "
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), "
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) FROM current",
            where,
        )
        return count, float(seconds), *(None if value is None else float(value) for value in (median, p90))

    def extensions(self, where: str = "true") -> dict[Any, int]:
        """Count recordings by account and extension; one with two extensions counts for both."""
        join = f"JOIN ({self._extensions}) e USING (type, user_id, account_id, id)"
        rows = self.select(f"SELECT account_id, extension, count(*) FROM current {join} GROUP BY 1, 2", where)
        return {(account, number): count for account, number, count in rows}

    def having(self, extension: str) -> str:
        """Return the condition that an extension took part."""
        return (
            f"EXISTS (SELECT 1 FROM ({self._extensions}) e "
            f"WHERE e.extension = '{extension}' AND e.type = k.type "
            "AND e.user_id = k.user_id AND e.account_id = k.account_id AND e.id = k.id)"
        )

    def archived(self) -> str:
        """Return the condition that the audio is stored."""
        return (
            f"EXISTS (SELECT 1 FROM {self._raw}recording_audio a WHERE a.status = 'stored' AND "
            "a.account_id = k.account_id AND a.recording_type = k.type AND "
            "coalesce(a.user_id, '') = k.user_id AND a.recording_id = k.id)"
        )

    def group(self, columns: str, where: str = "true") -> dict[Any, int]:
        """Count recordings by some columns."""
        rows = self.select(f"SELECT {columns}, count(*) FROM current GROUP BY {columns}", where)
        return {key[0] if len(key) == 1 else tuple(key): count for *key, count in rows}
