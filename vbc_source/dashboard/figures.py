"""The figures of the dashboard, read from the models by the SQL of `statements`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.analytics.freshness import NEWEST_COLUMN, Freshness, read_freshness
from vbc_source.dashboard import statements
from vbc_source.dashboard.filters import (
    FIRST_YEAR,
    FilterOptions,
    PageFilters,
    choose_last_day,
    format_day_start,
)
from vbc_source.dashboard.lengths import (
    LengthCounts,
    count_by_bucket,
    find_seconds,
    interpolate,
    read_counts,
)

MODELS = (
    *("recordings", "recording_extensions", "extensions", "coverage"),
    *("daily_directions", "daily_extensions", "daily_hours", "duration_buckets"),
)
EXPORT_ROWS = 20_000  # rows of an export in memory at a time, if no day has more

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of the chosen recordings; `median` and `p90` (seconds) are None if no length is known.

    `on_demand` of the recordings were made by users, the others by company rules.
    """

    recordings: int
    known_lengths: int
    seconds: float
    median: float | None
    p90: float | None
    archived: int
    on_demand: int


@dataclass(frozen=True, slots=True)
class PersonFigures:
    """Figures of an extension or a user: `id`, name if known, and a user's extensions; lengths in seconds."""

    account_id: str
    id: str
    name: str | None
    extensions: str
    recordings: int
    seconds: float
    median: float | None
    p90: float | None


@dataclass(frozen=True, slots=True)
class ListCoverage:
    """Recordings of an account and type in a period: how many, how many archived, which days are proven.

    `has_days` tells whether the list has a proof or a recording in the period at all.
    """

    account: str
    type: str
    recordings: int
    archived: int
    proven_days: frozenset[date]
    has_days: bool


