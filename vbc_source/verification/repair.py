"""Repair differences of one list: load what is missing, mark what is gone or has returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.deletion_evidence import DeletionEvidence
from vbc_source.api.endpoints import Endpoint
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_if_new
from vbc_source.config import VbcConfig, load_audio_config
from vbc_source.extract.scan_windows import make_scan_windows
from vbc_source.extract.tables import TableBuilder
from vbc_source.lakes.tables import is_lake
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import find_last_event, load_rows
from vbc_source.load.locks import hold_dataset_lock
from vbc_source.load.pipelines import hold_pipeline, keep_connected
from vbc_source.recordings import RECORDING_KEY
from vbc_source.schema.names import SOURCE_SCHEMA, VERIFY_SCHEMA
from vbc_source.source import make_resource
from vbc_source.verification.compare import Difference
from vbc_source.verification.findings import Findings
from vbc_source.verification.inventory import Inventory, ListKind, RowId, recording_type_of
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.tombstones import TOMBSTONES, Tombstone, describe_history, make_tombstones_table


class ListRepair:
    """Repairs lists of one type, and counts in `findings` what it repaired."""

    def __init__(
        self,
        kind: ListKind,
        endpoint: Endpoint,
        config: VbcConfig,
        loaded: LoadedTables,
        inventory: Inventory,
        findings: Findings,
        now: datetime,
    ) -> None:
        self._kind, self._endpoint, self._config = kind, endpoint, config
        self._loaded, self._inventory, self._findings, self._now = loaded, inventory, findings, now

    def run(self, differences: Sequence[Difference], evidence: DeletionEvidence) -> frozenset[RowId]:
        """Repair the differences of one list; return the ids whose deletion was not confirmed."""
        missing = frozenset[RowId]().union(*(item.missing for item in differences))
        # with another `start` than loaded, it is gone from one part and missing in another
        gone = frozenset[RowId]().union(*(item.gone for item in differences)) - missing
        returned = frozenset[RowId]().union(*(item.returned for item in differences))
        if missing:
            load_missing(self._loaded.target, self._endpoint, self._config, differences, self._now)
        confirmed = dict(evidence.confirm({int(id_) for id_ in gone})) if gone else {}
        if confirmed or returned:
            self._write_tombstones(differences, confirmed, returned)
        unconfirmed = gone - confirmed.keys()
        self._findings.loaded += len(missing)
        self._findings.tombstoned += len(confirmed)
        self._findings.unconfirmed += len(unconfirmed)
        return unconfirmed

    def _write_tombstones(
        self, differences: Sequence[Difference], confirmed: dict[int, str], returned: frozenset[RowId]
    ) -> None:
        owner = differences[0].owner
        kind = recording_type_of(self._kind)
        history = self._inventory.read_tombstones(owner)
        # the tombstone stays, as history
        rows = [replace(history[id_], returned_at=self._now) for id_ in sorted(returned)]
        for id_, text in confirmed.items():
            evidence = f"{text}; the complete list of its span does not contain it"
            evidence += describe_history(history.get(id_))
            rows.append(Tombstone(owner.account, kind, owner.user or "", id_, self._now, evidence))
        with hold_pipeline(self._loaded.target.ledgers("verify")) as held:
            before = find_last_event(held)
            with self._loaded.lock():
                load_rows(
                    held, TOMBSTONES, make_tombstones_table(rows), "merge", RECORDING_KEY, VERIFY_SCHEMA
                )
            config = load_audio_config()
            # without a bucket, the chain has no head outside of the database
            if config.bucket_url:
                store_if_new(Bucket(config.bucket, config.storage), held, before)
        # the first tombstone creates the table
        self._loaded.refresh()


def load_missing(
    target: Target,
    endpoint: Endpoint,
    config: VbcConfig,
    differences: Sequence[Difference],
    read_at: datetime,
) -> None:
    """Load what is missing with the source's own pipeline, into its own tables; no cursor moves.

    `read_at` is no later than the first request: what appeared after it is not proven.
    """
    reads = [(item, read) for item in differences if item.missing for read in item.windows]

    @dlt.source(name=SOURCE_SCHEMA, section="vbc")
    def missing() -> Any:
        def read() -> Iterator[Any]:
            tables = TableBuilder(endpoint, dlt.current.source_schema(), config.pii_policy)
            for item, read in reads:
                rows = tables.build([page.rows for page in read.pages], item.owner.key)
                # rows that are loaded already stay as they are: their child tables are not loaded again
                ids = pa.array(sorted(item.missing), endpoint.shape.id_kind)
                yield rows.filter(pc.is_in(rows[endpoint.shape.id_column], ids))
            windows = [(item.owner, read) for item, read in reads]
            label, in_lake = config.filters_of(endpoint.name).label, is_lake(dlt.current.pipeline())
            yield make_scan_windows(endpoint, windows, label, read_at=read_at, in_lake=in_lake)

        return make_resource(endpoint, read, config.pii_policy)

    with hold_pipeline(target) as held, explaining():
        # the state in the destination, not an older local one, must be the one that is written back
        held.sync_destination()
        with hold_dataset_lock(held), keep_connected(held):
            # dlt's `run` would load the pending package, and nothing of what is missing
            if held.has_pending_data:
                held.run()
            held.run(missing())
