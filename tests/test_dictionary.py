"""The data dictionary is that of the code and of the models as they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import yaml
from model_facts import MODELS

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_dictionary.py"))


def test_the_dictionary_is_up_to_date() -> None:
    """If not: .venv/bin/python docs/make_dictionary.py."""
    assert (ROOT / "docs" / "data-dictionary.md").read_text() == SCRIPT["write_dictionary"]()


def test_every_table_of_the_code_is_described() -> None:
    (source,) = yaml.safe_load((SCRIPT["MODELS"] / "sources.yml").read_text())["sources"]
    assert set(SCRIPT["read_schemas"]()) | {"recording_tombstones"} == {
        table["name"] for table in source["tables"]
    }
    for table in source["tables"]:
        assert all(column["description"].endswith(".") for column in table["columns"]), table["name"]


def test_every_model_and_column_is_described() -> None:
    described = {
        model["name"]: model
        for model in yaml.safe_load((SCRIPT["MODELS"] / "schema.yml").read_text())["models"]
    }
    files = {path.stem for path in SCRIPT["MODELS"].rglob("*.sql")}
    assert set(described) == files
    for name, columns in MODELS.items():
        listed = [column["name"] for column in described[name]["columns"]]
        assert set(columns.split(", ")) <= set(listed)
        assert all(column["description"] and column["data_type"] for column in described[name]["columns"])
