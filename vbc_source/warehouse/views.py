"""Create the view `current_recordings`: company and user recordings together, without those that are gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import dlt
from dlt.destinations.sql_client import SqlClientBase

from vbc_source.dlt_internals import DatabaseException
from vbc_source.recordings import RecordingType
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES, has_users
from vbc_source.warehouse.tombstones import TOMBSTONES

log = logging.getLogger(__name__)

VIEW = "current_recordings"
_TEXT = "VARCHAR"
WITHOUT_VIEWS = ("filesystem",)  # destinations of files: a view would belong to the engine that reads them


def write_view(loaded: LoadedTables) -> bool:
    """Create or replace the view with the columns that the tables have now; return whether it exists.

    A failure is only logged: the tables hold all data without the view.
    """
    kind = loaded.kind
    tables = {name: loaded.columns(table) for name, table in TABLES.items() if loaded.find(table)}
    if kind in WITHOUT_VIEWS or not tables:
        return False
    try:
        with loaded.lock(), loaded.open_dataset(dlt.Schema(SOURCE_SCHEMA)).sql_client as client:
            name: Callable[[str], str] = client.make_qualified_table_name
            select = _write_select(client, name, tables, loaded.has(TOMBSTONES))
            try:
                client.execute_sql(f"CREATE OR REPLACE VIEW {name(VIEW)} AS {select}")
            except DatabaseException:  # Postgres replaces a view only where columns are added at the end
                # in one transaction, so that no reader meets the moment without a view
                with client.begin_transaction():
                    client.execute_sql(f"DROP VIEW IF EXISTS {name(VIEW)}")
                    client.execute_sql(f"CREATE VIEW {name(VIEW)} AS {select}")
    except Exception as error:  # each destination raises its own; the text may hold personal data
        log.warning("the view %s could not be created: %s", VIEW, type(error).__name__)
        return False
    return True


def _write_select(
    client: SqlClientBase[object],
    name_table: Callable[[str], str],
    tables: Mapping[RecordingType, Mapping[str, str]],
    has_tombstones: bool,
) -> str:
    escape = client.escape_column_name
    types: dict[str, set[str]] = {}
    for columns in tables.values():
        for name, data_type in columns.items():
            types.setdefault(name, set()).add(data_type)
    names = dict.fromkeys(["recording_type", "account_id", "user_id", *types])
    selects = []
    for kind, columns in tables.items():
        cells = {name: f"r.{escape(name)}" for name in columns}
        # a new field may have one type in this table, and another in that one
        cells |= {name: f"CAST({cells[name]} AS {_TEXT})" for name in columns if len(types[name]) > 1}
        user = cells["user_id"] if has_users(kind) else "''"
        cells |= {"recording_type": f"'{kind}'", "user_id": user if has_users(kind) else "NULL"}
        selected = ", ".join(f"{cells.get(name, 'NULL')} AS {escape(name)}" for name in names)
        select = f"SELECT {selected} FROM {name_table(TABLES[kind])} AS r"
        if has_tombstones:
            select += f"""
                WHERE NOT EXISTS (
                    SELECT 1 FROM {name_table(TOMBSTONES)} AS t
                    WHERE t.{escape("account_id")} = r.{escape("account_id")}
                        AND t.{escape("recording_type")} = '{kind}' AND t.{escape("user_id")} = {user}
                        AND t.{escape("recording_id")} = r.{escape("id")}
                        AND t.{escape("returned_at")} IS NULL
                )"""
        selects.append(select)
    return " UNION ALL ".join(selects)
