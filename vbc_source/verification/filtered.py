"""The API's own filters, asked of what is loaded: a comparison must leave out the same on both sides."""

from __future__ import annotations

from vbc_source.errors import SettingsError
from vbc_source.filters import Filters
from vbc_source.pii import PiiPolicy
from vbc_source.warehouse.queries import LoadedTables

_OPERATORS = {"gte": ">=", "lte": "<=", "": "="}
_PERSONAL = ("caller_id", "cnam", "dnis")


class LoadedFilter:
    """What the source's filters leave of a table of recordings.

    Args:
        filters: the source's.
        privacy: how names and numbers were loaded.

    Raises:
        SettingsError: a filter is on what was dropped before it was loaded.
    """

    def __init__(self, filters: Filters, privacy: PiiPolicy) -> None:
        self._params = dict(filters.params)
        self.values: dict[str, str | int] = {}
        for number, (name, value) in enumerate(self._params.items()):
            personal = name in _PERSONAL and not privacy.keeps
            hidden = privacy.hide(str(value)) if personal else value
            if hidden is None:
                raise SettingsError(
                    f"filters: {name} was dropped from what is loaded (pii = drop), so that what the filter "
                    "leaves cannot be compared"
                )
            self.values[f"filter_{number}"] = hidden

    def write(self, loaded: LoadedTables, table: str, rows: str) -> str:
        """Write the query of those of some rows that the filters leave; `rows` are of that table."""
        for number, name in enumerate(self._params):
            condition = self._write_condition(loaded, table, name, f":filter_{number}")
            rows = f"SELECT r.* FROM ({rows}) AS r WHERE {condition}"
        return rows

    def _write_condition(self, loaded: LoadedTables, table: str, name: str, value: str) -> str:
        column, _, operator = name.partition(":")
        id_column = "id"
        if column == "extension":
            table, id_column = f"{table}__extensions", "recording_id"
        if not loaded.has(table, column):
            return "1 = 0"
        same = f"f.account_id = r.account_id AND f.{id_column} = r.recording_id"
        if loaded.has(table, "user_id"):
            same += " AND f.user_id = r.user_id"
        return (
            f"EXISTS (SELECT 1 FROM {table} AS f WHERE {same} AND f.{column} {_OPERATORS[operator]} {value})"
        )
