"""The figures of the dashboard: SQL on the models, for both DuckDB and Postgres.

Values are always bound (`%(name)s`). Names in braces are replaced by code: a model's qualified name;
`{chosen}`, the conditions of all filters on a row `r` of `recordings`; or `{narrowed}`, the conditions of
period, account and type alone, for models that have no more columns than these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.filters import LOCAL_TIME, LengthBucket, PageFilters

MODELS = (
    *("recordings", "recording_extensions", "extensions", "coverage"),
    *("daily_directions", "daily_extensions", "duration_buckets"),
)
TOP = 10
EXPORT_ROWS = 20_000  # rows of an export in memory at a time, if no day has more
# longer ones may be phone numbers, which must not get into URLs
_SHORT_EXTENSION = "extension !~ '^[+]?[0-9]{7,}$'"
LIST_COLUMNS = {
    "start_utc": "(r.started_at AT TIME ZONE 'UTC')",
    "start_local": LOCAL_TIME,
    "account_id": "r.account_id",
    "recording_type": "r.recording_type",
    "direction": "r.direction",
    "caller_number": "r.caller_number",
    "caller_name": "r.caller_name",
    "dialed_number": "r.dialed_number",
    "duration_seconds": "r.duration_seconds",
    "extensions": "(SELECT string_agg(x.extension, ' ' ORDER BY x.extension) FROM {recording_extensions} x "
    "WHERE x.recording_key = r.recording_key)",
    "size_bytes": "r.size_bytes",
    "archived": "r.archived",
    "recording_id": "r.recording_id",
    "user_id": "r.user_id",
    "call_id": "r.call_id",
}
_SELECT_LIST = f"SELECT {', '.join(LIST_COLUMNS.values())} FROM"
_NEWEST_FIRST = "r.started_at DESC, r.recording_key"
_TOTALS = """
    SELECT count(*), count(r.duration_seconds),
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY r.duration_seconds),
        percentile_cont(0.9) WITHIN GROUP (ORDER BY r.duration_seconds),
        coalesce(sum(CASE WHEN r.archived THEN 1 ELSE 0 END), 0)
    FROM {recordings} r WHERE {chosen}"""
# Offsets of time zones are multiples of a quarter of an hour, so it is enough to convert the counts of each
# quarter to local time, not every recording.
_TIMES = """
    WITH slots AS (
        SELECT floor(date_part('epoch', r.started_at) / 900) AS slot, r.direction, count(*) AS recordings
        FROM {recordings} r WHERE {chosen} GROUP BY 1, 2
    ), times AS (
        SELECT to_timestamp(slot * 900) AT TIME ZONE %(zone)s AS moment, direction, recordings FROM slots
    ), parts AS (
        SELECT CAST(date_trunc(%(step)s, moment) AS date) AS day, direction, recordings,
            extract(isodow FROM moment) AS weekday, extract(hour FROM moment) AS hour FROM times
    )
    SELECT grouping(day), day, direction, weekday, hour, sum(recordings) FROM parts
    GROUP BY GROUPING SETS ((day, direction), (weekday, hour)) ORDER BY 1, 2, 3"""
_LENGTHS = """
    SELECT b.bucket_order, CAST(sum(s.recordings) AS bigint) FROM {duration_buckets} b JOIN (
        SELECT CAST(floor(r.duration_seconds) AS bigint) AS seconds, count(*) AS recordings
        FROM {recordings} r WHERE {chosen} GROUP BY 1
    ) s ON (s.seconds >= b.from_seconds AND (b.to_seconds IS NULL OR s.seconds < b.to_seconds))
        OR (b.from_seconds IS NULL AND s.seconds IS NULL)
    GROUP BY 1"""
_EXTENSIONS_BY_RECORDING = """
    SELECT r.account_id, x.extension, count(*) AS recordings,
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) AS milliseconds
    FROM {recordings} r JOIN {recording_extensions} x ON x.recording_key = r.recording_key WHERE {chosen}"""
_EXTENSIONS_BY_DAY = """
    SELECT account_id, extension, CAST(sum(recordings) AS bigint) AS recordings,
        sum(CAST(round(total_seconds * 1000) AS bigint)) AS milliseconds
    FROM {daily_extensions} WHERE {narrowed}"""
_TOP_EXTENSIONS = f"""
    SELECT t.account_id, t.extension, n.user_name, t.recordings, t.milliseconds / 1000.0
    FROM ({{counted}} GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT {TOP}) t
    LEFT JOIN {{extensions}} n ON n.account_id = t.account_id AND n.extension = t.extension
    ORDER BY 4 DESC, 2, 1"""
_NARROW = {
    "first": "day >= CAST(%(first)s AS date)",
    "last": "day <= CAST(%(last)s AS date)",
    "account": "account_id = %(account)s",
    "type": "recording_type = %(type)s",
}

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The values that filters can have.

    Attributes:
        earliest: First day with recordings.
        latest: Last day that was read.
        accounts: Account ids.
        directions: Directions as in the models.
        extensions: Extensions, each with the name of its user if known.
        buckets: Ranges of lengths.
    """

    earliest: date
    latest: date
    accounts: tuple[str, ...]
    directions: tuple[str, ...]
    extensions: tuple[tuple[str, str | None], ...]
    buckets: tuple[LengthBucket, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of the chosen recordings; `median` and `p90` (seconds) are None if no length is known."""

    recordings: int
    known_lengths: int
    seconds: float
    median: float | None
    p90: float | None
    archived: int


@dataclass(frozen=True, slots=True)
class TimeCounts:
    """Recordings by calendar step and direction, and by weekday (1 to 7) and hour."""

    steps: tuple[tuple[date, str, int], ...]
    hours: dict[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class ListCoverage:
    """Recordings of an account and type in a period: how many, how many archived, which days are proven."""

    account: str
    type: str
    recordings: int
    archived: int
    proven_days: frozenset[date]


class Figures:
    """Queries on an open connection.

    Args:
        connection: DB-API connection to DuckDB or Postgres.
        database: The database that it is connected to.
        zone: Time zone of days and hours.
    """

    def __init__(self, connection: Any, database: AnalyticsDatabase, zone: ZoneInfo) -> None:
        self._connection, self._database, self._zone = connection, database, zone
        self._buckets: tuple[LengthBucket, ...] = ()
        if database.kind == "postgres":
            self._query("SELECT set_config('jit', 'off', false)")  # compiling takes longer than the queries

    def have_models(self) -> bool:
        """Return whether the models are built."""
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = %(schema)s"
        tables = {name for (name,) in self._query(sql, schema=self._database.models_dataset)}
        return tables.issuperset(MODELS)

    def read_options(self) -> FilterOptions | None:
        """Return the values that filters can have; None if there are no recordings."""
        ((earliest, latest),) = self._query(
            "SELECT min(CASE WHEN recordings > 0 THEN day END), max(day) FROM {coverage}"
        )
        if earliest is None:
            return None
        accounts = self._query("SELECT DISTINCT account_id FROM {coverage} ORDER BY 1")
        directions = self._query("SELECT DISTINCT direction FROM {daily_directions} ORDER BY 1")
        extensions = self._query(
            "SELECT extension, min(user_name) FROM {extensions} "
            f"WHERE {_SHORT_EXTENSION} GROUP BY 1 ORDER BY length(extension), 1"
        )
        buckets = self._query(
            "SELECT bucket_order, bucket, from_seconds, to_seconds FROM {duration_buckets} ORDER BY 1"
        )
        self._buckets = tuple(LengthBucket(*row) for row in buckets)
        return FilterOptions(
            earliest,
            latest,
            tuple(account for (account,) in accounts),
            tuple(direction for (direction,) in directions),
            tuple((extension, name) for extension, name in extensions),
            self._buckets,
        )

    def total(self, filters: PageFilters) -> Totals:
        """Return the totals of the chosen recordings."""
        ((*whole, median, p90, archived),) = self._query_chosen(filters, _TOTALS)
        recordings, known, milliseconds = (int(number) for number in whole)
        return Totals(recordings, known, milliseconds / 1000, median, p90, int(archived))

    def count(self, filters: PageFilters) -> int:
        """Return the number of chosen recordings."""
        ((number,),) = self._query_chosen(filters, "SELECT count(*) FROM {recordings} r WHERE {chosen}")
        return int(number)

    def count_by_time(self, filters: PageFilters, step: str) -> TimeCounts:
        """Return the chosen recordings by time; `step` is `day`, `week` or `month`."""
        rows = self._query_chosen(filters, _TIMES, step=step)
        steps = [(day, direction, int(n)) for is_hour, day, direction, _, _, n in rows if not is_hour]
        hours = {(int(weekday), int(hour)): int(n) for is_hour, _, _, weekday, hour, n in rows if is_hour}
        return TimeCounts(tuple(steps), hours)

    def count_by_length(self, filters: PageFilters) -> dict[int, int]:
        """Return the chosen recordings by `LengthBucket.order`; empty buckets are left out."""
        return {int(order): int(number) for order, number in self._query_chosen(filters, _LENGTHS)}

    def list_top_extensions(self, filters: PageFilters) -> list[Row]:
        """Return account, extension, user name, recordings and seconds of the busiest extensions."""
        # adding up days is faster, but the daily model has no other filter than these
        counted = _EXTENSIONS_BY_DAY if filters.active <= {"account"} else _EXTENSIONS_BY_RECORDING
        return self._query_chosen(filters, _TOP_EXTENSIONS.replace("{counted}", counted))

    def read_coverage(self, filters: PageFilters) -> list[ListCoverage]:
        """Return what is archived and proven complete, by account and type.

        Of the filters, period, account and type count: completeness is proven for whole lists.
        """
        narrowed, values = _narrow(filters)
        rows = self._query(
            "SELECT account_id, recording_type, day, recordings, archived, proven_at IS NOT NULL "
            f"FROM {{coverage}} WHERE {narrowed} ORDER BY 1, 2, 3",
            **values,
        )
        lists: dict[tuple[str, str], list[Row]] = {}
        for account, kind, *row in rows:
            lists.setdefault((account, kind), []).append(tuple(row))
        return [
            ListCoverage(
                *key,
                sum(recordings for _, recordings, _, _ in days),
                sum(archived for _, _, archived, _ in days),
                frozenset(day for day, _, _, is_proven in days if is_proven),
            )
            for key, days in lists.items()
        ]

    def find_first_day(self, filters: PageFilters) -> date | None:
        """Return the first day that is proven or has recordings, for the chosen account and type."""
        narrowed, values = _narrow(filters, "account", "type")
        ((day,),) = self._query(
            "SELECT min(CASE WHEN proven_at IS NOT NULL OR recordings > 0 THEN day END) "
            f"FROM {{coverage}} WHERE {narrowed}",
            **values,
        )
        return day  # type: ignore[no-any-return]

    def count_without_start(self) -> int:
        """Return the number of recordings without a start, which are in no period."""
        ((number,),) = self._query("SELECT count(*) FROM {recordings} WHERE started_at IS NULL")
        return int(number)

    def list_recordings(self, filters: PageFilters, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Return a page of the chosen recordings, newest first, with the columns of `LIST_COLUMNS`."""
        # limited before the extensions of each row are looked up
        limited = f"SELECT * FROM {{recordings}} r WHERE {{chosen}} ORDER BY {_NEWEST_FIRST}"
        rows = self._query_chosen(
            filters,
            f"{_SELECT_LIST} ({limited} LIMIT %(limit)s OFFSET %(offset)s) r ORDER BY {_NEWEST_FIRST}",
            limit=limit,
            offset=offset,
        )
        return [dict(zip(LIST_COLUMNS, row, strict=True)) for row in rows]

    def iterate_recordings(self, filters: PageFilters) -> Iterator[Row]:
        """Yield all chosen recordings, newest first, with the columns of `LIST_COLUMNS`."""
        sql = f"{_SELECT_LIST} {{recordings}} r WHERE {{chosen}} ORDER BY {_NEWEST_FIRST}"
        for first, last in self._split_by_rows(filters):
            yield from self._query_chosen(replace(filters, first=first, last=last), sql)

    def _split_by_rows(self, filters: PageFilters) -> Iterator[tuple[date, date]]:
        """Yield spans of days, the last ones first, with at most `EXPORT_ROWS` rows or one day each."""
        last, recordings = filters.last, 0
        for day, _, number in reversed(self.count_by_time(filters, "day").steps):
            if recordings and recordings + number > EXPORT_ROWS and day < last:
                yield day + timedelta(days=1), last
                last, recordings = day, 0
            recordings += number
        yield filters.first, last

    def _query_chosen(self, filters: PageFilters, sql: str, **more: Any) -> list[Row]:
        chosen, values = filters.write_conditions(self._zone, self._buckets)
        narrowed, limits = _narrow(filters)
        sql = sql.replace("{chosen}", chosen).replace("{narrowed}", narrowed)
        return self._query(sql, **{**values, **limits, **more})

    def _query(self, sql: str, **values: Any) -> list[Row]:
        for name in MODELS:
            sql = sql.replace(f"{{{name}}}", self._database.name_model(name))
        # DuckDB refuses values that the query does not use
        used = {name: values[name] for name in set(re.findall(r"%\((\w+)\)s", sql))}
        if self._database.kind == "duckdb":
            sql = re.sub(r"%\((\w+)\)s", r"$\1", sql)
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, used)
            return [tuple(row) for row in cursor.fetchall()]


def _narrow(filters: PageFilters, *names: str) -> tuple[str, dict[str, Any]]:
    """Return conditions on models with columns for day, account and perhaps type, and their values."""
    values = {name: getattr(filters, name) for name in names or _NARROW}
    values = {name: value for name, value in values.items() if value is not None}
    return " AND ".join(_NARROW[name] for name in values) or "true", values
