"""A list of the Provisioning API, read whole; rows that have left it stay loaded, marked as gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pyarrow as pa

from vbc_source.extract.destination_lookup import GONE
from vbc_source.extract.state import ResourceRun
from vbc_source.extract.tables import ARROW_TYPES, TableBuilder
from vbc_source.extract.window_reader import ProvenWindow
from vbc_source.schema.columns import INSTANT, to_text
from vbc_source.schema.pages import PageRows
from vbc_source.schema.tables import digest

log = logging.getLogger(__name__)


class Snapshot:
    """The rows of one account's list."""

    def __init__(self, run: ResourceRun, account: str) -> None:
        self._run, self._endpoint, self._account = run, run.endpoint, account

    def write(self, proof: ProvenWindow[PageRows]) -> Iterator[pa.Table]:
        """Yield the rows of the list, then those that have left it since; nothing where nothing changed."""
        columns = self._find_columns()  # before dlt adds the columns that come with this list
        builder = TableBuilder(self._endpoint, self._run.schema, self._run.config.pii_policy)
        table = builder.build([page.rows for page in proof.pages], {"account_id": self._account})
        log.info("%s of account %s: %s", self._endpoint.name, self._account, f"{len(table):,}")
        key = self._endpoint.shape.id_column
        loaded, current = self._run.state.setdefault("digests", {}), digest(table, key)
        if loaded.get(self._account) == current:
            return
        yield table.append_column(pa.field(GONE, INSTANT), pa.nulls(len(table), INSTANT))
        if not len(table):
            # an account without users has no API user either: something is wrong, so nobody is marked
            return
        gone = self._read_gone(columns, set(table[key].to_pylist()))
        if gone is None:
            return  # without a digest the next run looks again for rows that have left
        if len(gone):
            log.info("%d of them have left", len(gone))
            yield gone
        loaded[self._account] = current

    def _find_columns(self) -> dict[str, pa.DataType]:
        return {
            name: ARROW_TYPES.get(str(column.get("data_type")), pa.string())
            for name, column in self._run.schema.tables.get(self._endpoint.name, {})
            .get("columns", {})
            .items()
            if column.get("data_type") and not name.startswith("_dlt")
        }

    def _read_gone(self, columns: Mapping[str, pa.DataType], present: set[str]) -> pa.Table | None:
        """Read the loaded rows that the list no longer has; None where the destination does not answer."""
        key = self._endpoint.shape.id_column
        rows: list[dict[str, Any]] | None = []
        if key in columns and GONE in columns:  # otherwise nothing was loaded yet
            rows = self._run.lookup.read_present(self._endpoint, self._account, list(columns))
        if rows is None:
            return None
        required = self._endpoint.primary_key
        fields = [pa.field(name, kind, name not in required) for name, kind in columns.items()]
        gone = [
            {name: self._hide(name, row.get(name)) for name in columns} | {GONE: self._run.now}
            for row in rows
            if row[key] not in present
        ]
        return pa.Table.from_pylist(gone, pa.schema(fields))

    def _hide(self, name: str, value: Any) -> Any:
        """Hide a value that was loaded before `pii` was set; hidden values stay unchanged."""
        shape, privacy = self._endpoint.shape, self._run.config.pii_policy
        known = name in shape.fields or name in self._endpoint.primary_key
        if privacy.keeps or (known and name not in shape.personal):
            return value
        if not isinstance(value, (str, int, float)):
            return value
        if not isinstance(value, str):
            return value if privacy.hide_value(value) == value else None
        with suppress(msgspec.DecodeError):
            if isinstance(inner := msgspec.json.decode(value), (dict, list)):
                return to_text(privacy.hide_value(inner))
        return privacy.hide(value)
