"""Keep the tables of a lake small: `vbc compact`, and `vbc sync` after a number of loads."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from filelock import Timeout

from vbc_source.dlt_internals import count_pending_packages
from vbc_source.errors import UsageError, VbcError
from vbc_source.lakes.delta import compact_delta
from vbc_source.lakes.iceberg import compact_iceberg
from vbc_source.lakes.plain_files import compact_files, compact_loads
from vbc_source.lakes.swap import list_files, remove_drafts
from vbc_source.lakes.tables import FILESYSTEM, check_format, find_format, name_format, read_table
from vbc_source.load.destinations import Target, destination_kind, open_destination, read_lake_setting
from vbc_source.load.failures import explaining
from vbc_source.load.locks import hold_pipeline_lock, pipeline_lock
from vbc_source.schema.names import AUDIO_SCHEMA, LOADS, SOURCE_SCHEMA, VERIFY_SCHEMA

log = logging.getLogger(__name__)

COMPACT_EVERY = 24  # loads: four hours of one every ten minutes; each adds a file to a table
ICEBERG_EVERY = 12  # files of Iceberg take longer to open
KEEP_HOURS = 24.0  # of versions of Delta and Iceberg tables, for queries that began before
_LEDGERS = {AUDIO_SCHEMA: "audio", VERIFY_SCHEMA: "verify"}  # dlt schema, and who loads it


@dataclass(frozen=True, slots=True)
class CompactResult:
    """What a compaction did.

    Attributes:
        tables: Tables that were looked at.
        files: How many files there are less; negative where a few loads became files of many months.
        skipped: Tables that wait for the next compaction, since a command loads them now.
        seconds: How long it took.
    """

    tables: int
    files: int
    skipped: tuple[str, ...]
    seconds: float

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        change = f"{abs(self.files):,} file(s) {'fewer' if self.files >= 0 else 'more, one per month'}"
        lines = [f"{self.tables} table(s) compacted, {change}, {self.seconds:.1f} s."]
        if self.skipped:
            lines.append(f"Left out, since another command loads them now: {', '.join(self.skipped)}.")
        return lines


def compact(target: Target = Target()) -> CompactResult:  # noqa: B008 - a frozen value
    """Compact the tables of a lake: fewer files, with the rows that count.

    Args:
        target: The lake; a destination of dlt's type `filesystem`.

    Returns:
        How many tables were compacted, and by how many files the lake has shrunk.

    Raises:
        UsageError: The destination is no lake; databases keep their tables small themselves.
        VbcError: The compaction failed; the message names the reason. The next one continues.
    """
    lake = _Lake(target)
    if not lake.is_lake:
        raise UsageError(f"{target.destination} holds no files: vbc compact is for --destination filesystem")
    with hold_pipeline_lock(target.pipeline):
        # files of a load that is not complete do not count yet: they cannot be joined with others
        if count_pending_packages(target.pipeline):
            raise VbcError(f"a load of pipeline {target.pipeline} is not complete: run vbc sync first")
        return lake.compact()


def compact_when_due(target: Target) -> CompactResult | None:
    """Compact a lake after `compact_every` loads; the caller holds the lock of the pipeline.

    What was loaded is loaded, whatever happens here: a failure is logged, and the next load tries again.
    """
    lake = _Lake(target)
    every = lake.read_setting("compact_every", ICEBERG_EVERY if lake.is_iceberg else COMPACT_EVERY)
    if not every or lake.count_loads() < every:
        return None
    try:
        result = lake.compact()
    except Exception as error:
        reason = error if isinstance(error, VbcError) else type(error).__name__
        log.warning("the lake of dataset %s could not be compacted: %s", target.dataset, reason)
        return None
    log.info("%s", " ".join(result.summary()))
    return result


class _Lake:
    """The tables of one dataset of files."""

    def __init__(self, target: Target) -> None:
        self._target = target
        with explaining():
            self._destination = open_destination(target)
            self._format = name_format(self._destination)
        self.is_lake = destination_kind(self._destination) == FILESYSTEM
        self.is_iceberg = self._format == "iceberg"

    def read_setting(self, name: str, default: float) -> float:
        """Read a number of the destination's configuration."""
        return read_lake_setting(self._target.destination, name, default)

    def count_loads(self) -> int:
        """Count the loads since the last compaction."""
        with explaining():
            return len(list_files(self._open(SOURCE_SCHEMA), LOADS))

    def compact(self) -> CompactResult:
        """Compact all tables; the caller holds the lock of the source's pipeline."""
        began, tables, files = time.monotonic(), 0, 0
        skipped: list[str] = []
        keep_hours = self.read_setting("keep_hours", KEEP_HOURS)
        with explaining(), self._lock():
            client = self._open(SOURCE_SCHEMA)
            check_format(client, self._format)
            remove_drafts(client)
            complete = frozenset(read_table(client, LOADS)["load_id"].to_pylist())
            for schema in (SOURCE_SCHEMA, *_LEDGERS):
                with _hold_ledger(self._target, schema) as is_free:
                    if is_free:
                        removed = self._compact_schema(schema, complete, keep_hours)
                        tables, files = tables + len(removed), files + sum(removed)
                    else:
                        skipped += self._open(schema).schema.data_table_names()
            # last: the number of these files says how many loads there were since, so a
            # killed compaction stays due
            files += compact_loads(self._open(SOURCE_SCHEMA), LOADS)
        return CompactResult(tables, files, tuple(skipped), time.monotonic() - began)

    def _compact_schema(self, schema: str, complete: frozenset[str], keep_hours: float) -> list[int]:
        """Compact the tables of a dlt schema; return how many files fewer each has."""
        client, removed = self._open(schema), list[int]()
        for table in client.schema.data_table_names():
            with suppress(DestinationUndefinedEntity):  # declared, never loaded
                removed.append(_compact_table(client, table, complete, keep_hours))
        return removed

    def _open(self, schema: str) -> Any:
        return dlt.dataset(self._destination, self._target.dataset, schema).destination_client

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process of this machine compact the dataset."""
        place = f"compact {self._open(SOURCE_SCHEMA).dataset_path}"
        try:
            with pipeline_lock(place).acquire(timeout=0):
                yield
        except Timeout:
            raise VbcError("another vbc process compacts this dataset now; let it end") from None


@contextmanager
def _hold_ledger(target: Target, schema: str) -> Iterator[bool]:
    """Hold the pipeline that loads a ledger, unless another command loads with it now."""
    if schema == SOURCE_SCHEMA:
        yield True
        return
    pipeline = target.ledgers(_LEDGERS[schema]).pipeline
    lock = pipeline_lock(pipeline)
    with suppress(Timeout):
        # a ledger whose command works for hours is left to the next compaction
        lock.acquire(timeout=0)
    try:
        yield lock.is_locked and not count_pending_packages(pipeline)
    finally:
        lock.release()


def _compact_table(client: Any, table: str, complete: frozenset[str], keep_hours: float) -> int:
    table_format = find_format(client, table)
    if table_format == "delta":
        return compact_delta(client, table, keep_hours)
    if table_format == "iceberg":
        return compact_iceberg(client, table, keep_hours)
    return compact_files(client, table, complete)
