"""Puts right what a comparison has found: loads what is missing, and marks what is gone or is back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc

from vbc_source.api.endpoints import Endpoint
from vbc_source.config import VbcConfig
from vbc_source.extract.tables import TableBuilder, make_scan_windows
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import VERIFY_SCHEMA, load_rows
from vbc_source.load.locks import hold_dataset_lock
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.source import make_resource
from vbc_source.verification.compare import Difference
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.tombstones import KEY, TOMBSTONES, Tombstone, make_table


def load_missing(target: Target, endpoint: Endpoint, config: VbcConfig, found: Iterable[Difference]) -> None:
    """Load what is missing with the source's own pipeline, into its own tables; its state stays as it is.

    Raises:
        VbcError: it could not be loaded.
    """
    batches = [(one, proof) for one in found for proof in one.proofs]

    @dlt.source(name="vbc", section="vbc")
    def missing() -> Any:
        def read() -> Iterator[Any]:
            tables = TableBuilder(endpoint, dlt.current.source_schema(), config.pii_policy)
            for one, proof in batches:
                whose = {"account_id": one.place.account, "user_id": one.place.user}
                key = {name: value for name, value in whose.items() if value}
                rows = tables.build([page.rows for page in proof.pages], key)
                # those that are loaded already stay as they are
                yield rows.filter(pc.is_in(rows["id"], pa.array(sorted(one.missing), pa.int64())))
            proofs = [(one.place, proof) for one, proof in batches]
            yield make_scan_windows(endpoint, proofs, config.api_filters.label)

        return make_resource(endpoint, read, config.pii_policy)

    with hold_pipeline(target) as held, explaining():
        held.sync_destination()
        with hold_dataset_lock(held):
            if held.has_pending_data:
                held.run()
            held.run(missing())


def load_tombstones(target: Target, loaded: LoadedTables, rows: list[Tombstone]) -> None:
    """Load tombstones, new ones and those that are history now.

    Raises:
        VbcError: they could not be loaded.
    """
    with hold_pipeline(target.ledgers("verify")) as held, loaded.lock():
        load_rows(held, TOMBSTONES, make_table(rows), "merge", KEY, VERIFY_SCHEMA)
