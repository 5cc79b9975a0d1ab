"""A pipeline's working folder belongs to one process at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dlt
import pytest
from loading import query, run_vbc, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import UsageError, VbcError
from vbc_source.load import locks
from vbc_source.load.destinations import Target
from vbc_source.load.pipelines import hold_fresh_pipeline, hold_pipeline

SPAN = ("--start-date", "2025-01-01", "--end-date", "2025-02-01")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return all files of the pipeline's working folder."""
    working = folder / "dlt" / "pipelines" / "vbc"
    return {str(path): path.read_bytes() for path in working.rglob("*") if path.is_file()}


@pytest.mark.parametrize("hold", [hold_pipeline, hold_fresh_pipeline])
def test_no_pipeline_is_opened_while_another_process_holds_it(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, hold: Any
) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0)
    target = Target("vbc", "duckdb", "elsewhere")
    with (
        locks.pipeline_lock("vbc").acquire(),
        pytest.raises(VbcError, match="another vbc process"),
        hold(target),
    ):
        pytest.fail("opened")
    assert files_of(own_folder) == {}


@pytest.mark.parametrize(
    "command",
    [
        ("sync",),
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (("backfill", *SPAN), ("status",), ("verify",))
        ),
    ],
    ids=" ".join,
)
def test_a_command_leaves_the_working_folder_alone_while_a_sync_runs(
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[[Gateway], str],
    command: tuple[str, ...],
) -> None:
    """Into another dataset: a command that changed the folder would lead the sync's load there."""
    url = serve(still_gateway(recordings=20))
    assert run_vbc(own_folder, url, "sync", "--resources", "company_recordings").returncode == 0
    before = files_of(own_folder)
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0)
    with locks.pipeline_lock("vbc").acquire():
        run_vbc(own_folder, url, *command, "--dataset", "elsewhere")
    assert files_of(own_folder) == before


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("fresh", [False, True])
def test_the_working_folder_is_private_also_after_it_was_dropped(own_folder: Path, fresh: bool) -> None:
    target = Target("vbc", "duckdb", "vbc_data")
    with hold_pipeline(target):
        pass
    with hold_pipeline(target, fresh=fresh) as pipeline:
        assert Path(pipeline.working_dir).stat().st_mode & 0o077 == 0


def test_a_pipeline_without_state_stores_none() -> None:
    @dlt.resource(name="rows")
    def rows() -> Any:
        dlt.current.resource_state()["seen"] = True
        yield {"id": 1}

    with hold_fresh_pipeline(Target("part", "duckdb", "vbc_data")) as pipeline:
        pipeline.run(rows())
        sql = "SELECT table_name FROM information_schema.tables WHERE table_name = '_dlt_pipeline_state'"
        assert query(pipeline, sql) == []
        assert query(pipeline, "SELECT id FROM rows") == [(1,)]


def test_the_state_of_one_dataset_is_not_that_of_another(own_folder: Path) -> None:
    """Cursors that stayed would hide from the other dataset what it has never got."""
    for dataset, kept in (("one", {}), ("one", {"vbc": {"cursor": 1}}), ("other", {})):
        with hold_pipeline(Target("vbc", "duckdb", dataset)) as pipeline:
            assert pipeline.state.get("sources", {}) == kept
            with pipeline.managed_state() as state:
                state["sources"] = {"vbc": {"cursor": 1}}


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_a_pipeline_whose_name_names_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="name is also that of a folder"):
        Target(name)
