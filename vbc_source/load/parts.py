"""Load a part of the source's tables with a pipeline of its own, beside `vbc sync` and other parts.

Loads side by side that share a working folder or a staging dataset lose rows without an error
(https://github.com/dlt-hub/dlt/issues/4297). So each part has both to itself, and writes no state.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt

from vbc_source.dlt_internals import get_dlt_pipelines_dir
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.load.destinations import Target, destination_kind
from vbc_source.load.locks import hold_database, is_pipeline_locked
from vbc_source.load.pipelines import hold_fresh_pipeline

_MARK = "vbc_part"  # a file in the working folder of a part
APPENDING = (FILESYSTEM,)  # destinations where a row that is loaded again is there twice


@contextmanager
def hold_part(target: Target, key: str) -> Iterator[dlt.Pipeline]:
    """Open a pipeline for one part of a load, and leave nothing of it behind but what is loaded."""
    part = replace(target, pipeline=f"{target.pipeline}_{key}")
    staging = {"staging_dataset_name_layout": f"%s_stg_{key}"}
    with (
        hold_fresh_pipeline(part, **staging) as pipeline,
        hold_database(target.pipeline, destination_kind(pipeline.destination)),
    ):
        # names of pipelines may begin alike: only a folder with this mark may be removed later
        (Path(pipeline.working_dir) / _MARK).touch()
        yield pipeline
        # only where all went well: what a failed part leaves, its next load removes
        if destination_kind(pipeline.destination) not in APPENDING:
            _drop_staging(pipeline)
        pipeline.deactivate()
        shutil.rmtree(pipeline.working_dir, ignore_errors=True)


def remove_killed_parts(target: Target) -> None:
    """Remove what parts of a target that were killed have left: the next load of such a part starts over."""
    for mark in Path(get_dlt_pipelines_dir()).glob(f"{target.pipeline}_*/{_MARK}"):
        if not is_pipeline_locked(mark.parent.name):
            shutil.rmtree(mark.parent, ignore_errors=True)


def _drop_staging(pipeline: dlt.Pipeline) -> None:
    client: Any
    with pipeline.destination_client() as client, client.with_staging_dataset():
        if client.is_storage_initialized():
            client.drop_storage()
