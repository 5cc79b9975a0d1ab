"""Values are bound to the placeholders of a query, and to nothing that only looks like one."""

from __future__ import annotations

import shutil
from pathlib import Path

from vbc_source.load.destinations import Target
from vbc_source.warehouse.queries import LoadedTables


def test_texts_names_and_casts_are_no_placeholders(loaded_database: Path, own_folder: Path) -> None:
    shutil.copy(loaded_database, own_folder / "vbc.duckdb")
    query = """SELECT ':a', 'it''s :a', 1::INTEGER, ":a", :a, :c::INTEGER, count(*)
        FROM company_recordings, (SELECT 2 AS ":a") AS b WHERE account_id <> :a GROUP BY ":a" """
    rows = LoadedTables(Target()).query(query, a="it's :c", c=3, unused="x")
    assert rows == [(":a", "it's :a", 1, 2, "it's :c", 3, 1)]
