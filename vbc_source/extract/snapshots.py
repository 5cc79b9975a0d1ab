"""A list from the Provisioning API, refreshed whole: who has left it stays, marked as gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import dlt
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.schema import Schema

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.completeness import ProvenWindow
from vbc_source.extract.file_tables import LOAD_ID, is_lake, read_table
from vbc_source.extract.tables import ARROW_TYPES, TableBuilder
from vbc_source.pii import PiiPolicy
from vbc_source.schema.columns import INSTANT, to_text
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest

log = logging.getLogger(__name__)

GONE = "gone_at"  # when the list was first found without the row; null while it is in it


class Snapshot:
    """The rows of one account's list.

    Args:
        endpoint: users or extensions.
        account: the real id.
        privacy: what becomes of personal data.
        state: where it is remembered what was loaded last.
    """

    def __init__(
        self, endpoint: Endpoint, account: str, privacy: PiiPolicy, state: MutableMapping[str, Any]
    ) -> None:
        self._endpoint, self._account, self._privacy, self._state = endpoint, account, privacy, state

    def write(self, proof: ProvenWindow[PageRows], now: datetime) -> Iterator[pa.Table]:
        """Yield the rows of a list that was read whole, then those that have left it since.

        Args:
            proof: of the whole list.
            now: when it was read.
        """
        schema = dlt.current.source_schema()
        columns = self._find_columns(schema)  # before dlt adds those that come with this list
        table = TableBuilder(self._endpoint, schema, self._privacy).build(
            [page.rows for page in proof.pages], {"account_id": self._account}
        )
        log.info("%s of account %s: %s", self._endpoint.name, self._account, f"{len(table):,}")
        loaded = self._state.setdefault("digests", {})
        told = digest(table, self._endpoint.shape.id_column)
        if loaded.get(self._account) == told:
            return  # as it was loaded last
        yield table.append_column(pa.field(GONE, INSTANT), pa.nulls(len(table), INSTANT))
        gone = None
        if len(table):  # an account without anybody has no API user either: rather nothing than all marked
            gone = self._read_gone(columns, set(table[self._endpoint.shape.id_column].to_pylist()), now)
        if gone is not None and len(gone):
            log.info("%d of them have left", len(gone))
            yield gone
        if gone is not None:  # else who has left is looked up again in the next run
            loaded[self._account] = told

    def _find_columns(self, schema: Schema) -> dict[str, pa.DataType]:
        return {
            name: ARROW_TYPES.get(str(column.get("data_type")), pa.string())
            for name, column in schema.tables.get(self._endpoint.name, {}).get("columns", {}).items()
            if column.get("data_type") and not name.startswith("_dlt")
        }

    def _read_gone(
        self, columns: Mapping[str, pa.DataType], present: set[str], now: datetime
    ) -> pa.Table | None:
        """Read back what was loaded of those who are not in the list any more."""
        key = self._endpoint.shape.id_column
        rows: list[dict[str, Any]] = []
        try:
            if key in columns and GONE in columns:  # else nothing was loaded yet
                rows = [row for row in self._query(list(columns), key) if row[key] not in present]
        except DestinationUndefinedEntity:
            log.debug("%s was not loaded yet", self._endpoint.name)
        except Exception as error:  # whatever a destination raises; the list itself is there
            log.warning("cannot look up who has left: the destination answered %s", type(error).__name__)
            return None
        required = self._endpoint.primary_key
        fields = [pa.field(name, kind, name not in required) for name, kind in columns.items()]
        gone = [{name: self._hide(name, row.get(name)) for name in columns} | {GONE: now} for row in rows]
        return pa.Table.from_pylist(gone, pa.schema(fields))

    def _hide(self, name: str, value: Any) -> Any:
        """Hide what was loaded before it was to be hidden; what is hidden already stays as it is."""
        shape = self._endpoint.shape
        known = name in shape.fields or name in self._endpoint.primary_key
        if self._privacy.keeps or (known and name not in shape.personal):
            return value
        if not isinstance(value, (str, int, float)):
            return value
        if not isinstance(value, str):
            return value if self._privacy.hide_value(value) == value else None
        with suppress(msgspec.DecodeError):
            if isinstance(inner := msgspec.json.decode(value), (dict, list)):
                return to_text(self._privacy.hide_value(inner))
        return self._privacy.hide(value)

    def _query(self, names: list[str], key: str) -> list[dict[str, Any]]:
        """Read those who had not left so far."""
        if is_lake():  # there, a row stands beside those before it
            files = dlt.current.pipeline().destination_client()
            table = read_table(files, self._endpoint.name).sort_by(LOAD_ID)
            mine = table.filter(pc.equal(table["account_id"], self._account))
            return [row for row in {row[key]: row for row in mine.to_pylist()}.values() if not row.get(GONE)]
        with dlt.current.pipeline().sql_client() as client:
            columns = ", ".join(map(client.escape_column_name, names))
            name = client.make_qualified_table_name(self._endpoint.name)
            account, gone = map(client.escape_column_name, ("account_id", GONE))
            sql = f"SELECT {columns} FROM {name} WHERE {account} = %s AND {gone} IS NULL"
            rows = client.execute_sql(sql, self._account)
        return [dict(zip(names, row, strict=True)) for row in rows or ()]
