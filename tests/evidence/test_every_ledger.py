"""In each ledger of the chain, a row that was changed, removed, added or reordered is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from archiving import configure

from vbc_source import CustodyResult, Target, verify_custody
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_if_new
from vbc_source.audio.ledger import VERSION_KEY
from vbc_source.evidence.chain import list_pipelines, read_ledger
from vbc_source.load.ledgers import load_rows
from vbc_source.load.ledgers.custody import LEDGER_ACTIONS
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.recordings import RECORDING_KEY
from vbc_source.retention.holds import HOLD_KEY
from vbc_source.schema.erased import ERASED_KEY, ERASURE_KEY
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.queries import LoadedTables

NOW = datetime(2025, 6, 1, 12, 30, 15, 123456, tzinfo=timezone.utc)
ROWS = 7
KEYS: dict[str, tuple[str, ...]] = {  # of ledgers whose rows are replaced; the others are appended to
    "recording_audio": VERSION_KEY,
    "audio_checks": (),
    "recording_deletions": (),
    "recording_holds": HOLD_KEY,
    "erasures": ERASURE_KEY,
    "erased_recordings": ERASED_KEY,
    "recording_tombstones": RECORDING_KEY,
}
NAMES = {"erasures": "erasure_id", "erased_recordings": "row_id"}  # what tells rows apart, else recording_id


def make_row(ledger: str, number: int) -> dict[str, Any]:
    if ledger == "erasures":
        return {"erasure_id": str(number), "status": "done", "began_at": NOW}
    if ledger == "erased_recordings":
        return {"account_id": "549825", "resource": "call_logs", "user_id": "", "row_id": str(number)}
    key = {"account_id": "549825", "recording_type": "company", "user_id": "", "recording_id": number}
    return {**key, "version": 1, "held_at": NOW, "evidence": "404"}


FirstEvents = dict[str, tuple[str, int]]


# one that is replaced and one that is appended to every day, all of them in the slow tests
FEW = ("recording_audio", "audio_checks", "recording_tombstones")
LAST_OF_FEW = "audio_checks WHERE recording_id"


@pytest.fixture(
    scope="module",
    params=[pytest.param(FEW, id="few"), pytest.param((*KEYS,), id="all", marks=pytest.mark.slow)],
)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FirstEvents]:
    """A folder with rows in ledgers, and chain and number of the first event of each."""
    folder = tmp_path_factory.mktemp("ledgers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        return folder, load_ledgers(folder, request.param)


def load_ledgers(folder: Path, names: Sequence[str]) -> FirstEvents:
    assert KEYS.keys() == LEDGER_ACTIONS.keys()
    first = {}
    for name, schema in (("audio", AUDIO_SCHEMA), ("verify", VERIFY_SCHEMA)):
        with hold_pipeline(Target().ledgers(name)) as pipeline:
            ledgers = [
                ledger for ledger in names if (ledger == "recording_tombstones") == (schema == VERIFY_SCHEMA)
            ]
            for place, ledger in enumerate(ledgers):
                rows = pa.Table.from_pylist([make_row(ledger, number) for number in range(ROWS)])
                load_rows(pipeline, ledger, rows, "merge" if KEYS[ledger] else "append", KEYS[ledger], schema)
                first[ledger] = (pipeline.pipeline_name, 1 + ROWS * place)
            store_if_new(Bucket(str(folder / "bucket")), pipeline, None)
    return first


@pytest.fixture
def first_events(
    loaded: tuple[Path, FirstEvents], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> FirstEvents:
    """Put a copy of the loaded folder into this test's; return the first events."""
    for name, value in configure("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    folder, first = loaded
    shutil.copytree(folder, own_folder, dirs_exist_ok=True)
    return first


def verify(folder: Path) -> CustodyResult:
    return verify_custody(bucket_url=str(folder / "bucket"))


def damage(ledger: str, chain: str, first: int) -> None:
    """Change the second row, remove the third, add one, exchange events 4 and 5, and remove event 6."""
    name, key = NAMES.get(ledger, "recording_id"), f"chain = '{chain}' AND sequence"
    statements = (
        f"UPDATE {ledger} SET actor_user = 'mallory' WHERE {name} = '1'",
        f"DELETE FROM {ledger} WHERE {name} = '2'",
        f"INSERT INTO {ledger} SELECT * REPLACE ('99' AS {name}) FROM {ledger} WHERE {name} = '0'",
        f"UPDATE custody SET sequence = {2 * first + 7} - sequence WHERE {key} IN ({first + 3}, {first + 4})",
        f"DELETE FROM custody WHERE {key} = {first + 5}",
    )
    with closing(duckdb.connect("vbc.duckdb")) as connection:
        connection.execute(f"USE vbc_data; {'; '.join(statements)}")


def name_row(ledger: str, number: int) -> str:
    row = {**make_row(ledger, number), "held_at": "2025-06-01T12:30:15.123456+00:00"}
    if not KEYS[ledger]:
        return f"549825 company {number}" if number else "549825 company"
    key = {name: row[name] for name in KEYS[ledger]}
    return json.dumps(key, sort_keys=True, separators=(",", ":"))


def expect(ledger: str, chain: str, first: int) -> set[str]:
    def event(number: int) -> str:
        return f"event {first + number} of chain {chain}"

    older = "is missing, or is an older one than that of"
    changed = f"the row {name_row(ledger, 1)} of {ledger}"
    found = {
        f"the row {name_row(ledger, 2)} of {ledger} {older} {event(2)}",
        f"the row {name_row(ledger, 99)} of {ledger} has no event",
        f"{event(3)} was changed or moved: its hash is not that of its content",
        f"{event(4)} was changed or moved: its hash is not that of its content",
        f"{event(5)} is missing",
        f"the row {name_row(ledger, 5)} of {ledger} has no event",
    }
    if KEYS[ledger]:
        return {*found, f"{changed} was changed after {event(1)}"}
    return {*found, f"{changed} has no event", f"{changed} {older} {event(1)}"}


def test_damage_of_each_ledger_is_named_and_nothing_else(own_folder: Path, first_events: FirstEvents) -> None:
    whole = verify(own_folder)
    assert (whole.ok, whole.problems, whole.heads) == (True, (), 2)
    count = len(first_events) * ROWS
    assert (whole.events, whole.rows, whole.unchained) == (count, count, 0)
    for ledger, (chain, first) in first_events.items():
        damage(ledger, chain, first)
    found = verify(own_folder)
    expected = set().union(*(expect(ledger, *place) for ledger, place in first_events.items()))
    assert set(found.problems) == expected
    assert len(found.problems) == len(expected)


def test_a_chain_that_is_cut_off_is_named_by_the_head_in_the_bucket(
    own_folder: Path, first_events: FirstEvents
) -> None:
    with closing(duckdb.connect("vbc.duckdb")) as connection:
        connection.execute("USE vbc_data")
        for chain in list_pipelines(Target()):
            connection.execute(
                f"DELETE FROM custody WHERE chain = '{chain}' AND sequence = "
                f"(SELECT max(sequence) FROM custody WHERE chain = '{chain}')"
            )
        connection.execute("DELETE FROM recording_tombstones WHERE recording_id = 6")
        last = "erased_recordings WHERE row_id" if "erased_recordings" in first_events else LAST_OF_FEW
        connection.execute(f"DELETE FROM {last} = '6'")
    problems = verify(own_folder).problems
    assert [problem.partition(" is not as the bucket has it")[0] for problem in problems] == [
        f"event {ROWS * (len(first_events) - 1)} of chain vbc_audio",
        f"event {ROWS} of chain vbc_verify",
    ]


def test_a_row_without_an_actor_is_older_than_the_chain_or_named(
    own_folder: Path, first_events: FirstEvents
) -> None:
    """Whoever adds a row by hand writes no actor; rows that are older than the chain have none either."""
    assert "recording_audio" in first_events
    with closing(duckdb.connect("vbc.duckdb")) as connection:
        for number, moment in ((77, "'2020-01-01'"), (78, "now()")):
            connection.execute(
                f"INSERT INTO vbc_data.recording_audio SELECT * REPLACE ({number} AS recording_id, "
                f"NULL AS actor_version, CAST({moment} AS TIMESTAMPTZ) AS held_at) "
                "FROM vbc_data.recording_audio WHERE recording_id = 0"
            )
    found = verify(own_folder)
    row = f"the row {name_row('recording_audio', 78)} of recording_audio"
    assert (found.ok, found.problems, found.unchained) == (False, (f"{row} has no event",), 1)


def test_a_long_ledger_is_read_whole_whatever_sign_an_id_has(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vbc_source.evidence.chain.PAGE_ROWS", 2)
    ids = [-4, -3, -2, -1, 0, 1, 5]
    rows = pa.Table.from_pylist([{**make_row("audio_checks", 1), "recording_id": id_} for id_ in ids])
    with hold_pipeline(Target().ledgers("audio")) as pipeline:
        load_rows(pipeline, "audio_checks", rows, "append", (), AUDIO_SCHEMA)
    tables = LoadedTables(Target(), (AUDIO_SCHEMA,))
    tables.refresh()
    read = read_ledger(tables, "audio_checks")
    assert sorted(row["recording_id"] for row in read) == ids
