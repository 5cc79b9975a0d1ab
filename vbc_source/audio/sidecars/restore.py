"""Load recordings from sidecars into the source's own tables, as the source would load them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from vbc_source.api.endpoints import RECORDING_ENDPOINTS, Endpoint
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.parts import hold_part
from vbc_source.load.sync import run_pipeline
from vbc_source.pii import PiiPolicy
from vbc_source.recordings import RecordingType
from vbc_source.schema.columns import ARROW_TYPES, build_column, build_list, guess_type
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.schema.pages import has_values
from vbc_source.schema.tables import make_table
from vbc_source.source import make_resource
from vbc_source.warehouse.queries import LoadedTables

PART = "restore"
QUERY_IDS = 1000

Row = Mapping[str, Any]


def restore_recordings(target: Target, loaded: LoadedTables, kind: RecordingType, rows: Sequence[Row]) -> int:
    """Load those of some recordings that the destination lacks; return how many.

    They are merged by their keys, and no state of the source is read or written: `vbc sync` reads them again
    where VBC still lists them.
    """
    endpoint = RECORDING_ENDPOINTS[kind]
    lacking = _find_lacking(loaded, endpoint, rows)
    if lacking:
        with hold_part(target, PART) as pipeline, explaining():
            run_pipeline(pipeline, restored_tables(endpoint, lacking), PART)
    return len(lacking)


def _find_lacking(loaded: LoadedTables, endpoint: Endpoint, rows: Sequence[Row]) -> list[Row]:
    if not loaded.find(endpoint.name):
        loaded.refresh()  # an earlier part may have created it
    key = (*endpoint.key, "id")
    found = set[tuple[Any, ...]]()
    for start in range(0, len(rows) if loaded.has(endpoint.name) else 0, QUERY_IDS):
        # as numbers: a sidecar is from a bucket that others may write to, and must not become SQL
        ids = ", ".join(str(int(row["id"])) for row in rows[start : start + QUERY_IDS])
        sql = f"SELECT {', '.join(key)} FROM {endpoint.name} WHERE id IN ({ids})"
        found |= set(loaded.query(sql))
    unique = {tuple(row[name] for name in key): row for row in rows}
    return [row for name, row in unique.items() if name not in found]


@dlt.source(name=SOURCE_SCHEMA, section="vbc")
def restored_tables(endpoint: Any, rows: Any) -> list[DltResource]:
    """The table of recordings, and those of their lists, with rows of sidecars."""

    def read() -> Iterator[Any]:
        schema = dlt.current.source_schema()
        # a table that somebody has dropped: dlt looks at the schema that it has stored, not at the table
        DestinationLookup().restore_tables(schema)
        yield build_restored_table(endpoint, rows, schema)

    return [make_resource(endpoint, read, PiiPolicy())]


def build_restored_table(endpoint: Endpoint, rows: Sequence[Row], schema: dlt.Schema) -> pa.Table:
    """Build the Arrow table of recordings as sidecars have them; lists stay columns of lists."""
    spec = endpoint.shape
    known = schema.tables[endpoint.name]["columns"] if endpoint.name in schema.tables else {}
    columns: dict[str, Any] = {
        name: pa.array([row[name] for row in rows], pa.string()) for name in endpoint.key
    }
    columns[spec.id_column] = pa.array([row[spec.id_column] for row in rows], spec.id_kind)
    for name in dict.fromkeys([*spec.fields, *(name for row in rows for name in row)]):
        values = [row.get(name) for row in rows]
        if name in columns or name in spec.lists or name.startswith("_dlt_"):
            continue
        # the type that the table has: one that is guessed from these rows alone may be another
        stored = known.get(name, {}).get("data_type")
        kind = spec.fields.get(name) or (ARROW_TYPES.get(stored or "") or guess_type(values))
        if name in spec.fields or has_values(values):
            columns |= build_column(name, values, kind)
    for name in spec.lists:
        columns[name] = build_list([row.get(name) for row in rows])
    return make_table(columns, [*endpoint.key, spec.id_column])
