"""Up to which load the models were built, and what was loaded since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.schema.names import LOADS, SOURCE_SCHEMA

RECORDINGS = ("company_recordings", "user_recordings")
NEWEST_COLUMN = ("recording_extensions", "archived")  # that a model got, of those that the dashboard reads
LONGEST = timedelta(hours=24)  # days of `coverage` become proven by loads without rows too
# tables that name the loads which brought rows
_MARKED = {
    "_dlt_pipeline_state": "true",
    "scan_windows": "rows_loaded > 0 AND window_end < scanned_at - INTERVAL '1 minute'",
}


@dataclass(frozen=True, slots=True)
class Freshness:
    """Up to which load the models were built, and what was loaded since.

    Attributes:
        built_at: When the build started.
        loaded_at: When the newest load in the models was complete; None where they were built of none.
        newer_recordings: Recordings loaded since; corrections of older ones are not among them.
        is_stale: Whether the models have to be built again: a later load brought rows, or the last build was
            a day ago and anything was loaded since.
    """

    built_at: datetime
    loaded_at: datetime | None
    newer_recordings: int
    is_stale: bool


@dataclass(frozen=True, slots=True)
class CompleteLoads:
    """The complete loads of a dataset: how many, and when the newest was complete."""

    count: int
    newest: datetime | None


def read_freshness(
    connection: Any, database: AnalyticsDatabase, now: datetime | None = None
) -> Freshness | None:
    """Read how fresh the models are.

    Args:
        connection: An open connection of the database.
        database: The database.
        now: The current time.

    Returns:
        None where the models were never built, or by a version that did not record it.
    """
    if not _find_tables(connection, database.models_dataset, "freshness"):
        return None
    name = database.name_model("freshness")
    rows = _query(connection, f"SELECT built_at, loaded_at, loads, recordings FROM {name}")
    if not rows:
        return None
    built_at, loaded_at, loads, recordings = rows[0]
    found = read_complete_loads(connection, database)
    # not only more loads: a database that was restored has fewer
    is_newer = found != CompleteLoads(int(loads), loaded_at and _utc(loaded_at))
    recordings = max(0, _count_recordings(connection, database) - int(recordings)) if is_newer else 0
    later = found.count - int(loads)
    is_late = (now or datetime.now(timezone.utc)) - _utc(built_at) >= LONGEST
    return Freshness(
        built_at=_utc(built_at),
        loaded_at=loaded_at and _utc(loaded_at),
        newer_recordings=recordings,
        is_stale=is_newer
        and (is_late or recordings > 0 or _brought_rows(connection, database, loaded_at, later)),
    )


def are_of_this_version(connection: Any, database: AnalyticsDatabase) -> bool:
    """Return whether the models have the columns that the dashboard reads."""
    table, column = NEWEST_COLUMN
    return bool(
        _query(
            connection,
            "SELECT 1 FROM information_schema.columns WHERE "
            f"table_schema = '{database.models_dataset}' AND table_name = '{table}' "
            f"AND column_name = '{column}'",
        )
    )


def read_complete_loads(connection: Any, database: AnalyticsDatabase) -> CompleteLoads:
    """Read which loads of the dataset are complete."""
    if not _find_tables(connection, database.dataset, LOADS):
        return CompleteLoads(0, None)
    loads = f'"{database.dataset}"."{LOADS}"'
    ((count, newest),) = _query(
        connection, f"SELECT count(*), max(inserted_at) FROM {loads} WHERE status = 0"
    )
    return CompleteLoads(int(count), newest and _utc(newest))


def _brought_rows(
    connection: Any, database: AnalyticsDatabase, loaded_at: datetime | None, later: int
) -> bool:
    """Return whether a load since then may have brought rows; there should be `later` loads.

    Loads of ledgers always do. A run of the source that finds nothing new leaves its state alone, so that dlt
    stores none with the load. A backfill has no state, and its windows do not end with the time of reading.
    """
    dataset = database.dataset
    newer = f"""FROM "{dataset}"."{LOADS}" AS l WHERE status = 0"""
    if loaded_at:
        newer += f" AND inserted_at > CAST('{_utc(loaded_at).isoformat()}' AS timestamp with time zone)"
    ((count,),) = _query(connection, f"SELECT count(*) {newer}")
    if count != later:
        return True  # clocks disagree, or the database was restored from a backup
    marks = [f"schema_name <> '{SOURCE_SCHEMA}'"]
    for table, condition in _MARKED.items():
        if _find_tables(connection, dataset, table):
            marks.append(f'load_id IN (SELECT _dlt_load_id FROM "{dataset}"."{table}" WHERE {condition})')
    return bool(_query(connection, f"SELECT 1 {newer} AND ({' OR '.join(marks)}) LIMIT 1"))


def _count_recordings(connection: Any, database: AnalyticsDatabase) -> int:
    tables = _find_tables(connection, database.dataset, *RECORDINGS)
    return sum(
        int(_query(connection, f'SELECT count(*) FROM "{database.dataset}"."{name}"')[0][0])
        for name in tables
    )


def _find_tables(connection: Any, dataset: str, *tables: str) -> list[str]:
    names = ", ".join(f"'{name}'" for name in tables)
    return [
        name
        for (name,) in _query(
            connection,
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{dataset}' AND table_name IN ({names})",
        )
    ]


def _query(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(sql)
    return list(cursor.fetchall())


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)
