"""Values are bound to the placeholders of a query, and to nothing that only looks like one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.warehouse.queries import LoadedTables


def test_texts_names_and_casts_are_no_placeholders(loaded_database: Path, own_folder: Path) -> None:
    shutil.copy(loaded_database, own_folder / "vbc.duckdb")
    query = """SELECT ':a', 'it''s :a', 1::INTEGER, ":a", :a, :c::INTEGER, count(*)
        FROM company_recordings, (SELECT 2 AS ":a") AS b WHERE account_id <> :a GROUP BY ":a" """
    rows = LoadedTables(Target()).query(query, a="it's :c", c=3, unused="x")
    assert rows == [(":a", "it's :a", 1, 2, "it's :c", 3, 1)]


def test_a_missing_bucket_is_named_where_nothing_seems_to_be_loaded(
    own_folder: Path, s3_settings: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_settings().items():
        monkeypatch.setenv(name, value)
    loaded = LoadedTables(Target(destination="filesystem"))
    loaded.refresh()
    assert loaded.list_tables() == []
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "s3://no-such-bucket/lake")
    with pytest.raises(VbcError, match=r"NoSuchBucket.*make the bucket, or correct bucket_url"):
        LoadedTables(Target(destination="filesystem")).refresh()
