"""The one place that imports what dlt does not document.

dlt has no public way to give a destination our own load job, to change how it adds columns to a table, to
add a step after a resource's incremental, to choose where a source takes its arguments from, to open a bucket
with dlt's credentials, to read the state that a destination has, to see pending load packages without opening
the pipeline, or to learn that a signal came while it loaded. `dlt` is therefore pinned to one minor version,
and `tests/load/test_dlt_internals.py` states what is relied on here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.common.destination.client import HasFollowupJobs, RunnableLoadJob
from dlt.common.destination.configuration import ParquetFormatConfiguration
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.common.runtime.signals import intercepted_signals, was_signal_received
from dlt.common.storages.configuration import FilesystemConfiguration
from dlt.common.storages.fsspec_filesystem import fsspec_from_config
from dlt.common.storages.load_package import ParsedLoadJobFileName
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient, FilesystemLoadJob
from dlt.destinations.impl.postgres.configuration import PostgresClientConfiguration, PostgresCredentials
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.job_impl import FinalizedLoadJobWithFollowupJobs
from dlt.destinations.sql_jobs import SqlMergeFollowupJob
from dlt.extract.decorators import DltSourceFactoryWrapper
from dlt.extract.items_transform import YieldMapItem
from dlt.pipeline.state_sync import load_pipeline_state_from_destination

if TYPE_CHECKING:
    from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresParquetCopyJob

__all__ = [
    "DatabaseException",
    "DltSourceFactoryWrapper",
    "DuckDbClient",
    "DuckDbCopyJob",
    "DuckDbCredentials",
    "FilesystemClient",
    "FilesystemConfiguration",
    "FilesystemLoadJob",
    "FinalizedLoadJobWithFollowupJobs",
    "HasFollowupJobs",
    "ParquetFormatConfiguration",
    "ParsedLoadJobFileName",
    "PostgresClient",
    "PostgresClientConfiguration",
    "PostgresCredentials",
    "PostgresParquetCopyJob",
    "RunnableLoadJob",
    "SqlJobClientBase",
    "SqlMergeFollowupJob",
    "YieldMapItem",
    "count_pending_packages",
    "fsspec_from_config",
    "get_dlt_pipelines_dir",
    "intercepted_signals",
    "load_pipeline_state_from_destination",
    "was_signal_received",
]


def __getattr__(name: str) -> Any:
    """Import what needs psycopg2 when it is asked for: it comes with an extra."""
    if name not in ("PostgresClient", "PostgresParquetCopyJob"):
        raise AttributeError(name)
    from dlt.destinations.impl.postgres import postgres

    return getattr(postgres, name)


def count_pending_packages(pipeline: str) -> int:
    """Count the load packages that a failed or killed run left in a pipeline's working folder.

    Opening the pipeline would write into that folder, which another process may be using.
    """
    # dlt keeps packages here between extract and normalize, and between normalize and load
    folder = Path(get_dlt_pipelines_dir()) / pipeline
    places = [folder / "normalize" / "extracted", folder / "load" / "normalized"]
    # not `glob("*/")`: before Python 3.11 it finds files too
    return sum(found.is_dir() for place in places for found in place.glob("*"))