class Figures:
    """Queries on an open connection to a database; `zone` is the time zone of days and hours."""

    def __init__(self, connection: Any, database: AnalyticsDatabase, zone: ZoneInfo) -> None:
        self._connection, self._database, self.zone = connection, database, zone
        self._columns: dict[str, dict[str, dict[str, str]]] | None = None
        self._seconds: dict[PageFilters, list[LengthCounts]] = {}
        if database.kind == "postgres":
            # compiling takes longer than the queries; a million lengths are sorted in memory
            self.query("SELECT set_config('jit', 'off', false), set_config('work_mem', '64MB', false)")

    def have_models(self) -> bool:
        """Return whether the models are built, by a version that gave them the columns that are read here."""
        models = self._list_columns(self._database.models_dataset)
        table, column = NEWEST_COLUMN
        return models.keys() >= set(MODELS) and column in models[table]

    def has_model(self, name: str) -> bool:
        """Return whether a model is built that earlier versions did not have."""
        return name in self._list_columns(self._database.models_dataset)

    def read_options(self, today: date) -> FilterOptions | None:
        """Return the values that filters can have; None if there are no recordings.

        A recording dated after today, or long before there was VBC, does not stretch the page.
        """
        first_day = date(FIRST_YEAR, 1, 1)
        ((earliest, latest, some),) = self.query(statements.DAYS, today=today, first_day=first_day)
        if not some:
            return None
        proven = [day for (day,) in self.query(statements.LAST_PROVEN, today=today, first_day=first_day)]
        accounts = self.query("SELECT DISTINCT account_id FROM {coverage} ORDER BY 1")
        directions = self.query("SELECT DISTINCT direction FROM {daily_directions} ORDER BY 1")
        return FilterOptions(
            # recordings may all be without a plausible day
            earliest or today,
            latest or today,
            last := choose_last_day(day for day in proven if day),
            behind=sum(day is None or day < last for day in proven) if last else 0,
            accounts=tuple(account for (account,) in accounts),
            directions=tuple(direction for (direction,) in directions),
            extensions=tuple(self.query(statements.SHORT_EXTENSIONS)),
            buckets=tuple(self.query("SELECT bucket_order, bucket FROM {duration_buckets} ORDER BY 1")),
        )

    def read_freshness(self) -> Freshness | None:
        """Return up to which load the models were built; None if they do not record it."""
        return read_freshness(self._connection, self._database)

    def count_outside(self, options: FilterOptions) -> tuple[int, int]:
        """Return the recordings before the first plausible day, and after the last day that was read."""
        days = {"first_day": options.earliest, "last_day": options.latest}
        ((before, after),) = self.query(statements.OUTSIDE, **days)
        return int(before or 0), int(after or 0)

    def total(self, filters: PageFilters) -> Totals:
        """Return the totals of the chosen recordings."""
        counts = self._count_seconds(filters)
        lengths: list[Row] = []
        if seconds := find_seconds(counts):
            # the percentiles lie in these few seconds: no other lengths are sorted
            sql = statements.LENGTHS_OF_SECONDS.replace("{seconds}", ", ".join(map(str, seconds)))
            lengths = self.query(sql, filters)
        median, p90 = interpolate(counts, [(float(length), int(found)) for length, found in lengths])
        return Totals(
            sum(each.recordings for each in counts),
            sum(each.recordings for each in counts if each.second is not None),
            sum(each.milliseconds for each in counts) / 1000,
            median,
            p90,
            sum(each.archived for each in counts),
            sum(each.on_demand for each in counts),
        )

    def _count_seconds(self, filters: PageFilters) -> list[LengthCounts]:
        # the cards and the chart of lengths come from the same counts
        if filters not in self._seconds:
            self._seconds[filters] = read_counts(self.query(statements.SECONDS, filters))
        return self._seconds[filters]

    def count(self, filters: PageFilters) -> int:
        """Return the number of chosen recordings."""
        ((number,),) = self.query("SELECT count(*) FROM {counted} r WHERE {chosen}", filters)
        return int(number)

    def count_by_time(
        self, filters: PageFilters
    ) -> tuple[list[tuple[date, str, int]], dict[tuple[int, int], int]]:
        """Return the chosen recordings by day and direction, and by weekday (1 to 7) and hour."""
        # adding up hours is faster, but their model has no other filter than these
        is_hourly = filters.active <= set(statements.HOURLY)
        times = statements.TIMES_BY_HOUR if is_hourly else statements.TIMES_BY_RECORDING
        rows = self.query(times + statements.DAYS_AND_HOURS, filters)
        days = [(day, direction, int(n)) for is_hour, day, direction, _, _, n in rows if not is_hour]
        hours = {(int(weekday), int(hour)): int(n) for is_hour, _, _, weekday, hour, n in rows if is_hour}
        return days, hours

    def count_by_length(self, filters: PageFilters) -> dict[int, int]:
        """Return the chosen recordings by `LengthBucket.order`; empty buckets are left out."""
        buckets = self.query("SELECT bucket_order, from_seconds, to_seconds FROM {duration_buckets}")
        return count_by_bucket(self._count_seconds(filters), buckets)

    def list_top_extensions(self, filters: PageFilters) -> list[Row]:
        """Return account, extension, user name, recordings and seconds of the busiest extensions."""
        # adding up days is faster, but the daily model has no other filter than these
        is_daily = filters.active <= {"account"}
        busiest = statements.EXTENSIONS_BY_DAY if is_daily else statements.EXTENSIONS_BY_RECORDING
        return self.query(statements.TOP_EXTENSIONS.replace("{busiest}", busiest), filters)

    def list_extensions(self, filters: PageFilters) -> list[PersonFigures]:
        """Return the figures of all extensions of the chosen recordings, the busiest first."""
        rows = self.query(statements.EXTENSIONS, filters)
        return [
            PersonFigures(account, number, name, "", recordings, seconds, *(lengths or (None, None)))
            for account, number, name, recordings, seconds, lengths in rows
        ]

    def list_users(self, filters: PageFilters) -> list[PersonFigures]:
        """Return the figures of all users of the chosen recordings, the busiest first.

        A recording counts for the users of its extensions and for the one who made it.
        """
        return [
            PersonFigures(account, user, name, extensions or "", *counts, *(lengths or (None, None)))
            for account, user, *counts, lengths, name, extensions in self.query(statements.USERS, filters)
        ]

    def read_coverage(self, filters: PageFilters) -> list[ListCoverage]:
        """Return what is archived and proven complete, by account and type.

        Of the filters, period, account and type count: completeness is proven for whole lists.
        """
        rows = self.query(statements.COVERAGE, filters)
        return [
            # `array_agg` of no rows is null
            ListCoverage(account, kind, recordings, archived, frozenset(proven or ()), has_days)
            for account, kind, recordings, archived, proven, has_days in rows
        ]

    def find_first_day(self, filters: PageFilters) -> date | None:
        """Return the first day that is proven or has recordings, for the chosen account and type."""
        ((day,),) = self.query(statements.FIRST_DAY, filters)
        return day  # type: ignore[no-any-return]

    def count_without_start(self) -> int:
        """Return the number of recordings without a start, which are in no period."""
        ((number,),) = self.query("SELECT count(*) FROM {recordings} WHERE started_at IS NULL")
        return int(number)

    def list_recordings(self, filters: PageFilters, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Return a page of the chosen recordings, in the order of the filters, with `ROW_COLUMNS`."""
        columns = [name for name in statements.ROW_COLUMNS if name != "extensions"]
        cells = ", ".join(statements.LIST_EXPRESSIONS.get(name, f"r.{name}") for name in columns)
        sql = f"""
            SELECT {cells} FROM {{recordings}} r WHERE {{chosen}}
            ORDER BY {write_order(filters.sort, is_started=True)} LIMIT %(limit)s OFFSET %(offset)s"""
        rows = self.query(sql, filters, limit=limit, offset=offset)
        return self.add_extensions([dict(zip(columns, row, strict=True)) for row in rows])

    def add_extensions(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add `extensions` to a page of recordings: in a subquery, DuckDB would read those of all."""
        if not rows:
            return []
        keys = {f"key{place}": row["recording_key"] for place, row in enumerate(rows)}
        starts = [row["start_utc"] for row in rows]
        # the span lets DuckDB skip the other days
        span = {"since": f"{min(starts)}+00:00", "until": f"{max(starts)}+00:00"} if all(starts) else {}
        within = statements.SPAN if span else ""
        sql = f"""
            SELECT recording_key, string_agg(extension, ' ' ORDER BY extension) FROM {{recording_extensions}}
            WHERE recording_key IN ({", ".join(f"%({name})s" for name in keys)}) {within} GROUP BY 1"""
        extensions: dict[str, str] = dict(self.query(sql, **keys, **span))
        return [{**row, "extensions": extensions.get(row["recording_key"])} for row in rows]

    def iterate_recordings(self, filters: PageFilters) -> Iterator[Row]:
        """Yield all chosen recordings, newest first, with the columns of `LIST_COLUMNS`."""
        order = statements.ORDER_NEWEST_FIRST
        sql = f"{statements.SELECT_LIST} {{recordings}} r WHERE {{chosen}} ORDER BY {order}"
        # `query` returns all its rows at once, so that a long list is read in several queries
        for first, last in self._split_by_rows(filters):
            yield from self.query(sql, replace(filters, first=first, last=last))

    def _split_by_rows(self, filters: PageFilters) -> Iterator[tuple[date, date]]:
        """Yield spans of days, the last ones first, with at most `EXPORT_ROWS` rows or one day each."""
        last, recordings = filters.last, 0
        for day, _, number in reversed(self.count_by_time(filters)[0]):
            if recordings and recordings + number > EXPORT_ROWS and day < last:
                yield day + timedelta(days=1), last
                last, recordings = day, 0
            recordings += number
        yield filters.first, last

    def list_columns(self) -> dict[str, dict[str, str]]:
        """Return the loaded tables, each with its columns and their types."""
        return self._list_columns(self._database.dataset)

    def _list_columns(self, dataset: str) -> dict[str, dict[str, str]]:
        if self._columns is None:
            schemas = {"loaded": self._database.dataset, "models": self._database.models_dataset}
            self._columns = {}
            for schema, table, column, kind in self.query(statements.COLUMNS[self._database.kind], **schemas):
                self._columns.setdefault(schema, {}).setdefault(table, {})[column] = kind
        return self._columns.get(dataset, {})

    def query(self, sql: str, filters: PageFilters | None = None, /, **values: Any) -> list[Row]:
        """Run a query; see `statements` for what may stand in it."""
        if filters is not None:
            active = filters.active
            conditions = {name: text for name, text in statements.CONDITIONS.items() if name in active}
            if filters.archived:
                conditions["archived"] = statements.ARCHIVED_CONDITIONS[filters.archived]
            if filters.extension and "{counted}" in sql:
                conditions["extension"] = statements.OF_EXTENSION
            counted = "{recording_extensions}" if filters.extension else "{recordings}"
            sql = sql.replace("{counted}", counted)
            narrowed = [conditions[name] for name in ("account", "type") if name in conditions]
            hourly = [conditions[name] for name in statements.HOURLY if name in conditions]
            hours = " AND ".join([statements.DAYS_OF_PERIOD, *hourly])
            # before `{local_time}` is replaced, which is another expression in these conditions
            sql = sql.replace("{hourly}", hours.replace("{local_time}", statements.HOUR))
            sql = sql.replace("{chosen}", " AND ".join([*statements.PERIOD, *conditions.values()]))
            sql = sql.replace("{local_time}", statements.LOCAL_TIME)
            sql = sql.replace("{narrowed}", " AND ".join(narrowed) or "true")
            values |= asdict(filters) | {
                "since": format_day_start(filters.first, self.zone),
                "until": format_day_start(filters.last + timedelta(days=1), self.zone),
                "zone": self.zone.key,
            }
        for name in (*MODELS, "call_coverage"):
            sql = sql.replace(f"{{{name}}}", self._database.name_model(name))
        if "{failed_audio}" in sql:
            has_ledger = "recording_audio" in self.list_columns()
            sql = sql.replace("{failed_audio}", statements.FAILED_AUDIO if has_ledger else "false")
        sql = sql.replace("{loaded}", f'"{self._database.dataset}"')
        # DuckDB refuses values that the query does not use
        used = {name: values[name] for name in set(re.findall(r"%\((\w+)\)s", sql))}
        if self._database.kind == "duckdb":
            sql = re.sub(r"%\((\w+)\)s", r"$\1", sql)
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql, used)
            return [tuple(row) for row in cursor.fetchall()]


def write_order(sort: str, *, is_started: bool = False) -> str:
    """Write the order of a list: a column of `SORTS`, with `-` for the largest or newest first.

    Where every row has a start, Postgres can read its index backwards, which has nulls elsewhere.
    """
    column, direction = statements.SORT_COLUMNS[sort.lstrip("-")], "DESC" if sort.startswith("-") else "ASC"
    nulls = "" if is_started and column == statements.SORT_COLUMNS["start"] else " NULLS LAST"
    # by the key too: else recordings of the same second could be on two pages, or on none
    return f"{column} {direction}{nulls}, r.recording_key"
