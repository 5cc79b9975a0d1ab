"""The models as tables, computed in plain Python: faster than dbt, and every row is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from expected_models import BUCKETS, MODELS
from psycopg2.extras import execute_values
from raw_tables import ARROW, connect_postgres

KINDS = {
    **dict.fromkeys(("recording_id", "size_bytes", "recordings"), "bigint"),
    **dict.fromkeys(("bucket_order", "weekday", "hour", "from_seconds", "to_seconds"), "bigint"),
    **dict.fromkeys(("extensions", "user_recordings", "calls", "repeated_calls", "rule_id"), "bigint"),
    **dict.fromkeys(("silent_days", "quiet_days", "within_days"), "bigint"),
    **dict.fromkeys(("archived_bytes", "total_bytes", "held", "unarchived", "at_risk"), "bigint"),
    **dict.fromkeys(("started_at", "ended_at", "first_loaded_at", "proven_at"), "timestamptz"),
    **dict.fromkeys(("last_recorded_at", "first_called_at", "last_called_at", "gone_at"), "timestamptz"),
    **dict.fromkeys(
        ("duration_seconds", "total_seconds", "median_seconds", "p90_seconds"), "double precision"
    ),
    **dict.fromkeys(("shared_recordings", "shared_seconds", "longest_seconds"), "double precision"),
    **dict.fromkeys(("is_current", "is_forecast"), "boolean"),
    **dict.fromkeys(("day", "month", "expires_on"), "date"),
}
TYPES = {**ARROW, "double precision": pa.float64(), "date": pa.date32()}
NAMES = (
    "under 10 s",
    "10 to 30 s",
    "30 s to 1 min",
    "1 to 2 min",
    "2 to 5 min",
    "5 to 10 min",
    "10 to 30 min",
)
NAMES = (*NAMES, "30 min to 1 h", "1 h and more", "unknown")

Facts = dict[str, list[tuple[Any, ...]]]


@dataclass
class Credentials:
    """The part of dlt's credentials that a connection needs."""

    database: str

    def to_native_representation(self) -> str:
        return self.database


def _complete(model: str, facts: Facts) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Return the columns with their types, and the rows, of a model."""
    names, rows = MODELS[model].split(", "), facts[model]
    if model == "duration_buckets":
        names = [*names, "bucket", "from_seconds", "to_seconds"]
        bounds = [*zip(NAMES, BUCKETS, (*BUCKETS[1:], None), strict=False), ("unknown", None, None)]
        rows = [(*row, *bounds[row[0] - 1]) for row in rows]
    kinds = {name: KINDS.get(name, "text") for name in names}
    if "as_of" in kinds:
        kinds["as_of"] = "date" if model == "retention_calendar" else "timestamptz"
    if "archived" in kinds:
        kinds["archived"] = "boolean" if model.startswith("recording") else "bigint"
    return kinds, rows


def write_models_duckdb(path: Path, facts: Facts) -> None:
    """Write the models into dataset `vbc_models` of a DuckDB file."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS vbc_models")
        for model in MODELS:
            kinds, rows = _complete(model, facts)
            schema = pa.schema([(name, TYPES[kind]) for name, kind in kinds.items()])
            connection.register(
                "arrow_rows",
                pa.Table.from_pylist([dict(zip(kinds, row, strict=True)) for row in rows], schema),
            )
            connection.execute(f"CREATE OR REPLACE TABLE vbc_models.{model} AS SELECT * FROM arrow_rows")


def write_models_postgres(dataset: str, facts: Facts) -> None:
    """Write the models into a schema of Postgres."""
    with connect_postgres() as cursor:
        cursor.execute(f"CREATE SCHEMA {dataset}_models")
        for model in MODELS:
            kinds, rows = _complete(model, facts)
            columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            cursor.execute(f"CREATE TABLE {dataset}_models.{model} ({columns})")
            execute_values(cursor, f"INSERT INTO {dataset}_models.{model} VALUES %s", rows)
