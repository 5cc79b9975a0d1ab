"""Load rows of a ledger: a table that records what was done, with a dlt schema of its own.

Rows of the archive's ledgers get their actor, and each an event in the chain of custody, in the same load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, Literal

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.extract import DltSource

from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.lakes.tables import is_lake, read_table
from vbc_source.load.destinations.added_columns import ADDED_VALUE
from vbc_source.load.ledgers.actor import find_actor
from vbc_source.load.ledgers.custody import ACTOR, CUSTODY, EVENT, LEDGER_ACTIONS, LINKS, Head, chain_rows
from vbc_source.load.locks import hold_chain_lock
from vbc_source.load.pipelines import adopt_stored_schema, keep_connected, keep_interrupts
from vbc_source.schema.columns import INSTANT
from vbc_source.schema.names import AUDIO_SCHEMA

Disposition = Literal["append", "merge"]


def make_schema(columns: dict[str, pa.DataType], required: Sequence[str]) -> pa.Schema:
    """Make an Arrow schema whose required columns hold no nulls."""
    return pa.schema([pa.field(name, kind, name not in required) for name, kind in columns.items()])


_KINDS = {"recording_id": pa.int64(), "sequence": pa.int64(), "recorded_at": INSTANT}
CUSTODY_COLUMNS = {name: _KINDS.get(name, pa.string()) for name in (*EVENT, *LINKS)}
_LAST = "vbc_custody_event"  # in dlt's local state
_HEAD = ("sequence", "hash", "recorded_at")


def load_rows(
    pipeline: dlt.Pipeline,
    name: str,
    table: pa.Table,
    disposition: Disposition,
    key: Sequence[str] = (),
    schema: str = AUDIO_SCHEMA,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    added: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Load rows of a ledger, after what an earlier load left pending.

    A ledger that was dropped is created again. The dlt schema is the ledger's own, so that neither
    the source's schema nor its state is touched. The caller holds the lock of the pipeline. Rows of a ledger
    that is appended to never change; by their `key` a load that is killed and repeated does not double them.
    `added` are columns of the key that tables of earlier versions lack, and what their rows stand for: with
    null there, a merge would leave a row beside its newer copy.
    """
    try:
        _load_rows(pipeline, name, table, disposition, key, schema, now, added)
    except Exception:
        # each destination raises an error of its own for a table that was dropped:
        # look whether one is missing
        known = pipeline.schemas
        if schema not in known or not DestinationLookup(pipeline).restore_tables(known[schema]):
            raise
        _load_rows(pipeline, name, table, disposition, key, schema, now, added)


def _load_rows(
    pipeline: dlt.Pipeline,
    name: str,
    table: pa.Table,
    disposition: Disposition,
    key: Sequence[str],
    schema: str,
    now: Callable[[], datetime],
    added: Mapping[str, int],
) -> None:
    is_chained = name in LEDGER_ACTIONS
    rows = _add_actor(table) if is_chained else table
    with keep_connected(pipeline) as client, hold_chain_lock(pipeline), keep_interrupts():
        # otherwise dlt would load what is pending in place of the new rows
        if pipeline.has_pending_data:
            pipeline.run()
        events = list[dict[str, Any]]()
        if is_chained:
            # only now: what was pending may have events, too
            head = read_head(pipeline, client, schema)
            replaced_by = key if disposition == "merge" else ()
            events = list(
                chain_rows(name, rows.to_pylist(), replaced_by, pipeline.pipeline_name, head, now())
            )

        @dlt.source(name=schema)
        def ledgers() -> Any:
            # dlt repeats an append whose end it did not record; a merge leaves one copy
            written: Disposition = "merge" if key else disposition
            hints: Any = {column: {"name": column, ADDED_VALUE: value} for column, value in added.items()}
            yield dlt.resource(
                [rows], name=name, primary_key=tuple(key), write_disposition=written, columns=hints
            )
            if events:
                chained = pa.Table.from_pylist(events, make_schema(CUSTODY_COLUMNS, ("chain", "sequence")))
                yield dlt.resource([chained], name=CUSTODY, write_disposition="append")

        source: DltSource = ledgers()
        # other pipelines load ledgers into the same dataset: without their tables, the
        # new schema would hide them
        adopt_stored_schema(pipeline, source)
        pipeline.run(source)
        if events:
            # after the load: an event that did not arrive is no head of the chain
            pipeline.set_local_state_val(_LAST, [events[-1]["sequence"], events[-1]["hash"]])


def find_last_event(pipeline: dlt.Pipeline) -> Head | None:
    """Return the last event that this machine has loaded with a pipeline; no destination is asked."""
    local: Any = pipeline.state["_local"]
    return Head(*local[_LAST]) if _LAST in local else None


def _add_actor(table: pa.Table) -> pa.Table:
    actor = find_actor()
    # before the events are made, since the digest of a row covers its actor
    for name in ACTOR:
        table = table.append_column(name, pa.repeat(pa.scalar(actor[name]), len(table)))
    return table


def read_head(pipeline: dlt.Pipeline, client: Any = None, schema: str = AUDIO_SCHEMA) -> Head:
    """Read the newest event of a pipeline's chain from the destination: what is loaded counts.

    `client` is an open SQL client, where there is one; `schema` that of the pipeline's ledgers.
    """
    chain = pipeline.pipeline_name
    try:
        rows = _read_lake(pipeline, chain, schema) if is_lake(pipeline) else _query(pipeline, client, chain)
    except DestinationUndefinedEntity:
        return Head()
    heads = [Head(int(sequence), link, moment) for sequence, link, moment in rows]
    # of a fork any branch may go on, but always the same
    return max(heads, key=lambda head: (head.sequence, head.hash), default=Head())


def _query(pipeline: dlt.Pipeline, connected: Any, chain: str) -> Iterable[Sequence[Any]]:
    with nullcontext(connected) if connected else pipeline.sql_client() as client:
        table = client.make_qualified_table_name(CUSTODY)
        named, sequence, *columns = map(client.escape_column_name, ("chain", *_HEAD))
        newest = f"SELECT max({sequence}) FROM {table} WHERE {named} = %s"
        sql = (
            f"SELECT {', '.join([sequence, *columns])} FROM {table} "
            f"WHERE {named} = %s AND {sequence} = ({newest})"
        )
        return client.execute_sql(sql, chain, chain) or ()


def _read_lake(pipeline: dlt.Pipeline, chain: str, schema: str) -> Iterable[Sequence[Any]]:
    # the schema as it is stored there: another machine may have loaded the first event
    client = dlt.dataset(pipeline.destination, pipeline.dataset_name, schema).destination_client
    rows = read_table(client, CUSTODY, ["chain", *_HEAD])
    if not rows.num_rows:
        return ()
    rows = rows.filter(pc.equal(rows["chain"], chain))
    rows = rows.filter(pc.equal(rows["sequence"], pc.max(rows["sequence"])))
    return [tuple(row[name] for name in _HEAD) for row in rows.to_pylist()]
