"""What a kill leaves between two steps of dlt does no harm: the next run goes on, and doubles nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from loading import credentials, read_database, still_gateway

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.load.destinations import Target
from vbc_source.load.ledgers import load_rows
from vbc_source.load.pipelines import hold_fresh_pipeline, hold_pipeline
from vbc_source.load.sync import run_pipeline
from vbc_source.retention.deletions import DELETION_KEY, DELETIONS, make_deletions_table

TARGET = Target("test", "duckdb", "vbc_data")
NOW = datetime(2025, 6, 1, tzinfo=timezone.utc)


@pytest.mark.slow
def test_a_package_that_is_extracted_and_normalized_is_loaded_once(
    serve: Callable[[Gateway], str], own_folder: Path
) -> None:
    """As after a kill between the end of dlt's normalization and the removal of what it read."""
    gateway = still_gateway(recordings=30)
    source = vbc_source(credentials=credentials(), base_url=serve(gateway))
    source = source.with_resources("company_recordings")
    with hold_pipeline(TARGET) as pipeline:
        run_pipeline(pipeline, source)
        gateway.company.add(start=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+0000"))
        pipeline.extract(source)
        (load_id,) = pipeline.list_extracted_load_packages()
        extracted = Path(pipeline.working_dir) / "normalize" / "extracted" / load_id
        shutil.copytree(extracted, own_folder / "copy")
        pipeline.normalize()
        shutil.copytree(own_folder / "copy", extracted)
    with hold_pipeline(TARGET) as pipeline:
        assert pipeline.list_extracted_load_packages() == []
        assert run_pipeline(pipeline, source).finished_earlier == 1
    assert read_database(
        own_folder, "SELECT count(id), count(DISTINCT id) FROM vbc_data.company_recordings"
    ) == [(31, 31)]


def test_rows_of_a_run_that_was_killed_while_it_extracted_do_not_stay(
    serve: Callable[[Gateway], str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt extracts into a folder with a random name, and removes it when the extraction ends."""
    gateway = still_gateway(recordings=30)
    source = vbc_source(credentials=credentials(), base_url=serve(gateway))
    source = source.with_resources("company_recordings")
    with hold_pipeline(TARGET) as pipeline:
        with monkeypatch.context() as patch:
            patch.setattr("dlt.extract.storage.ExtractStorage.commit_new_load_package", fail)
            with pytest.raises(PipelineStepFailed, match="as if killed"):
                pipeline.extract(source)
        folder = Path(pipeline.working_dir) / "normalize"
        assert list(folder.rglob("company_recordings.*"))
    with hold_pipeline(TARGET) as pipeline:
        assert list(folder.rglob("company_recordings.*")) == []
        assert run_pipeline(pipeline, source).finished_earlier == 0
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.company_recordings") == [(30,)]


def fail(*_: Any) -> None:
    raise RuntimeError("as if killed")


@pytest.mark.slow
@pytest.mark.parametrize("hold", [hold_pipeline, hold_fresh_pipeline])
def test_a_folder_that_is_removed_in_part_is_removed_whole(
    serve: Callable[[Gateway], str], own_folder: Path, hold: Any
) -> None:
    """As after a kill while dlt drops a pipeline: its schemas are gone, and its state still names them."""
    source = vbc_source(credentials=credentials(), base_url=serve(still_gateway(recordings=30)))
    source = source.with_resources("company_recordings")
    with hold_pipeline(TARGET) as pipeline:
        run_pipeline(pipeline, source)
        shutil.rmtree(Path(pipeline.working_dir) / "schemas")
    with hold(TARGET) as pipeline:
        run_pipeline(pipeline, source)
    count = "SELECT count(id), count(DISTINCT id) FROM vbc_data.company_recordings"
    assert read_database(own_folder, count) == [(30, 30)]


def test_a_load_of_a_ledger_whose_end_was_not_recorded_doubles_no_row(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the end of a job and dlt's note of it: dlt runs the job again."""
    monkeypatch.setenv("LOAD__DELETE_COMPLETED_JOBS", "false")
    row = dict.fromkeys(make_deletions_table([]).schema.names, "x")
    row |= {"recording_id": 1, "size_bytes": 1, "verified_at": NOW, "noted_at": NOW}
    rows = [{**row, "status": status} for status in ("requested", "deleted")]
    table = pa.Table.from_pylist(rows, make_deletions_table([]).schema)
    with hold_pipeline(TARGET) as pipeline:
        load_rows(pipeline, DELETIONS, table, "append", DELETION_KEY)
        (loaded,) = (Path(pipeline.working_dir) / "load" / "loaded").iterdir()
        loaded.rename(again := loaded.parents[1] / "normalized" / loaded.name)
        shutil.rmtree(again / "new_jobs")
        (again / "completed_jobs").rename(again / "new_jobs")
        (again / "completed_jobs").mkdir()
        (again / "package_completed.json").unlink()
        pipeline.load()
    assert read_database(
        own_folder, f"SELECT status, count(*) FROM vbc_data.{DELETIONS} GROUP BY 1 ORDER BY 1"
    ) == [
        ("deleted", 1),
        ("requested", 1),
    ]
