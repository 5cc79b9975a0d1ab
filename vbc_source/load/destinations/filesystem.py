"""A destination of files whose Delta and Iceberg tables write less, load sooner and find a month faster."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dlt

from vbc_source.dlt_internals import (
    FilesystemClient,
    FilesystemLoadJob,
    FinalizedLoadJobWithFollowupJobs,
    HasFollowupJobs,
    RunnableLoadJob,
)
from vbc_source.lakes.current_rows import START
from vbc_source.lakes.swap import LOADING
from vbc_source.load.destinations.cached_configuration import CachedConfiguration
from vbc_source.load.destinations.s3_requests import bound_requests

ICEBERG_MONTH = {"transform": "month", "source_column": START}
# every load adds a manifest, and a query reads each of them
ICEBERG_PROPERTIES = {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "4"}

ICEBERG_FILES = "vbc_source.lakes.iceberg_files.WholeFileIO"  # which pyiceberg imports by its name


class VbcFilesystem(CachedConfiguration, dlt.destinations.filesystem):
    """dlt's destination of files with a client of ours; it takes the arguments of dlt's own."""

    # no __init__ here: dlt reads the defaults of its arguments from its signature

    @property
    def client_class(self) -> Any:
        """The client that dlt loads with; Hugging Face has one of its own."""
        return super().client_class if self.is_hf else VbcFilesystemClient

    @property
    def destination_type(self) -> str:
        """The type that dlt keeps in state: dlt's own, since the data is the same and dlt can load it too."""
        return "dlt.destinations.filesystem"


class VbcFilesystemClient(FilesystemClient):
    """Adds hints to tables as they are loaded; the schema, which all destinations share, has none."""

    def __init__(self, schema: Any, config: Any, capabilities: Any) -> None:
        bound_requests(config)
        super().__init__(schema, config, capabilities)

    def prepare_load_table(self, table_name: str) -> Any:
        """Return a table with the hints that its format needs."""
        table: Any = super().prepare_load_table(table_name)
        columns = table["columns"]
        table_format = table.get("table_format")
        # Of a list, all items carry the newest load, which decides what counts: they are written again.
        is_list = any(column.get("merge_key") for column in columns.values())
        if table_format == "delta" and table["write_disposition"] == "merge" and not is_list:
            # a merge that updates a row rewrites its whole file
            table["x-merge-skip-unchanged-rows"] = True
        if table_format == "iceberg" and columns.get(START, {}).get("data_type") == "timestamp":
            table.setdefault("x-iceberg-partition", [ICEBERG_MONTH])
        if table_format == "iceberg":
            table.setdefault("x-iceberg-table-properties", ICEBERG_PROPERTIES)
        return table

    def get_open_table_catalog(self, table_format: Any, catalog_name: str | None = None) -> Any:
        """Return the catalog of Iceberg tables; in a folder, it writes whole files alone."""
        catalog = super().get_open_table_catalog(table_format, catalog_name)
        if self.is_local_filesystem:
            catalog.properties.setdefault("py-io-impl", ICEBERG_FILES)
        return catalog

    def create_load_job(self, table: Any, file_path: str, load_id: str, restore: bool = False) -> Any:
        """Make the job that loads one file."""
        job: Any = super().create_load_job(table, file_path, load_id, restore)
        if type(job) is FinalizedLoadJobWithFollowupJobs:
            return AwaitTableJob(file_path)
        if type(job) is FilesystemLoadJob and self.is_local_filesystem and file_path.endswith(".parquet"):
            return PlaceFileJob(file_path)
        return job


class PlaceFileJob(FilesystemLoadJob):
    """Gives a file in a folder its name when it is whole; dlt's own job copies to the name itself.

    A reader would meet a part of it at that moment, and after a kill or with a full disk until the next load.
    """

    def run(self) -> None:
        """Copy the file beside the tables, and move it to its place."""
        path = Path(self.make_remote_path())
        # on the same file system as its place, so that the move at the end is one step
        draft = Path(self._job_client.dataset_path) / LOADING / f"{path.parent.name}.{path.name}"
        for folder in (path.parent, draft.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(self._file_path, draft)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        draft.replace(path)


class AwaitTableJob(RunnableLoadJob, HasFollowupJobs):
    """Leaves a file of a Delta or Iceberg table to the job that loads all files of the table.

    dlt's own job for this is complete as soon as it is made, which dlt does not notice: in each load it waits
    a second before it starts the next job (dlt 1.31). This job runs, so dlt notices its end.
    """

    def run(self) -> None:
        """Do nothing."""
