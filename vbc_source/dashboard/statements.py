"""The SQL of the dashboard's figures, for both DuckDB and Postgres.

Values are always bound (`%(name)s`). Names in braces are replaced by code: a model's qualified name;
`{loaded}`, the dataset of the loaded tables; `{chosen}`, the conditions of all filters on a row `r` of
`recordings` or `recording_extensions`; `{counted}`, the one of these two that the chosen recordings are
counted in; `{hourly}`, the conditions of `HOURLY` on a row `r` of `daily_hours`; or `{narrowed}`, those of
account and type alone, for models that have no more columns than these.
"""

from __future__ import annotations

HOURLY = ("account", "type", "direction", "weekday", "hour")  # filters that `daily_hours` has columns for
TOP = 10
LOCAL_TIME = "(r.started_at AT TIME ZONE %(zone)s)"
HOUR = "(r.day + r.hour * INTERVAL '1 hour')"  # the local time of a row of `daily_hours`
LIST_COLUMNS = (
    *("start_utc", "start_local", "account_id", "recording_type", "direction", "caller_number"),
    *("caller_name", "dialed_number", "duration_seconds", "extensions", "size_bytes", "archived"),
    *("recording_id", "user_id", "call_id"),
)
ROW_COLUMNS = (*LIST_COLUMNS, "recording_key")  # of a list on a page
LIST_EXPRESSIONS = {
    "start_utc": "(r.started_at AT TIME ZONE 'UTC')",
    "start_local": LOCAL_TIME,
    "extensions": "(SELECT string_agg(x.extension, ' ' ORDER BY x.extension) FROM {recording_extensions} x "
    "WHERE x.recording_key = r.recording_key)",
}
PERIOD = (
    "r.started_at >= CAST(%(since)s AS timestamp with time zone)",
    "r.started_at < CAST(%(until)s AS timestamp with time zone)",
)
# follows from the period of the recordings, but lets DuckDB skip the other days
_PERIOD_OF_PARTS = " AND ".join(PERIOD).replace("r.", "x.")
DAYS_OF_PERIOD = "r.day BETWEEN %(first)s AND %(last)s"
SPAN = (
    "AND started_at BETWEEN CAST(%(since)s AS timestamp with time zone) "
    "AND CAST(%(until)s AS timestamp with time zone)"
)
_BUCKET = "FROM {duration_buckets} WHERE bucket_order = %(length)s"
CONDITIONS = {
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
OF_EXTENSION = "r.extension = %(extension)s"  # on a row of `recording_extensions`
ARCHIVED_CONDITIONS = {
    "yes": "r.archived",
    "no": "NOT r.archived",
    "failed": "NOT r.archived AND {failed_audio}",
}
# also what VBC has lost or refuses; not what a policy has deleted
FAILED_AUDIO = (
    "r.recording_key IN (SELECT concat_ws('/', a.account_id, a.recording_type, nullif(a.user_id, ''), "
    "CAST(a.recording_id AS text)) FROM {loaded}.recording_audio a "
    "WHERE a.status NOT IN ('stored', 'erased'))"
)
SELECT_LIST = f"SELECT {', '.join(LIST_EXPRESSIONS.get(name, f'r.{name}') for name in LIST_COLUMNS)} FROM"
SORT_COLUMNS = {"start": "r.started_at", "length": "r.duration_seconds", "size": "r.size_bytes"}
ORDER_NEWEST_FIRST = "r.started_at DESC, r.recording_key"
COLUMNS = {
    # its information schema takes ten times as long
    "duckdb": "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
    "WHERE schema_name IN (%(loaded)s, %(models)s) ORDER BY schema_name, table_name, column_index",
    "postgres": "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
    "WHERE table_schema IN (%(loaded)s, %(models)s) ORDER BY table_schema, table_name, ordinal_position",
}
SECONDS = """
    SELECT CAST(floor(r.duration_seconds) AS bigint), count(*),
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0),
        sum(CASE WHEN r.archived THEN 1 ELSE 0 END),
        sum(CASE WHEN r.recording_type = 'user' THEN 1 ELSE 0 END)
    FROM {counted} r WHERE {chosen} GROUP BY 1"""
LENGTHS_OF_SECONDS = """
    SELECT r.duration_seconds, count(*) FROM {counted} r
    WHERE {chosen} AND CAST(floor(r.duration_seconds) AS bigint) IN ({seconds}) GROUP BY 1 ORDER BY 1"""
# Offsets of time zones are multiples of a quarter of an hour, and change at one (since 2012, all but
# Antarctica/Casey's), so it is enough to convert the counts of a quarter to local time, not each recording.
TIMES_BY_RECORDING = """
    WITH slots AS (
        SELECT floor(date_part('epoch', r.started_at) / 900) AS slot, r.direction, count(*) AS recordings
        FROM {counted} r WHERE {chosen} GROUP BY 1, 2
    ), times AS (
        SELECT to_timestamp(slot * 900) AT TIME ZONE %(zone)s AS moment, direction, recordings FROM slots
    )"""
TIMES_BY_HOUR = f"""
    WITH times AS (
        SELECT {HOUR} AS moment, r.direction, r.recordings FROM {{daily_hours}} r WHERE {{hourly}}
    )"""
# one pass for both: `grouping(day)` is 1 in rows of an hour, and 0 in those of a day
DAYS_AND_HOURS = """, parts AS (
        SELECT CAST(moment AS date) AS day, direction, recordings,
            extract(isodow FROM moment) AS weekday, extract(hour FROM moment) AS hour FROM times
    )
    SELECT grouping(day), day, direction, weekday, hour, sum(recordings) FROM parts
    GROUP BY GROUPING SETS ((day, direction), (weekday, hour)) ORDER BY 1, 2, 3"""
# no join: `recording_extensions` has what recordings are filtered by
EXTENSIONS_BY_RECORDING = """
    SELECT account_id, extension, count(*) AS recordings,
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) AS milliseconds
    FROM {recording_extensions} r WHERE {chosen}"""
EXTENSIONS_BY_DAY = """
    SELECT account_id, extension, CAST(sum(recordings) AS bigint) AS recordings,
        sum(CAST(round(total_seconds * 1000) AS bigint)) AS milliseconds
    FROM {daily_extensions} r WHERE day BETWEEN %(first)s AND %(last)s AND {narrowed}"""
TOP_EXTENSIONS = f"""
    SELECT t.account_id, t.extension, n.user_name, t.recordings, t.milliseconds / 1000.0
    FROM ({{busiest}} GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT {TOP}) t
    LEFT JOIN {{extensions}} n ON n.account_id = t.account_id AND n.extension = t.extension
    ORDER BY 4 DESC, 2, 1"""
# one call with an array: two of them would sort twice
_MEASURES = """
    count(*), coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) / 1000.0,
    percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY r.duration_seconds)"""
EXTENSIONS = f"""
    SELECT r.account_id, r.extension, max(r.user_name), {_MEASURES}
    FROM {{recording_extensions}} r WHERE {{chosen}} GROUP BY 1, 2 ORDER BY 4 DESC, 2, 1"""
# of the user's extensions, and the user's own; a recording with both counts once
USERS = f"""
    WITH involved AS (
        SELECT r.recording_key, r.account_id, r.duration_seconds, r.user_id
        FROM {{recording_extensions}} r WHERE {{chosen}} AND r.user_id IS NOT NULL
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
SHORT_EXTENSIONS = """
    SELECT extension, min(user_name) FROM {extensions} WHERE extension !~ '^[+]?[0-9]{7,}$'
    GROUP BY 1 ORDER BY length(extension), 1"""
# a list without a day in the period is in the answer too: nothing proves it, and it must not be overlooked
COVERAGE = """
    SELECT account_id, recording_type, coalesce(CAST(sum(recordings) FILTER (WHERE {within}) AS bigint), 0),
        coalesce(CAST(sum(archived) FILTER (WHERE {within}) AS bigint), 0),
        array_agg(day) FILTER (WHERE {within} AND proven_at IS NOT NULL), count(*) FILTER (WHERE {within}) > 0
    FROM {coverage} r WHERE {narrowed} GROUP BY 1, 2 ORDER BY 1, 2""".replace("{within}", DAYS_OF_PERIOD)
DAYS = """
    SELECT min(CASE WHEN recordings > 0 AND day BETWEEN %(first_day)s AND %(today)s THEN day END),
        max(CASE WHEN day <= %(today)s THEN day END), coalesce(sum(recordings), 0) > 0 FROM {coverage}"""
LAST_PROVEN = """
    SELECT max(day) FILTER (WHERE proven_at IS NOT NULL AND day BETWEEN %(first_day)s AND %(today)s)
    FROM {coverage} GROUP BY account_id, recording_type"""
OUTSIDE = """
    SELECT sum(CASE WHEN day < %(first_day)s THEN recordings END),
        sum(CASE WHEN day > %(last_day)s THEN recordings END)
    FROM {coverage}"""
FIRST_DAY = """
    SELECT min(CASE WHEN proven_at IS NOT NULL OR recordings > 0 THEN day END)
    FROM {coverage} r WHERE {narrowed}"""
