"""The dashboard's figures: asked of the models in SQL, added up by the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.filters import Length, PageFilters
from vbc_source.dashboard.queries import (
    BY_DAY,
    BY_RECORDING,
    COLUMNS,
    MODELS,
    NARROW,
    ORDER,
    SHORT_EXTENSION,
    SLICE,
    TIMES,
    TOP_EXTENSIONS,
)

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to choose from.

    Attributes:
        earliest: first day with recordings.
        latest: last day that was read.
        accounts: ids.
        directions: as the model has them.
        extensions: numbers, and names of who has them.
        lengths: buckets.
    """

    earliest: date
    latest: date
    accounts: tuple[str, ...]
    directions: tuple[str, ...]
    extensions: tuple[tuple[str, str | None], ...]
    lengths: tuple[Length, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of some recordings; seconds are None where no length is known."""

    recordings: int
    known_lengths: int
    seconds: float
    median: float | None
    p90: float | None
    archived: int


@dataclass(frozen=True, slots=True)
class Times:
    """When calls began: first day, direction and count; and counts by weekday (from 1) and hour."""

    steps: list[Row]
    hours: dict[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class CoverageFigures:
    """What is archived and proven complete of an account and a type, in a period."""

    account: str
    type: str
    recordings: int
    archived: int
    proven_days: int
    proven_at: datetime | None


class Figures:
    """Asks an open connection.

    Args:
        connection: of Python's DB-API, to DuckDB or Postgres.
        warehouse: where it leads to.
        zone: of days and hours.
    """

    def __init__(self, connection: Any, warehouse: AnalyticsDatabase, zone: ZoneInfo) -> None:
        self._connection, self._kind, self._zone = connection, warehouse.kind, zone
        self._names = {name: warehouse.name_model(name) for name in MODELS}
        self._schema = warehouse.models
        if self._kind == "postgres":
            self._ask("SELECT set_config('jit', 'off', false)")  # compiling takes longer than the queries do
        self._lengths: tuple[Length, ...] = ()

    def are_there(self) -> bool:
        """Whether the models are built."""
        ((found,),) = self._ask(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = %(schema)s "
            "AND table_name IN ('" + "', '".join(MODELS) + "')",
            schema=self._schema,
        )
        return bool(found == len(MODELS))

    def choices(self) -> Choices | None:
        """Say what there is to choose from; None where there are no recordings."""
        ((earliest, latest),) = self._ask(
            "SELECT min(CASE WHEN recordings > 0 THEN day END), max(day) FROM {coverage}"
        )
        if earliest is None:
            return None
        self._lengths = tuple(
            Length(*row)
            for row in self._ask(
                "SELECT bucket_order, bucket, from_seconds, to_seconds FROM {duration_buckets} ORDER BY 1"
            )
        )
        extensions = self._ask(
            "SELECT extension, min(user_name) FROM {extensions} "
            f"WHERE {SHORT_EXTENSION} GROUP BY 1 ORDER BY length(extension), 1"
        )
        return Choices(
            earliest,
            latest,
            self._list("SELECT DISTINCT account_id FROM {coverage} ORDER BY 1"),
            self._list("SELECT DISTINCT direction FROM {daily_directions} ORDER BY 1"),
            tuple((str(number), name) for number, name in extensions),
            self._lengths,
        )

    def totals(self, selection: PageFilters) -> Totals:
        """Count recordings, add up lengths, and find the middle ones."""
        ((*whole, median, p90, archived),) = self._ask_of(
            selection,
            "SELECT count(*), count(r.duration_seconds), "
            "coalesce(sum(CAST(round(r.duration_seconds * 1000) AS bigint)), 0), "
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY r.duration_seconds), "
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY r.duration_seconds), "
            "coalesce(sum(CASE WHEN r.archived THEN 1 ELSE 0 END), 0) FROM {recordings} r WHERE {chosen}",
        )
        recordings, known, milliseconds = (int(number) for number in whole)
        return Totals(recordings, known, milliseconds / 1000, median, p90, int(archived))

    def count(self, selection: PageFilters) -> int:
        """Count recordings."""
        ((found,),) = self._ask_of(selection, "SELECT count(*) FROM {recordings} r WHERE {chosen}")
        return int(found)

    def times(self, selection: PageFilters, step: str) -> Times:
        """Count by time: `step` is `day`, `week` or `month`."""
        rows = self._ask_of(selection, TIMES, step=step)
        return Times(
            [(day, direction, int(count)) for by_hour, day, direction, _, _, count in rows if not by_hour],
            {
                (int(weekday), int(hour)): int(count)
                for by_hour, _, _, weekday, hour, count in rows
                if by_hour
            },
        )

    def lengths(self, selection: PageFilters) -> dict[int, int]:
        """Count by bucket of the model `duration_buckets`; buckets without recordings are left out."""
        rows = self._ask_of(
            selection,
            "SELECT b.bucket_order, CAST(sum(s.recordings) AS bigint) FROM {duration_buckets} b JOIN ("
            "SELECT CAST(floor(r.duration_seconds) AS bigint) AS seconds, count(*) AS recordings "
            "FROM {recordings} r WHERE {chosen} GROUP BY 1) s "
            "ON (s.seconds >= b.from_seconds AND (b.to_seconds IS NULL OR s.seconds < b.to_seconds)) "
            "OR (b.from_seconds IS NULL AND s.seconds IS NULL) GROUP BY 1",
        )
        return {int(order): int(recordings) for order, recordings in rows}

    def top_extensions(self, selection: PageFilters) -> list[Row]:
        """Account, number, who has it, recordings, seconds of those with most recordings."""
        counted = BY_DAY if selection.asked() <= {"account"} else BY_RECORDING  # adding up days is quicker
        return self._ask_of(selection, TOP_EXTENSIONS.replace("{counted}", counted))

    def proofs(self, selection: PageFilters) -> list[CoverageFigures]:
        """Say what is archived and proven complete; of a selection, period, account and type count."""
        chosen, values = _narrow(selection)
        rows = self._ask(
            "SELECT account_id, recording_type, sum(recordings), sum(archived), count(proven_at), "
            "max(proven_at) AT TIME ZONE %(zone)s "
            f"FROM {{coverage}} WHERE {chosen} GROUP BY 1, 2 ORDER BY 1, 2",
            **values,
            zone=self._zone.key,
        )
        return [CoverageFigures(row[0], row[1], int(row[2]), int(row[3]), row[4], row[5]) for row in rows]

    def proven_days(self, selection: PageFilters) -> list[Row]:
        """Account, type and day of what is proven complete."""
        chosen, values = _narrow(selection)
        return self._ask(
            "SELECT account_id, recording_type, day FROM {coverage} "
            f"WHERE {chosen} AND proven_at IS NOT NULL ORDER BY 1, 2, 3",
            **values,
        )

    def first_read(self, selection: PageFilters) -> date | None:
        """The first day that is proven, or has recordings, for the selection's account and type."""
        chosen, values = _narrow(selection, "account", "type")
        ((day,),) = self._ask(
            "SELECT min(CASE WHEN proven_at IS NOT NULL OR recordings > 0 THEN day END) "
            f"FROM {{coverage}} WHERE {chosen}",
            **values,
        )
        return day  # type: ignore[no-any-return]

    def without_start(self) -> int:
        """Count the recordings that are in no period."""
        ((found,),) = self._ask("SELECT count(*) FROM {recordings} WHERE started_at IS NULL")
        return int(found)

    def recordings(self, selection: PageFilters, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """List recordings, newest first."""
        columns = ", ".join(COLUMNS.values())
        rows = self._ask_of(
            selection,
            f"SELECT {columns} FROM (SELECT * FROM {{recordings}} r WHERE {{chosen}} "
            f"ORDER BY {ORDER} LIMIT %(limit)s OFFSET %(offset)s) r ORDER BY {ORDER}",
            limit=limit,
            offset=offset,
        )
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def every_recording(self, selection: PageFilters) -> Iterator[Row]:
        """Yield all recordings, newest first, with the columns of `COLUMNS`, some days at a time."""
        sql = f"SELECT {', '.join(COLUMNS.values())} FROM {{recordings}} r WHERE {{chosen}} ORDER BY {ORDER}"
        for first, last in self._slices(selection):
            yield from self._ask_of(replace(selection, first=first, last=last), sql)

    def _slices(self, selection: PageFilters) -> Iterator[tuple[date, date]]:
        """Yield spans of days, the last ones first, with about as many recordings each as fit into memory."""
        last, recordings = selection.last, 0
        for day, _, count in reversed(self.times(selection, "day").steps):
            if recordings and recordings + count > SLICE and day < last:
                yield day + timedelta(days=1), last
                last, recordings = day, 0
            recordings += count
        yield selection.first, last

    def _list(self, sql: str) -> tuple[str, ...]:
        return tuple(str(value) for (value,) in self._ask(sql))

    def _ask_of(self, selection: PageFilters, sql: str, **more: Any) -> list[Row]:
        chosen, values = selection.conditions(self._zone, self._lengths)
        narrowed, limits = _narrow(selection)
        sql = sql.replace("{chosen}", chosen).replace("{narrowed}", narrowed)
        return self._ask(sql, **{**values, **limits, **more})

    def _ask(self, sql: str, **values: Any) -> list[Row]:
        with closing(self._connection.cursor()) as cursor:
            self._execute(cursor, sql, values)
            return [tuple(row) for row in cursor.fetchall()]

    def _execute(self, cursor: Any, sql: str, values: dict[str, Any]) -> None:
        """Execute a query: names of models are put in, values are bound."""
        for name, full in self._names.items():
            sql = sql.replace(f"{{{name}}}", full)
        used = {name: values[name] for name in set(re.findall(r"%\((\w+)\)s", sql))}
        if self._kind == "duckdb":
            sql = re.sub(r"%\((\w+)\)s", r"$\1", sql)
        cursor.execute(sql, used)


def _narrow(selection: PageFilters, *names: str) -> tuple[str, dict[str, Any]]:
    """Conditions on models that know days and accounts, and some of them types."""
    names = names or tuple(NARROW)
    values = {name: getattr(selection, name) for name in names if getattr(selection, name) is not None}
    return " AND ".join(NARROW[name] for name in values) or "true", values
