"""Count what a contender has loaded, in a separate process; print rows and distinct ids."""

from __future__ import annotations

import json
import sys


def count_duckdb(path: str, table: str) -> list[int]:
    """Count a table of a DuckDB file, or parquet files where the path is empty."""
    import duckdb

    with duckdb.connect(path or ":memory:", read_only=bool(path)) as database:
        return list(database.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}").fetchall()[0])


def count_postgres(address: str, schema: str, table: str) -> list[int]:
    """Count a table of Postgres, and drop its schema."""
    import psycopg2

    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*), count(DISTINCT id) FROM "{schema}"."{table}"')
        counted = list(cursor.fetchall()[0])
        cursor.execute(f'DROP SCHEMA "{schema}" CASCADE; DROP SCHEMA IF EXISTS "{schema}_staging" CASCADE')
    return counted


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    print(json.dumps((count_postgres if kind == "postgres" else count_duckdb)(*rest)))
