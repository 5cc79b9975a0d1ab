"""A compacted lake holds the same rows in fewer files, whenever the compaction is killed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem
from gateway_fixtures import Stage
from loading import LOGIN, open_target
from warehouses import Warehouse, digest, set_up

from vbc_source import Target, compact, sync
from vbc_source.emulator import Gateway
from vbc_source.errors import SettingsError, UsageError, VbcError
from vbc_source.lakes.current_rows import select_current
from vbc_source.warehouse.queries import LoadedTables

pytestmark = pytest.mark.slow  # each needs a lake of several loads

NOW = 1_750_248_000.0  # Wednesday, 18 June 2025, 12:00 UTC
LAKE = Target("vbc", "filesystem", "vbc_data")
PROOFS = "SELECT count(*), count(DISTINCT scanned_at), sum(rows_read) FROM scan_windows"


class Killed(BaseException):
    """Stands for `kill -9`: nothing of ours catches it."""


def make_gateway() -> Gateway:
    return Gateway(clock=lambda: NOW, recordings=60, users=3, user_recordings=10)


def configure(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"SOURCES__VBC__CREDENTIALS__{name.upper()}", value)
    monkeypatch.setenv("SOURCES__VBC__BASE_URL", url)
    monkeypatch.setenv("SOURCES__VBC__START_DATE", "2025-05-01")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__KEEP_HOURS", "0")


def load_story(gateway: Gateway, target: Target, loads: int = 4) -> None:
    """Load several times: changed recordings, lists that become shorter or empty, new columns."""
    for number in range(4):
        gateway.company.add(
            id=9_000_000 + number, start=f"2025-06-17T20:00:0{number}+0000", extensions=[1, 2, number + 3]
        )
    sync(target)
    for number in range(loads - 1):
        gateway.company.change(9_000_000 + number % 4, cnam=f"name {number}", extensions=[7] * (number % 3))
        gateway.company.add(id=9_100_000 + number, start="2025-06-18T01:00:00+0000", mood=f"m{number}")
        sync(target)


@pytest.fixture(scope="module")
def loaded_lake(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gateway, Path]:
    """A folder of plain files after a few loads; tests get copies of it."""
    folder = tmp_path_factory.mktemp("lake")
    gateway = stage.show(make_gateway())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(folder / "lake"))
        configure(patch, stage.base_url)
        load_story(gateway, LAKE)
    return gateway, folder / "lake"


@pytest.fixture
def lake(
    stage: Stage, loaded_lake: tuple[Gateway, Path], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    gateway, kept = loaded_lake
    stage.show(gateway)
    configure(monkeypatch, stage.base_url)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    shutil.copytree(kept, own_folder / "lake")
    open_target("vbc", LAKE.destination, LAKE.dataset).sync_destination()  # this folder has no pipeline yet
    return own_folder / "lake" / "vbc_data"


def read_rows() -> dict[str, Any]:
    """The rows that count, through the views of the documentation, and the sums of the proofs."""
    loaded = LoadedTables(LAKE)
    warehouse = Warehouse("parquet", "filesystem", dataset="vbc_data")
    loads = loaded.query("SELECT count(*), count(DISTINCT load_id) FROM _dlt_loads")
    return {**digest(warehouse.read()), "proofs": loaded.query(PROOFS), "loads": loads}


@pytest.mark.parametrize(
    "name",
    ["parquet", *(pytest.param(name, marks=pytest.mark.destinations) for name in ("s3", "delta", "iceberg"))],
)
def test_a_compacted_lake_holds_the_same_rows_in_fewer_files(
    name: str,
    stage: Stage,
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
) -> None:
    gateway = stage.show(make_gateway())
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        configure(monkeypatch, stage.base_url)
        load_story(gateway, warehouse.target, loads=4)
        expected = digest(warehouse.read())
        loaded = LoadedTables(warehouse.target)
        proofs = loaded.query(PROOFS)
        result = compact(warehouse.target)
        assert (result.files > 8, result.skipped) == (True, ())
        assert digest(warehouse.read()) == expected
        assert LoadedTables(warehouse.target).query(PROOFS) == proofs
        counts = "SELECT count(id), count(DISTINCT id) FROM company_recordings"
        ((copies, distinct),) = loaded.query(counts)
        assert copies == distinct
        if not warehouse.table_format:  # the others remove old versions each time
            assert compact(warehouse.target).files == 0
        gateway.company.add(id=9_200_000, start="2025-06-18T02:00:00+0000")
        sync(warehouse.target)
        ids = {row["id"] for row in warehouse.read()["company_recordings"]}
        assert (len(ids), 9_200_000 in ids) == (distinct + 1, True)


def test_a_month_without_new_rows_is_left_alone(
    lake: Path, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    compact(LAKE)
    files = {path.name.split(".")[1]: path.name for path in (lake / "company_recordings").iterdir()}
    assert {"2025-05", "2025-06"} <= set(files)
    stage.current.company.add(id=9_200_000, start="2025-06-18T02:00:00+0000")
    sync(LAKE)
    stage.current.company.add(id=9_200_001, start="2025-06-18T02:00:00+0000")
    sync(LAKE)
    assert "the destination lacks" not in caplog.text  # state goes on: the loads are still known
    compact(LAKE)
    after = {path.name.split(".")[1]: path.name for path in (lake / "company_recordings").iterdir()}
    assert after["2025-05"] == files["2025-05"]
    assert after["2025-06"] != files["2025-06"]


def test_the_documented_query_reads_compacted_files(lake: Path) -> None:
    from test_destinations import documented_query

    with duckdb.connect() as connection:
        before = connection.execute(documented_query()).fetchall()
        compact(LAKE)
        after = connection.execute(documented_query()).fetchall()
    assert sorted(map(str, after)) == sorted(map(str, before))


def kill_at(number: int, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Kill before the change of that number, of a file in the lake; gives whether it came to that."""
    left = [number]

    def make(change: Any) -> Any:
        def count(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return change(*args, **kwargs)

        return count

    for name in ("pipe_file", "mv", "rm_file"):
        patch.setattr(LocalFileSystem, name, make(getattr(LocalFileSystem, name)))
    return lambda: left[0] == 0


def test_a_kill_at_any_moment_neither_loses_nor_repeats_a_row(lake: Path, own_folder: Path) -> None:
    expected = read_rows()
    shutil.copytree(lake, own_folder / "kept")
    for moment in range(0, 500, 5):
        shutil.rmtree(lake)
        shutil.copytree(own_folder / "kept", lake)
        with pytest.MonkeyPatch.context() as patch:
            was_killed = kill_at(moment, patch)
            with suppress(Killed):
                compact(LAKE)
        if not was_killed():
            break
        assert read_rows() == expected, moment
        compact(LAKE)
        assert read_rows() == expected, moment
        assert not list((lake / "_vbc_compaction").iterdir())
    assert moment > 30


def test_files_of_a_load_that_is_not_complete_are_left_alone(lake: Path) -> None:
    newest = max((lake / "_dlt_loads").iterdir())
    load = newest.stem.partition("__")[2]
    newest.unlink()
    compact(LAKE)
    assert [path.name for path in (lake / "company_recordings").glob(f"{load}.*.parquet")]


def test_sync_compacts_after_so_many_loads(
    stage: Stage, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = stage.show(Gateway(clock=lambda: NOW, recordings=20, users=0))
    configure(monkeypatch, stage.base_url)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    monkeypatch.setenv("DESTINATION__FILESYSTEM__COMPACT_EVERY", "3")
    load_story(gateway, LAKE, loads=3)
    loads = own_folder / "lake" / "vbc_data" / "_dlt_loads"
    assert len(list(loads.iterdir())) == 1
    sync(LAKE)
    assert len(list(loads.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *[
            ("compact_every", number, "compact_every must be a number")
            for number in ("often", "-1", "nan", "inf")
        ],
        ("keep_hours", "a day", "keep_hours must be a number from 0 to 1,000,000, not 'a day'"),
        ("compact_evry", "3", "there is no setting compact_evry in .*: did you mean compact_every"),
        ("keep_hour", "3", "did you mean keep_hours"),
        ("tableformat", "delta", "did you mean table_format"),
    ],
)
def test_a_misspelt_setting_of_a_lake_is_refused_before_a_request_is_sent(
    stage: Stage, own_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    gateway = stage.show(Gateway(clock=lambda: NOW, recordings=2, users=0))
    configure(monkeypatch, stage.base_url)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    monkeypatch.setenv(f"DESTINATION__FILESYSTEM__{name.upper()}", value)
    with pytest.raises(SettingsError, match=message):
        sync(LAKE)
    assert gateway.requests == []
    assert not (own_folder / "lake").exists()


def test_a_database_needs_no_compaction() -> None:
    with pytest.raises(UsageError, match="duckdb holds no files"):
        compact(Target())


def test_a_compaction_of_another_machine_is_left_to_end(lake: Path) -> None:
    note = {"id": "1", "host": "elsewhere", "is_written": False, "added": [], "replaced": []}
    now = datetime.now(timezone.utc)
    place = lake / "_vbc_compaction" / "company_recordings.json"
    place.parent.mkdir()
    place.write_text(json.dumps({**note, "began_at": now.isoformat()}))
    with pytest.raises(VbcError, match="table company_recordings is being compacted on elsewhere since"):
        compact(LAKE)
    place.write_text(json.dumps({**note, "began_at": (now - timedelta(hours=2)).isoformat()}))
    assert compact(LAKE).files > 0


def test_rows_without_a_column_that_is_required_now_are_kept() -> None:
    """As files of earlier versions have them."""
    newer = pa.schema(
        [pa.field("id", pa.int64(), nullable=False), pa.field("version", pa.int64(), nullable=False)]
    )
    parts = [pa.table({"id": [1]}), pa.table({"id": [2], "version": [1]}, newer)]
    rows = pa.concat_tables(parts, promote_options="default")
    key = {name: {"primary_key": True} for name in newer.names}
    assert sorted(row["id"] for row in select_current(rows, key).to_pylist()) == [1, 2]
