"""The dashboard's questions to the models: SQL that DuckDB and Postgres both understand; values are bound.

Names in braces are put in by the code: a model's full name, the conditions of a selection (`{chosen}`), or
those of its period, account and type alone (`{narrowed}`).
"""

from __future__ import annotations

from vbc_source.dashboard.filters import LOCAL

MODELS = (
    *("recordings", "recording_extensions", "extensions", "coverage"),
    *("daily_directions", "daily_extensions", "duration_buckets"),
)
TOP = 10
SLICE = 20_000  # rows of an export in memory at a time, if no day has more
SHORT_EXTENSION = (
    "extension !~ '^[+]?[0-9]{7,}$'"  # longer ones may be phone numbers, which stay out of addresses
)
COLUMNS = {
    "start_utc": "(r.started_at AT TIME ZONE 'UTC')",
    "start_local": LOCAL,
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
ORDER = "r.started_at DESC, r.recording_key"
# Time zones are a quarter of an hour apart at least: so counts are turned to local time, not each recording.
TIMES = """
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
TOP_EXTENSIONS = f"""
    SELECT t.account_id, t.extension, n.user_name, t.recordings, t.milliseconds / 1000.0
    FROM ({{counted}} GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT {TOP}) t
    LEFT JOIN {{extensions}} n ON n.account_id = t.account_id AND n.extension = t.extension
    ORDER BY 4 DESC, 2, 1"""
NARROW = {
    "first": "day >= CAST(%(first)s AS date)",
    "last": "day <= CAST(%(last)s AS date)",
    "account": "account_id = %(account)s",
    "type": "recording_type = %(type)s",
}
BY_RECORDING = """
    SELECT r.account_id, x.extension, count(*) AS recordings,
        coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0) AS milliseconds
    FROM {recordings} r JOIN {recording_extensions} x ON x.recording_key = r.recording_key WHERE {chosen}"""
BY_DAY = """
    SELECT account_id, extension, CAST(sum(recordings) AS bigint) AS recordings,
        sum(CAST(round(total_seconds * 1000) AS bigint)) AS milliseconds
    FROM {daily_extensions} WHERE {narrowed}"""
