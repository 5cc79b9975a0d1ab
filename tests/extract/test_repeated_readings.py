"""Readings that bring nothing new share two rows of `scan_windows`, and prove no less than rows of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from expected_rows import ago
from extraction import Extraction
from extraction import load as extract
from loading import load, open_target, query, read_database, run_vbc, still_gateway

from vbc_source.config import VbcConfig
from vbc_source.emulator import Gateway
from vbc_source.extract.destination_lookup import StoredReading
from vbc_source.extract.reading.lists import ListOwner
from vbc_source.extract.scan_windows import choose_row, name_list, name_rows
from vbc_source.load.destinations import Target
from vbc_source.warehouse.completeness import read_progress, read_proven_spans
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window

Serve = Callable[[Gateway], str]

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def stored(id_: str, hours: float, *, complete: bool = True) -> StoredReading:
    return StoredReading(id_, complete, NOON + hours * HOUR, 1, 1, 0)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([], "x-a"),
        ([stored("x-a", 1)], "x-b"),
        ([stored("x-a", 1), stored("x-b", 2)], "x-a"),
        ([stored("x-a", 3), stored("x-b", 2)], "x-b"),
        ([stored("x-a", 3, complete=False), stored("x-b", 2)], "x-a"),
        ([stored("x-a", 1), stored("x-b", 2, complete=False)], "x-b"),
        ([stored("x-a", 1, complete=False)], "x-b"),
    ],
)
def test_the_newest_proof_of_a_complete_load_is_never_replaced(
    rows: list[StoredReading], chosen: str
) -> None:
    assert choose_row("x", {row.id: row for row in rows}).id == chosen


def test_a_row_is_that_of_a_list_a_selection_and_a_first_second() -> None:
    window, owner = Window(NOON, NOON + HOUR), ListOwner("1", "2")
    names = {
        name_list("user_recordings", owner, window, ""),
        name_list("user_recordings", owner, Window(NOON, NOON + 9 * HOUR), ""),
        name_list("user_recordings", ListOwner("1", "3"), window, ""),
        name_list("company_recordings", owner, window, ""),
        name_list("user_recordings", owner, window, "a filter"),
        name_list("user_recordings", owner, Window(NOON + HOUR, NOON + HOUR), ""),
    }
    assert len(names) == 5
    assert len({row for name in names for row in name_rows(name)}) == 10


def test_idle_runs_add_no_row_and_a_recording_keeps_the_reading_that_brought_it(serve: Serve) -> None:
    gateway = still_gateway(users=3)
    listed, never = [row["id"] for row in gateway.users.all()][1:]
    assert never
    gateway.users.recordings(listed).add(id=1, start=ago(days=3), duration=1000)
    url, extraction = serve(gateway), Extraction()

    def run() -> int:
        extract(extraction, url, "company_recordings", "user_recordings")
        return len(extraction.tables["scan_windows"])

    counts = [run() for _ in range(6)]
    assert counts == [4, 8, 12, 12, 12, 12]
    gateway.users.recordings(listed).add(id=2, start=ago(days=4), duration=1000)  # behind the cursor
    assert [run() for _ in range(3)] == [13, 13, 13]
    (brought,) = [row for row in extraction.tables["scan_windows"] if row["reading_id"].endswith("-7")]
    assert (brought["rows_loaded"], brought["readings"]) == (2, 1)
    assert sum(row["readings"] for row in extraction.tables["scan_windows"]) == 4 * 9
    extraction.answers = False  # rows stand beside the others, where the destination does not tell
    assert run() == 17


@pytest.mark.slow
@pytest.mark.parametrize("faults", [("cap-20",), ("cap-20", "random-order")])
def test_a_lookback_of_several_pages_without_news_is_not_loaded_again(
    serve: Serve, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    gateway = still_gateway(faults=faults)
    for number in range(70):
        gateway.company.add(id=number + 1, start=ago(minutes=40 * number + 9), duration=1000)
    url = serve(gateway)

    def count_loaded() -> int:
        done = run_vbc(tmp_path, url, "sync", "--resources", "company_recordings", "--json")
        return int(json.loads(done.stdout.splitlines()[-1])["loaded"])

    assert [count_loaded() for _ in range(4)][2:] == [0, 0]
    gateway.company.add(id=71, start=ago(hours=30), duration=1000)  # behind the cursor
    assert count_loaded() > 0
    assert count_loaded() == 0
    database = tmp_path / "vbc.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM vbc_data.company_recordings WHERE id IN (3, 60)")
    assert count_loaded() > 0
    ids = read_database(tmp_path, "SELECT id FROM vbc_data.company_recordings ORDER BY id")
    assert [id_ for (id_,) in ids] == list(range(1, 72))


@pytest.mark.slow
def test_a_load_that_is_not_complete_leaves_the_proof_before_it(serve: Serve) -> None:
    gateway = still_gateway(users=1)
    gateway.company.add(id=1, start=ago(days=9), duration=1000)
    url, config = serve(gateway), VbcConfig.from_values(lookback_hours=0)
    target = Target()

    def read() -> tuple[datetime, datetime, int, int]:
        loaded = LoadedTables(target)
        ((spans),) = read_proven_spans(loaded, config).values()
        (progress,) = read_progress(loaded, config)
        return spans[-1].end, progress.read_at, progress.windows, len(spans)

    for _ in range(4):
        load(pipeline := open_target(), url, lookback_hours=0)
    before = read()
    assert before[2:] == (4, 1)
    load(pipeline, url, lookback_hours=0)
    assert read()[2] == 5
    with pipeline.sql_client() as client:  # as a kill leaves it at the very end
        client.execute_sql("DELETE FROM _dlt_loads WHERE load_id = (SELECT max(load_id) FROM _dlt_loads)")
    assert read()[0] == before[0]
    load(open_target(), url, lookback_hours=0)
    end, _, windows, spans = read()
    assert (end > before[0], windows, spans) == (True, 6, 1)
    rows = query(pipeline, "SELECT count(*) FROM scan_windows")
    assert rows == [(3,)]
