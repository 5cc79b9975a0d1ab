"""The view `current_recordings`: company and user recordings together, without those that are gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import dlt
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.sql_client import SqlClientBase

from vbc_source.load.database_lock import find_kind
from vbc_source.recordings import RecordingType
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES
from vbc_source.warehouse.tombstones import TOMBSTONES

log = logging.getLogger(__name__)

VIEW = "current_recordings"
WITHOUT_VIEWS = ("filesystem",)  # destinations of files; what they hold is seen by whoever reads them


def write_view(pipeline: dlt.Pipeline, loaded: LoadedTables) -> bool:
    """Make the view anew, with the columns that there are now; says whether it is there.

    Where it cannot be made, that is logged: it is a convenience, and no reason to fail.
    """
    kind = find_kind(pipeline)
    tables = {name: loaded.columns(table) for name, table in TABLES.items() if loaded.find(table)}
    if kind in WITHOUT_VIEWS or not tables:
        return False
    try:
        with loaded.take_turn(), pipeline.sql_client() as client:
            name: Callable[[str], str] = client.make_qualified_table_name
            if kind == "duckdb":  # it takes no `vbc.vbc.` in a view's text, but finds its tables beside it
                client.execute_sql(f"USE {client.fully_qualified_dataset_name()}")
                name = client.escape_column_name
            select = _write_select(client, name, tables, loaded.has(TOMBSTONES))
            try:
                client.execute_sql(f"CREATE OR REPLACE VIEW {name(VIEW)} AS {select}")
            except DatabaseException:  # Postgres lets columns be added at the end alone
                with client.begin_transaction():
                    client.execute_sql(f"DROP VIEW IF EXISTS {name(VIEW)}")
                    client.execute_sql(f"CREATE VIEW {name(VIEW)} AS {select}")
    except Exception as error:  # whatever a destination raises
        log.warning("the view %s could not be made: %s", VIEW, type(error).__name__)
        return False
    return True


def _write_select(
    client: SqlClientBase[object],
    name_table: Callable[[str], str],
    tables: Mapping[RecordingType, list[str]],
    has_tombstones: bool,
) -> str:
    escape = client.escape_column_name
    names = dict.fromkeys(["account_id", "user_id", *(name for found in tables.values() for name in found)])
    selects = []
    for kind, columns in tables.items():
        told = [f"r.{escape(name)}" if name in columns else f"NULL AS {escape(name)}" for name in names]
        table = name_table(TABLES[kind])
        select = f"SELECT '{kind}' AS {escape('recording_type')}, {', '.join(told)} FROM {table} AS r"
        if has_tombstones:
            whose = f"r.{escape('user_id')}" if "user_id" in columns else "''"
            select += f"""
                WHERE NOT EXISTS (
                    SELECT 1 FROM {name_table(TOMBSTONES)} AS t
                    WHERE t.{escape("account_id")} = r.{escape("account_id")}
                        AND t.{escape("recording_type")} = '{kind}' AND t.{escape("user_id")} = {whose}
                        AND t.{escape("recording_id")} = r.{escape("id")}
                        AND t.{escape("returned_at")} IS NULL
                )"""
        selects.append(select)
    return " UNION ALL ".join(selects)
