"""Rows in lakes: files and table versions that hold them are rewritten, and the old ones removed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.erasure.conditions import KEPT, Erased, read_kind, write_condition, write_duckdb_match
from vbc_source.erasure.subject import Subject
from vbc_source.lakes.delta import compact_delta
from vbc_source.lakes.iceberg import compact_iceberg
from vbc_source.lakes.plain_files import make_successor, write_parquet
from vbc_source.lakes.swap import Swap, base_name, list_files, name_file, remove_drafts, remove_unloaded
from vbc_source.lakes.tables import find_format, read_table
from vbc_source.schema.names import AUDIO_SCHEMA, SOURCE_SCHEMA, VERIFY_SCHEMA


class LakeRows:
    """The rows of one erasure in files; the caller holds the locks of all pipelines that load them."""

    def __init__(self, destination: Any, dataset: str, subject: Subject) -> None:
        self._destination, self._dataset, self._subject = destination, dataset, subject

    def find(self, erased: Erased) -> Iterator[tuple[str, int]]:
        """Yield each table with the number of its rows to erase."""
        with _open(erased) as connection:
            for client, table in self._list_tables():
                with suppress(DestinationUndefinedEntity):  # declared, never loaded
                    if rows := self._mark(connection, table, read_table(client, table)).count(True):
                        yield table, rows

    def erase(self, erased: Erased) -> int:
        """Erase the rows; return how many there were. A kill leaves each table as it was, or without them."""
        count = 0
        with _open(erased) as connection:
            for client, table in self._list_tables():
                with suppress(DestinationUndefinedEntity):
                    if find_format(client, table):
                        count += self._rewrite_table(connection, client, table)
                    else:
                        count += self._rewrite_files(connection, client, table)
        return count

    def find_named(self) -> list[str]:
        """Return the tables with a column that is named like the number: nothing removes those."""
        return [
            table
            for client, table in self._list_tables()
            if any(map(self._subject.is_in, client.schema.get_table_columns(table)))
        ]

    def compact(self) -> None:
        """Remove old versions of tables, in which erased rows are."""
        for client, table in self._list_tables():
            with suppress(DestinationUndefinedEntity):
                table_format = find_format(client, table)
                if table_format == "delta":
                    _forget_versions(client, table)
                elif table_format == "iceberg":
                    # 0 hours: no old snapshot is kept, whatever `keep_hours` says
                    compact_iceberg(client, table, 0)

    def _list_tables(self) -> Iterator[tuple[Any, str]]:
        for schema in (SOURCE_SCHEMA, AUDIO_SCHEMA, VERIFY_SCHEMA):
            client: Any = dlt.dataset(self._destination, self._dataset, schema).destination_client
            # rows in files that no table names yet: the caller's locks keep away those who write them
            remove_drafts(client)
            remove_unloaded(client)
            for table in client.schema.data_table_names():
                if table not in KEPT:
                    yield client, table

    def _mark(self, connection: Any, table: str, rows: pa.Table) -> list[bool]:
        """Return for each row whether it is to be erased."""
        if not len(rows):
            return []
        columns = {field.name: read_kind(str(field.type)) for field in rows.schema}
        # in the order of the rows: a query over an Arrow table keeps it only on request
        numbered = rows.append_column("vbc_row", pa.array(range(len(rows))))
        connection.register("vbc_rows", numbered)
        where = write_condition(table, columns, self._subject, write_duckdb_match)
        found = connection.execute(f"SELECT vbc_row FROM vbc_rows AS t WHERE {where}").fetchall()
        connection.unregister("vbc_rows")
        marked = {number for (number,) in found}
        return [number in marked for number in range(len(rows))]

    def _rewrite_files(self, connection: Any, client: Any, table: str) -> int:
        swap, erased = Swap(client, table), 0
        swap.recover()
        for path in list_files(client, table):
            if not path.endswith(".parquet"):
                continue
            with client.fs_client.open(path, "rb") as file:
                rows = pq.read_table(file)
            marks = self._mark(connection, table, rows)
            if True not in marks:
                continue
            kept = rows.filter(pa.array([not mark for mark in marks]))
            name = name_file(client, path)
            # a file of which nothing is left gets no successor
            swap.run({make_successor(name): partial(write_parquet, kept)} if len(kept) else {}, [name])
            erased += marks.count(True)
        return erased

    def _rewrite_table(self, connection: Any, client: Any, table: str) -> int:
        rows = read_table(client, table)
        marks = self._mark(connection, table, rows)
        if True not in marks:
            return 0
        kept = rows.filter(pa.array([not mark for mark in marks]))
        if find_format(client, table) == "delta":
            from deltalake import write_deltalake

            write_deltalake(client.load_open_table("delta", table), kept, mode="overwrite")
        else:
            client.load_open_table("iceberg", table).overwrite(kept)
        return marks.count(True)


def _forget_versions(client: Any, table: str) -> None:
    """Remove all files of a Delta table but those of its newest version.

    The log has statistics, which hold values of columns. A vacuum finds only what the log names: not what a
    killed load has written, nor files of versions that its checkpoint has forgotten.
    """
    compact_delta(client, table, 0)
    opened = client.load_open_table("delta", table)
    # with one of the newest version, no reader needs the log of earlier ones
    opened.create_checkpoint()
    folder, version = client.get_table_dir(table), opened.version()
    used = {base_name(uri) for uri in opened.file_uris()}
    client.fs_client.invalidate_cache()
    for path in client.fs_client.find(folder):
        name = base_name(path)
        if "/_delta_log/" in path.replace("\\", "/"):
            is_used = name == "_last_checkpoint" or _read_version(name) >= version
        else:
            is_used = name in used
        if not is_used:
            client.fs_client.rm_file(path)


def _read_version(name: str) -> int:
    """Read the version from the name of a file in a Delta log; negative for a draft that a kill has left."""
    found = re.fullmatch(r"(\d+)\.(?:json|crc|checkpoint.*\.parquet)", name)
    return int(found[1]) if found else -1


@contextmanager
def _open(erased: Erased) -> Iterator[Any]:
    """Open a database in memory whose tables name the recordings and the calls."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, columns, rows in erased.list_tables():
            values = list(zip(*rows, strict=True)) or [()] * len(columns)
            table = pa.table(
                {column: pa.array(cells, pa.string()) for column, cells in zip(columns, values, strict=True)}
            )
            connection.register(name, table)
        yield connection
