"""The figures of the dashboard: SQL on the models, for both DuckDB and Postgres.

Values are always bound (`%(name)s`). Names in braces are replaced by code: a model's qualified name;
`{loaded}`, the dataset of the loaded tables;
`{chosen}`, the conditions of all filters on a row `r` of `recordings`; `{hourly}`, those of `HOURLY` on a row
`r` of `daily_hours`; or `{narrowed}`, those of account and type alone, for models that have no more columns
than these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.analytics.freshness import Freshness, read_freshness
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
HOURLY = ("account", "type", "direction", "weekday", "hour")  # filters that `daily_hours` has columns for
TOP = 10
EXPORT_ROWS = 20_000  # rows of an export in memory at a time, if no day has more
_LOCAL_TIME = "(r.started_at AT TIME ZONE %(zone)s)"
_HOUR = "(r.day + r.hour * INTERVAL '1 hour')"  # the local time of a row of `daily_hours`
LIST_COLUMNS = (
    *(
        "start_utc",
        "start_local",
        "account_id",
        "recording_type",
        "direction",
        "caller_number",
        "caller_name",
    ),
    *("dialed_number", "duration_seconds", "extensions", "size_bytes", "archived"),
    *("recording_id", "user_id", "call_id"),
)
ROW_COLUMNS = (*LIST_COLUMNS, "recording_key")  # of a list on a page
LIST_EXPRESSIONS = {
    "start_utc": "(r.started_at AT TIME ZONE 'UTC')",
    "start_local": _LOCAL_TIME,
    "extensions": "(SELECT string_agg(x.extension, ' ' ORDER BY x.extension) FROM {recording_extensions} x "
    "WHERE x.recording_key = r.recording_key)",
}
_PERIOD = (
    "r.started_at >= CAST(%(since)s AS timestamp with time zone)",
    "r.started_at < CAST(%(until)s AS timestamp with time zone)",
)
# follows from the period of the recordings, but lets DuckDB skip the other days
_PERIOD_OF_PARTS = " AND ".join(_PERIOD).replace("r.", "x.")
_PARTS = f"{{recording_extensions}} x ON x.recording_key = r.recording_key AND {_PERIOD_OF_PARTS}"
_DAYS_OF_PERIOD = "r.day BETWEEN %(first)s AND %(last)s"
_SPAN = (
    "AND started_at BETWEEN CAST(%(since)s AS timestamp with time zone) "
    "AND CAST(%(until)s AS timestamp with time zone)"
)
_BUCKET = "FROM {duration_buckets} WHERE bucket_order = %(length)s"
_CONDITIONS = {
    "account": "r.account_id = %(account)s",
    "type": "r.recording_type = %(type)s",
    "direction": "r.direction = %(direction)s",
    "extension": "r.recording_key IN (SELECT x.recording_key FROM {recording_extensions} x "
    f"WHERE x.extension = %(extension)s AND {_PERIOD_OF_PARTS})",
    "weekday": "extract(isodow FROM {local_time}) = %(weekday)s",
    "hour": "extract(hour FROM {local_time}) = %(hour)s",
    # unknown lengths count as -1 here; a correlated subquery would take ten times as long in DuckDB
    "length": f"coalesce(r.duration_seconds, -1) >= (SELECT coalesce(from_seconds, -1) {_BUCKET}) AND "
    "coalesce(r.duration_seconds, -1) < "
    f"(SELECT coalesce(to_seconds, CASE WHEN from_seconds IS NULL THEN 0 ELSE 1e12 END) {_BUCKET})",
}
_ARCHIVED = {"yes": "r.archived", "no": "NOT r.archived", "failed": "NOT r.archived AND {failed_audio}"}
_FAILED_AUDIO = (
    "r.recording_key IN (SELECT concat_ws('/', a.account_id, a.recording_type, nullif(a.user_id, ''), "
    "CAST(a.recording_id AS text)) FROM {loaded}.recording_audio a "
    "WHERE a.status NOT IN ('stored', 'erased'))"
)
_SELECT_LIST = f"SELECT {', '.join(LIST_EXPRESSIONS.get(name, f'r.{name}') for name in LIST_COLUMNS)} FROM"
_SORT_COLUMNS = {"start": "r.started_at", "length": "r.duration_seconds", "size": "r.size_bytes"}
_NEWEST_FIRST = "r.started_at DESC, r.recording_key"
_COLUMNS = {
    # its information schema takes ten times as long
    "duckdb": "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
    "WHERE schema_name IN (%(loaded)s, %(models)s) ORDER BY schema_name, table_name, column_index",
    "postgres": "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
    "WHERE table_schema IN (%(loaded)s, %(models)s) ORDER BY table_schema, table_name, ordinal_position",
}
_SECONDS = """
    SELECT CAST(floor(r.duration_seconds) AS bigint), count(*),
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0),
        sum(CASE WHEN r.archived THEN 1 ELSE 0 END),
        sum(CASE WHEN r.recording_type = 'user' THEN 1 ELSE 0 END)
    FROM {recordings} r WHERE {chosen} GROUP BY 1"""
_LENGTHS_OF_SECONDS = """
    SELECT r.duration_seconds, count(*) FROM {recordings} r
    WHERE {chosen} AND CAST(floor(r.duration_seconds) AS bigint) IN ({seconds}) GROUP BY 1 ORDER BY 1"""
# Offsets of time zones are multiples of a quarter of an hour, so it is enough to convert the counts of each
# quarter to local time, not every recording.
_TIMES_BY_RECORDING = """
    WITH slots AS (
        SELECT floor(date_part('epoch', r.started_at) / 900) AS slot, r.direction, count(*) AS recordings
        FROM {recordings} r WHERE {chosen} GROUP BY 1, 2
    ), times AS (
        SELECT to_timestamp(slot * 900) AT TIME ZONE %(zone)s AS moment, direction, recordings FROM slots
    )"""
_TIMES_BY_HOUR = f"""
    WITH times AS (
        SELECT {_HOUR} AS moment, r.direction, r.recordings FROM {{daily_hours}} r WHERE {{hourly}}
    )"""
_DAYS_AND_HOURS = """, parts AS (
        SELECT CAST(moment AS date) AS day, direction, recordings,
            extract(isodow FROM moment) AS weekday, extract(hour FROM moment) AS hour FROM times
    )
    SELECT grouping(day), day, direction, weekday, hour, sum(recordings) FROM parts
    GROUP BY GROUPING SETS ((day, direction), (weekday, hour)) ORDER BY 1, 2, 3"""
_EXTENSIONS_BY_RECORDING = f"""
    SELECT r.account_id, x.extension, count(*) AS recordings,
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) AS milliseconds
    FROM {{recordings}} r JOIN {_PARTS} WHERE {{chosen}}"""
_EXTENSIONS_BY_DAY = """
    SELECT account_id, extension, CAST(sum(recordings) AS bigint) AS recordings,
        sum(CAST(round(total_seconds * 1000) AS bigint)) AS milliseconds
    FROM {daily_extensions} r WHERE day BETWEEN %(first)s AND %(last)s AND {narrowed}"""
_TOP_EXTENSIONS = f"""
    SELECT t.account_id, t.extension, n.user_name, t.recordings, t.milliseconds / 1000.0
    FROM ({{counted}} GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT {TOP}) t
    LEFT JOIN {{extensions}} n ON n.account_id = t.account_id AND n.extension = t.extension
    ORDER BY 4 DESC, 2, 1"""
_MEASURES = """
    count(*), coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) / 1000.0,
    percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY r.duration_seconds)"""
_EXTENSIONS = f"""
    SELECT r.account_id, x.extension, max(n.user_name), {_MEASURES}
    FROM {{recordings}} r JOIN {_PARTS}
    LEFT JOIN {{extensions}} n ON n.account_id = r.account_id AND n.extension = x.extension
    WHERE {{chosen}} GROUP BY 1, 2 ORDER BY 4 DESC, 2, 1"""
# of the user's extensions, and the user's own; a recording with both counts once
_USERS = f"""
    WITH involved AS (
        SELECT r.recording_key, r.account_id, r.duration_seconds, n.user_id
        FROM {{recordings}} r JOIN {_PARTS}
        JOIN {{extensions}} n ON n.account_id = r.account_id AND n.extension = x.extension
        WHERE {{chosen}} AND n.user_id IS NOT NULL
        UNION
        SELECT r.recording_key, r.account_id, r.duration_seconds, r.user_id
        FROM {{recordings}} r WHERE {{chosen}} AND r.user_id IS NOT NULL
    ), counted AS (
        SELECT r.account_id, r.user_id, {_MEASURES} FROM involved r GROUP BY 1, 2
    ), names AS (
        SELECT account_id, user_id, min(user_name) AS user_name,
            string_agg(extension, ' ' ORDER BY extension) AS extensions
        FROM {{extensions}} WHERE user_id IS NOT NULL GROUP BY 1, 2
    )
    SELECT c.*, n.user_name, n.extensions FROM counted c
    LEFT JOIN names n ON n.account_id = c.account_id AND n.user_id = c.user_id ORDER BY 3 DESC, 2, 1"""
# longer ones may be phone numbers, which must not get into URLs
_SHORT_EXTENSIONS = """
    SELECT extension, min(user_name) FROM {extensions} WHERE extension !~ '^[+]?[0-9]{7,}$'
    GROUP BY 1 ORDER BY length(extension), 1"""
_COVERAGE = """
    SELECT account_id, recording_type, CAST(sum(recordings) AS bigint), CAST(sum(archived) AS bigint),
        array_agg(day) FILTER (WHERE proven_at IS NOT NULL)
    FROM {coverage} r WHERE day BETWEEN %(first)s AND %(last)s AND {narrowed} GROUP BY 1, 2 ORDER BY 1, 2"""
_DAYS = """
    SELECT min(CASE WHEN recordings > 0 AND day BETWEEN %(first_day)s AND %(today)s THEN day END),
        max(CASE WHEN day <= %(today)s THEN day END), coalesce(sum(recordings), 0) > 0 FROM {coverage}"""
_LAST_PROVEN = """
    SELECT max(day) FROM {coverage} WHERE proven_at IS NOT NULL AND day BETWEEN %(first_day)s AND %(today)s
    GROUP BY account_id, recording_type"""
_OUTSIDE = """
    SELECT sum(CASE WHEN day < %(first_day)s THEN recordings END),
        sum(CASE WHEN day > %(last_day)s THEN recordings END)
    FROM {coverage}"""
_FIRST_DAY = """
    SELECT min(CASE WHEN proven_at IS NOT NULL OR recordings > 0 THEN day END)
    FROM {coverage} r WHERE {narrowed}"""

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
    """Recordings of an account and type in a period: how many, how many archived, which days are proven."""

    account: str
    type: str
    recordings: int
    archived: int
    proven_days: frozenset[date]


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
        """Return whether the models are built."""
        return self._list_columns(self._database.models_dataset).keys() >= set(MODELS)

    def has_model(self, name: str) -> bool:
        """Return whether a model is built that earlier versions did not have."""
        return name in self._list_columns(self._database.models_dataset)

    def read_options(self, today: date) -> FilterOptions | None:
        """Return the values that filters can have; None if there are no recordings.

        A recording dated after today, or long before there was VBC, does not stretch the page.
        """
        first_day = date(FIRST_YEAR, 1, 1)
        ((earliest, latest, some),) = self.query(_DAYS, today=today, first_day=first_day)
        if not some:
            return None
        proven = [day for (day,) in self.query(_LAST_PROVEN, today=today, first_day=first_day)]
        accounts = self.query("SELECT DISTINCT account_id FROM {coverage} ORDER BY 1")
        directions = self.query("SELECT DISTINCT direction FROM {daily_directions} ORDER BY 1")
        return FilterOptions(
            earliest or today,
            latest or today,
            choose_last_day(proven),
            accounts=tuple(account for (account,) in accounts),
            directions=tuple(direction for (direction,) in directions),
            extensions=tuple(self.query(_SHORT_EXTENSIONS)),
            buckets=tuple(self.query("SELECT bucket_order, bucket FROM {duration_buckets} ORDER BY 1")),
        )

    def read_freshness(self) -> Freshness | None:
        """Return up to which load the models were built; None if they do not record it."""
        return read_freshness(self._connection, self._database)

    def count_outside(self, options: FilterOptions) -> tuple[int, int]:
        """Return the recordings before the first plausible day, and after the last day that was read."""
        days = {"first_day": options.earliest, "last_day": options.latest}
        ((before, after),) = self.query(_OUTSIDE, **days)
        return int(before or 0), int(after or 0)

    def total(self, filters: PageFilters) -> Totals:
        """Return the totals of the chosen recordings."""
        counts = self._count_seconds(filters)
        lengths: list[Row] = []
        if seconds := find_seconds(counts):
            sql = _LENGTHS_OF_SECONDS.replace("{seconds}", ", ".join(map(str, seconds)))
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
        if filters not in self._seconds:
            self._seconds[filters] = read_counts(self.query(_SECONDS, filters))
        return self._seconds[filters]

    def count(self, filters: PageFilters) -> int:
        """Return the number of chosen recordings."""
        ((number,),) = self.query("SELECT count(*) FROM {recordings} r WHERE {chosen}", filters)
        return int(number)

    def count_by_time(
        self, filters: PageFilters
    ) -> tuple[list[tuple[date, str, int]], dict[tuple[int, int], int]]:
        """Return the chosen recordings by day and direction, and by weekday (1 to 7) and hour."""
        # adding up hours is faster, but their model has no other filter than these
        times = _TIMES_BY_HOUR if filters.active <= set(HOURLY) else _TIMES_BY_RECORDING
        rows = self.query(times + _DAYS_AND_HOURS, filters)
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
        counted = _EXTENSIONS_BY_DAY if filters.active <= {"account"} else _EXTENSIONS_BY_RECORDING
        return self.query(_TOP_EXTENSIONS.replace("{counted}", counted), filters)

    def list_extensions(self, filters: PageFilters) -> list[PersonFigures]:
        """Return the figures of all extensions of the chosen recordings, the busiest first."""
        return [
            PersonFigures(account, number, name, "", recordings, seconds, *(lengths or (None, None)))
            for account, number, name, recordings, seconds, lengths in self.query(_EXTENSIONS, filters)
        ]

    def list_users(self, filters: PageFilters) -> list[PersonFigures]:
        """Return the figures of all users of the chosen recordings, the busiest first.

        A recording counts for the users of its extensions and for the one who made it.
        """
        return [
            PersonFigures(account, user, name, extensions or "", *counts, *(lengths or (None, None)))
            for account, user, *counts, lengths, name, extensions in self.query(_USERS, filters)
        ]

    def read_coverage(self, filters: PageFilters) -> list[ListCoverage]:
        """Return what is archived and proven complete, by account and type.

        Of the filters, period, account and type count: completeness is proven for whole lists.
        """
        rows = self.query(_COVERAGE, filters)
        return [
            ListCoverage(account, kind, recordings, archived, frozenset(proven or ()))
            for account, kind, recordings, archived, proven in rows
        ]

    def find_first_day(self, filters: PageFilters) -> date | None:
        """Return the first day that is proven or has recordings, for the chosen account and type."""
        ((day,),) = self.query(_FIRST_DAY, filters)
        return day  # type: ignore[no-any-return]

    def count_without_start(self) -> int:
        """Return the number of recordings without a start, which are in no period."""
        ((number,),) = self.query("SELECT count(*) FROM {recordings} WHERE started_at IS NULL")
        return int(number)

    def list_recordings(self, filters: PageFilters, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Return a page of the chosen recordings, in the order of the filters, with `ROW_COLUMNS`."""
        columns = [name for name in ROW_COLUMNS if name != "extensions"]
        cells = ", ".join(LIST_EXPRESSIONS.get(name, f"r.{name}") for name in columns)
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
        sql = f"""
            SELECT recording_key, string_agg(extension, ' ' ORDER BY extension) FROM {{recording_extensions}}
            WHERE recording_key IN ({", ".join(f"%({name})s" for name in keys)}) {_SPAN if span else ""}
            GROUP BY 1"""
        extensions: dict[str, str] = dict(self.query(sql, **keys, **span))
        return [{**row, "extensions": extensions.get(row["recording_key"])} for row in rows]

    def iterate_recordings(self, filters: PageFilters) -> Iterator[Row]:
        """Yield all chosen recordings, newest first, with the columns of `LIST_COLUMNS`."""
        sql = f"{_SELECT_LIST} {{recordings}} r WHERE {{chosen}} ORDER BY {_NEWEST_FIRST}"
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
            for schema, table, column, kind in self.query(_COLUMNS[self._database.kind], **schemas):
                self._columns.setdefault(schema, {}).setdefault(table, {})[column] = kind
        return self._columns.get(dataset, {})

    def query(self, sql: str, filters: PageFilters | None = None, /, **values: Any) -> list[Row]:
        """Run a query; see the module's docstring for what may stand in it."""
        if filters is not None:
            conditions = {name: text for name, text in _CONDITIONS.items() if name in filters.active}
            if filters.archived:
                conditions["archived"] = _ARCHIVED[filters.archived]
            narrowed = [conditions[name] for name in ("account", "type") if name in conditions]
            hourly = [conditions[name] for name in HOURLY if name in conditions]
            hourly = [text.replace("{local_time}", _HOUR) for text in (_DAYS_OF_PERIOD, *hourly)]
            sql = sql.replace("{hourly}", " AND ".join(hourly))
            sql = sql.replace("{chosen}", " AND ".join([*_PERIOD, *conditions.values()]))
            sql = sql.replace("{local_time}", _LOCAL_TIME)
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
            sql = sql.replace("{failed_audio}", _FAILED_AUDIO if has_ledger else "false")
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
    column, direction = _SORT_COLUMNS[sort.lstrip("-")], "DESC" if sort.startswith("-") else "ASC"
    nulls = "" if is_started and column == _SORT_COLUMNS["start"] else " NULLS LAST"
    return f"{column} {direction}{nulls}, r.recording_key"
