"""Writes docs/data-dictionary.md: the schemas in the code, with the descriptions that dbt has of them.

Run it from the repository: `.venv/bin/python docs/make_dictionary.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

import vbc_source
from vbc_source.api.endpoints import COMPANY, EXTENSIONS, JOBS, ON_DEMAND, USERS, Endpoint
from vbc_source.audio import ledger
from vbc_source.extract import arrivals, tables
from vbc_source.extract.snapshots import GONE
from vbc_source.retention import deletions
from vbc_source.schema.specs import RowSpec
from vbc_source.warehouse import tombstones

MODELS = Path(vbc_source.__file__).parent / "analytics" / "dbt" / "models"
TARGET = Path(__file__).parent / "data-dictionary.md"
HEAD = """# Data dictionary

Made by `docs/make_dictionary.py` from the schemas in the code and the descriptions in
`vbc_source/dbt/models`: change those, not this. Times are instants in UTC. **PII** marks what
`pii = "hash"` or `"drop"` keeps out.
"""
TYPES = {
    pa.string(): "text",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.timestamp("us", "UTC"): "timestamptz",
}
KINDS = {
    **{"text": "text", "bigint": "bigint", "integer": "integer", "boolean": "boolean", "date": "date"},
    **{"timestamp with time zone": "timestamptz", "double precision": "double"},
}


def read_schemas() -> dict[str, tuple[dict[str, pa.DataType], tuple[str, ...], frozenset[str]]]:
    """Give each table's columns, key and personal columns, as the code has them."""
    found = {}
    for endpoint in (COMPANY, ON_DEMAND, JOBS, USERS, EXTENSIONS):
        shape = endpoint.shape
        columns = {**dict.fromkeys(endpoint.key, pa.string()), shape.id_column: shape.id_kind, **shape.fields}
        if endpoint.provisioning:
            columns[GONE] = pa.timestamp("us", "UTC")
        found[endpoint.name] = (columns, endpoint.primary_key, shape.personal)
        found |= dict(read_lists(endpoint, shape))
    appended = {
        "scan_windows": tables._PROOFS,
        arrivals.ARRIVALS: arrivals._SCHEMA,
        deletions.DELETIONS: deletions._SCHEMA,
    }
    for name, schema in appended.items():
        found[name] = (dict(zip(schema.names, schema.types, strict=True)), (), frozenset())
    gone = dict(zip(tombstones._SCHEMA.names, tombstones._SCHEMA.types, strict=True))
    found[tombstones.TOMBSTONES] = (gone, tombstones.KEY, frozenset())
    access = dict(zip(tables._ACCESS.names, tables._ACCESS.types, strict=True))
    found["user_access"] = (access, ("account_id", "resource", "user_id"), frozenset({"user_name"}))
    found[ledger.LEDGER] = (ledger.COLUMNS, ledger.KEY, frozenset())
    return found


def read_lists(endpoint: Endpoint, shape: RowSpec) -> Iterator[tuple[str, Any]]:
    """Give the tables of an endpoint's lists."""
    for name, items in shape.lists.items():
        key = (*endpoint.key, shape.child_key, "position")
        columns = {**dict.fromkeys(endpoint.key, pa.string()), shape.child_key: shape.id_kind}
        columns |= {"position": pa.int64(), **items.columns, "is_empty": pa.bool_()}
        personal = frozenset(items.columns) - items.clear
        yield f"{endpoint.name}__{name}", (columns, key, personal)


def write_dictionary() -> str:
    """Write all of it."""
    (source,) = yaml.safe_load((MODELS / "sources.yml").read_text())["sources"]
    described = yaml.safe_load((MODELS / "schema.yml").read_text())["models"]
    models = [model for model in described if not model["name"].startswith("stg_")]
    lines = [HEAD, f"## Tables of the source (dataset `vbc`)\n\n{source['description']}\n"]
    schemas = read_schemas()
    for table in source["tables"]:
        lines += write_table(table, *schemas[table["name"]])
    lines.append("## Models (dataset `vbc_models`)\n\nBuilt by `vbc models run`.\n")
    for model in models:
        lines += write_table(model, {}, (), frozenset())
    return "\n".join(lines)


def write_table(
    table: dict[str, Any], columns: dict[str, Any], key: tuple[str, ...], personal: frozenset[str]
) -> Iterator[str]:
    """Write one table, its columns in the order of their descriptions."""
    described = [column["name"] for column in table["columns"]]
    if columns and set(described) != set(columns):
        raise SystemExit(f"{table['name']}: described and not the same: {set(described) ^ set(columns)}")
    yield f"### {table['name']}\n\n{table['description'].strip()}\n"
    yield "| column | type | |\n|---|---|---|"
    for column in table["columns"]:
        name = column["name"]
        kind = columns.get(name, column.get("data_type"))
        marks = "**key** " * (name in key) + "**PII** " * (name in personal)
        text = " ".join(column["description"].split())
        yield f"| `{name}` | {TYPES.get(kind) or KINDS[kind]} | {marks}{text} |"
    yield ""


if __name__ == "__main__":
    TARGET.write_text(write_dictionary())
