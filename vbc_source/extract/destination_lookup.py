"""What is loaded already: the two questions that extraction asks, and tables that are files.

No statement removes from files what was loaded before. Plain files and Iceberg tables are appended to. Delta
tables replace a row by its key, but keep the rest of a list that became shorter. So each row carries the load
that brought it, and a query selects what counts: the newest load of a recording (docs/destinations.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.api.endpoints import Endpoint
from vbc_source.lakes.tables import LOAD_ID, is_lake, read_table

log = logging.getLogger(__name__)

GONE = "gone_at"  # when a list was first read without the row; null while the list has it


class DestinationLookup:
    """Reads what earlier runs have loaded.

    The destination is opened for each question, and only then. A failure is logged: what depends on the
    answer is left out of this run, the rows themselves are loaded.
    """

    def __init__(self, find_pipeline: Callable[[], Any] = dlt.current.pipeline) -> None:
        self._find_pipeline = find_pipeline

    def read_ids(
        self, endpoint: Endpoint, key: Sequence[str], start: datetime, end: datetime
    ) -> list[int] | None:
        """Read the ids of the loaded recordings of one list whose `start` is in a span."""
        try:
            with self._find_pipeline().sql_client() as client:
                id_, begin, *keys = map(client.escape_column_name, ("id", "start", *endpoint.key))
                table = client.make_qualified_table_name(endpoint.name)
                owner = " AND ".join(f"{column} = %s" for column in keys)
                sql = f"SELECT {id_} FROM {table} WHERE {owner} AND {begin} BETWEEN %s AND %s"
                rows = client.execute_sql(sql, *key, start, end) or ()
        except Exception as error:  # any error of any destination
            log.info("how late recordings arrive is not known: the destination raised %s", type(error))
            return None
        return [int(row[0]) for row in rows]

    def read_present(
        self, endpoint: Endpoint, account: str, columns: Sequence[str]
    ) -> list[dict[str, Any]] | None:
        """Read the loaded rows of an account's snapshot that are not marked as gone."""
        try:
            pipeline = self._find_pipeline()
            read = _read_files if is_lake(pipeline) else _query
            return read(pipeline, endpoint, account, columns)
        except DestinationUndefinedEntity:
            log.debug("%s was not loaded yet", endpoint.name)
            return []
        except Exception as error:  # any error of any destination
            log.warning("cannot look up who has left: the destination raised %s", type(error).__name__)
            return None


def _query(pipeline: Any, endpoint: Endpoint, account: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    with pipeline.sql_client() as client:
        owner, gone, *names = map(client.escape_column_name, ("account_id", GONE, *columns))
        table = client.make_qualified_table_name(endpoint.name)
        sql = f"SELECT {', '.join(names)} FROM {table} WHERE {owner} = %s AND {gone} IS NULL"
        rows = client.execute_sql(sql, account)
    return [dict(zip(columns, row, strict=True)) for row in rows or ()]


def _read_files(
    pipeline: Any, endpoint: Endpoint, account: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    # in files, a row stands beside its earlier versions: the newest load counts
    table = read_table(pipeline.destination_client(), endpoint.name).sort_by(LOAD_ID)
    rows = table.filter(pc.equal(table["account_id"], account)).to_pylist()
    newest = {row[endpoint.shape.id_column]: row for row in rows}
    return [{name: row.get(name) for name in columns} for row in newest.values() if not row.get(GONE)]


def add_load_id(rows: pa.Table) -> pa.Table:
    """Add the id of the running load to rows; those that have it already, such as proofs, stay unchanged."""
    if LOAD_ID in rows.column_names:
        return rows
    load_id = str(dlt.current.load_package_state()["load_id"])
    return rows.append_column(LOAD_ID, pa.repeat(pa.scalar(load_id), len(rows)))
