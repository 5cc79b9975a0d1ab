"""Compile the dbt package for a warehouse, without one: `compile_models.py snowflake FOLDER`.

The adapters' two questions to the database are answered here: which tables there are, and their columns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from dbt.adapters.factory import get_adapter_class_by_name
from dbt.cli.main import dbtRunner

PROJECT = Path(__file__).parents[2] / "vbc_source" / "analytics" / "dbt"
OUTPUTS = {
    "snowflake": {
        **{"account": "nowhere", "user": "any", "password": "any", "database": "RAW"},
        **{"schema": "VBC_MODELS", "warehouse": "any"},
    },
    "bigquery": {"method": "oauth-secrets", "token": "any", "project": "nowhere", "dataset": "vbc_models"},
    "redshift": {
        **{"host": "127.0.0.1", "port": 1, "user": "any", "password": "any"},
        **{"dbname": "raw", "schema": "vbc_models"},
    },
}
UPPER = {"snowflake"}  # names that are written without quotes are upper case there


def read_columns() -> dict[str, list[str]]:
    files = (PROJECT / "models").glob("sources*.yml")
    sources = [source for file in files for source in yaml.safe_load(file.read_text())["sources"]]
    tables = [table for source in sources for table in source["tables"]]
    return {table["name"]: [column["name"] for column in table["columns"]] for table in tables}


def answer_questions(kind: str) -> None:
    """Make the adapter say that all raw tables are there, and the model `recordings`."""
    adapter: Any = get_adapter_class_by_name(kind)
    tables = read_columns()

    def spell(name: str) -> str:
        return name.upper() if kind in UPPER else name

    def get_relation(_self: Any, database: str, schema: str, identifier: str) -> Any:
        if identifier.lower() == "recordings":
            return adapter.Relation.create(database, spell(schema), spell(identifier), type="table")
        return None

    def list_columns(_self: Any, relation: Any) -> list[Any]:
        return [adapter.Column.create(spell(name), "text") for name in tables[relation.identifier.lower()]]

    adapter.get_relation = get_relation
    adapter.get_columns_in_relation = list_columns


def compile_models(kind: str, folder: Path) -> None:
    """Write the compiled models into the folder."""
    profile = {"target": "here", "outputs": {"here": {"type": kind, "threads": 1, **OUTPUTS[kind]}}}
    (folder / "profiles.yml").write_text(json.dumps({"vbc_source": profile}))
    variables = {"vbc_timezone": "America/New_York", "vbc_retention_days": 400, "vbc_hidden_callers": ["0a"]}
    options = ["--no-send-anonymous-usage-stats", "--no-version-check", "--no-populate-cache"]
    places = [f"--{name}={folder}" for name in ("profiles-dir", "target-path", "log-path")]
    arguments = [f"--project-dir={PROJECT}", *places, "--vars", json.dumps(variables)]
    runner = dbtRunner()
    parsed: Any = runner.invoke(["parse", *options, *arguments])  # loads the adapter
    assert parsed.success, parsed.exception
    answer_questions(kind)
    compiled: Any = runner.invoke(["compile", *options, *arguments])
    assert compiled.success, compiled.exception


if __name__ == "__main__":
    compile_models(sys.argv[1], Path(sys.argv[2]))
