"""The chain in databases and lakes, by several machines at once, and after kills."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archiving import configure
from kills import choose_moments, count_kills
from warehouses import Warehouse, set_up

from vbc_source import CustodyResult, verify_custody
from vbc_source.audio.ledger import COLUMNS, LEDGER, VERSION_KEY
from vbc_source.load.ledgers import load_rows, make_schema
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.recordings import RECORDING_KEY
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA

NOW = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=timezone.utc)
KILLS = count_kills(8)
# loads ledger rows one by one, and says so; its arguments are the first and the number of them
LOADS = """
import sys
from test_custody_everywhere import load
from vbc_source.load.destinations import Target
first, count, destination, dataset = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
for number in range(first, first + count):
    print(number, flush=True)
    load(Target("vbc", destination, dataset), number, number % 3)
"""


def make_row(number: int, status: str = "failed") -> dict[str, Any]:
    """A row with all that a destination may change: empty texts, nulls, instants with microseconds."""
    return {
        **dict.fromkeys(COLUMNS),
        "account_id": "549825",
        "recording_type": "company",
        "user_id": "",
        "recording_id": number,
        "version": 1,
        "status": status,
        "attempts": 1,
        "error": "größer",
        "fetched_at": NOW,
    }


def load(target: Any, *numbers: int, status: str = "failed") -> None:
    rows = [make_row(number, status) for number in numbers]
    with hold_pipeline(target.ledgers("audio")) as pipeline:
        table = pa.Table.from_pylist(rows, make_schema(COLUMNS, VERSION_KEY))
        load_rows(pipeline, LEDGER, table, "merge", VERSION_KEY)
        load_rows(
            pipeline, "recording_deletions", table.select(["account_id", "recording_id", "status"]), "append"
        )


def load_tombstones(target: Any, *numbers: int) -> None:
    """Load rows with the other pipeline that has a chain."""
    rows = [{name: make_row(number)[name] for name in (*RECORDING_KEY, "error")} for number in numbers]
    with hold_pipeline(target.ledgers("verify")) as pipeline:
        table = pa.Table.from_pylist(rows)
        load_rows(pipeline, "recording_tombstones", table, "merge", RECORDING_KEY, VERIFY_SCHEMA)


def load_unchained(target: Any, *numbers: int) -> None:
    """Load rows as versions without a chain did."""
    table = pa.Table.from_pylist(list(map(make_row, numbers)), make_schema(COLUMNS, VERSION_KEY))

    @dlt.source(name=AUDIO_SCHEMA)
    def ledgers() -> Any:
        return dlt.resource([table], name=LEDGER, primary_key=VERSION_KEY, write_disposition="merge")

    with hold_pipeline(target.ledgers("audio")) as pipeline:
        pipeline.run(ledgers())


def verify(warehouse: Warehouse) -> CustodyResult:
    return verify_custody(warehouse.target)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in configure("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("settings", "own_folder")
@pytest.mark.parametrize("name", ["duckdb", "postgres", "parquet", "delta"])
def test_the_chain_is_the_same_everywhere_and_damage_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with set_up(name, monkeypatch, dict) as warehouse:
        load_tombstones(warehouse.target, 1, 2)  # before there is another ledger
        load_unchained(warehouse.target, 8, 9)
        load(warehouse.target, 1, 2, 3, 9)
        load(warehouse.target, 2, 4, status="stored")
        load_tombstones(warehouse.target, 2)
        whole = verify(warehouse)
        unchained = 1 if name != "parquet" else 2  # there, the row stays beside the one that replaced it
        assert (whole.ok, whole.events, whole.unchained, whole.problems) == (True, 15, unchained, ())
        if warehouse.destination == "filesystem":
            damage_lake(name)
        else:
            with warehouse.open().sql_client() as client:
                events, ledger = map(client.make_qualified_table_name, ("custody", LEDGER))
                client.execute_sql(f"UPDATE {events} SET actor_user = 'mallory' WHERE sequence = 5")
                client.execute_sql(f"UPDATE {ledger} SET error = NULL WHERE recording_id = 4")
                client.execute_sql(f"DELETE FROM {ledger} WHERE recording_id = 1")
        problems = "\n".join(verify(warehouse).problems)
        assert "event 5 of chain vbc_audio was changed or moved" in problems
        if warehouse.destination != "filesystem":
            assert '"recording_id":1,"recording_type":"company","user_id":"","version":1} of' in problems
            assert '"recording_id":4,"recording_type":"company","user_id":"","version":1} of' in problems
            assert len(problems.splitlines()) == 3


def damage_lake(table_format: str) -> None:
    """Change one event in the files."""
    (folder,) = Path("lake").glob("*/custody")
    if table_format == "delta":
        from deltalake import DeltaTable

        DeltaTable(folder).update(predicate="sequence = 5", updates={"actor_user": "'mallory'"})
        return
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        actors = ["mallory" if row["sequence"] == 5 else row["actor_user"] for row in table.to_pylist()]
        place = table.schema.get_field_index("actor_user")
        pq.write_table(table.set_column(place, table.schema.field(place), pa.array(actors)), path)


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_two_machines_fork_the_chain_of_a_lake_and_it_is_named(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with set_up("parquet", monkeypatch, dict) as warehouse:
        load(warehouse.target, 1)
        before = {path: path.read_bytes() for path in Path("lake").rglob("*") if path.is_file()}
        load(warehouse.target, 2)
        added = {path: path.read_bytes() for path in Path("lake").rglob("*") if path.is_file()}
        for path in added.keys() - before.keys():
            path.unlink()  # as the other machine finds it, which loads at the same time
        monkeypatch.setenv("DLT_DATA_DIR", str(own_folder / "other"))
        load(warehouse.target, 3)
        for path, body in added.items():
            path.write_bytes(body)
        load(warehouse.target, 4)
        found = verify(warehouse)
    assert list(found.problems) == [
        f"event {number} of chain vbc_audio is there more than once: the chain has a fork"
        for number in (3, 4)
    ]
    assert found.events == 8


@pytest.mark.slow
@pytest.mark.usefixtures("settings")
def test_two_machines_share_the_chain_in_postgres(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with set_up("postgres", monkeypatch, dict) as warehouse:
        processes = [
            start(first, 3, warehouse, DLT_DATA_DIR=str(own_folder / str(first))) for first in (100, 200)
        ]
        assert [process.communicate(timeout=200)[0].count("\n") for process in processes] == [3, 3]
        found = verify(warehouse)
        assert (found.ok, found.events, found.problems) == (True, 2 * 3 * 2 * 2, ())


def start(first: int, count: int, warehouse: Warehouse, **settings: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path, **settings}
    command = [sys.executable, "-c", LOADS, str(first), str(count), warehouse.destination, warehouse.dataset]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.usefixtures("settings", "own_folder")
def test_killed_loads_leave_the_chain_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    random = choose_moments(7)
    with set_up("duckdb", monkeypatch, dict) as warehouse:
        load(warehouse.target, 0)
        for kill in range(KILLS):
            with start(1 + 100 * kill, 100, warehouse) as process:
                assert process.stdout
                for _ in range(1 + kill % 2):
                    process.stdout.readline()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(random.uniform(0.0, 1.5))  # at any moment of a load
                process.kill()
        load(warehouse.target, 1000)
        found = verify(warehouse)
        assert (found.ok, found.problems) == (True, ())
        assert found.events > found.rows > 2 * KILLS // 2
