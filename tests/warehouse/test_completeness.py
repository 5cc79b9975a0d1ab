"""Which spans are proven complete: the rule, over rows of `scan_windows` in a real database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import dlt
import duckdb
import pyarrow as pa
import pytest
from completeness_cases import CASES, LOADS, LOST_LOAD, NOON, Case, hours
from loading import open_target

from vbc_source.config import VbcConfig
from vbc_source.load.destinations import Target
from vbc_source.warehouse.completeness import (
    RecordingList,
    find_first_start,
    find_gaps,
    find_unproven,
    is_proven,
    read_progress,
    read_proven_spans,
)
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import SECOND, Window

COMPANY, USER = RecordingList("company_recordings", "549825"), RecordingList("user_recordings", "549825", "7")


def load(
    rows: Sequence[dict[str, object]], starts: Mapping[str, Sequence[datetime]] | None = None
) -> LoadedTables:
    """Load rows of `scan_windows`, the loads that brought them, and recordings."""
    pipeline = open_target()
    columns = {name: {"data_type": "text"} for name in ("user_id", "filters")}
    columns |= {"rows_loaded": {"data_type": "bigint"}, "is_proven": {"data_type": "bool"}}
    recordings = [
        {"account_id": account, "id": id_, "start": start}
        for account, moments in (starts or {}).items()
        for id_, start in enumerate(moments)
    ]
    if recordings:
        pipeline.run(recordings, table_name="company_recordings", schema=dlt.Schema("vbc"))
    pipeline.run(
        dlt.resource(rows, name="scan_windows", columns=columns),  # type: ignore[arg-type]
        schema=dlt.Schema("vbc"),
    )
    with pipeline.sql_client() as client:
        client.execute_sql("UPDATE scan_windows SET _dlt_load_id = load")
        for load_id, status in LOADS.items():
            row = f"('{load_id}', 'vbc', {status}, now())"
            client.execute_sql(
                f"INSERT INTO _dlt_loads (load_id, schema_name, status, inserted_at) VALUES {row}"
            )
    return LoadedTables(Target())


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedTables]:
    """The tables of a database with every case, each as an account of its own."""
    folder = tmp_path_factory.mktemp("cases")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        rows = [{**row, "account_id": case.name} for case in CASES for row in case.rows]
        loaded = load(rows, {case.name: case.recordings for case in CASES})
    with duckdb.connect(str(folder / "vbc.duckdb")):  # opening it for each case would take longer
        yield loaded


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_proof_counts_by_the_rule(case: Case, all_cases: LoadedTables) -> None:
    config = VbcConfig.from_values(lookback_hours=case.lookback_hours)
    proven = read_proven_spans(all_cases, config)
    assert proven.get(RecordingList("company_recordings", case.name), []) == list(case.proven)
    assert set(proven) <= {RecordingList("company_recordings", case.name) for case in CASES}


def test_proofs_with_filters_count_for_the_same_filters() -> None:
    config = VbcConfig.from_values(filters={"call_direction": "INBOUND"})
    case = next(case for case in CASES if case.name == "without filters")
    row = {**case.rows[0], "filters": config.filters_of("company_recordings").label}
    loaded = load([row])
    assert list(read_proven_spans(loaded, config)) == [COMPANY]
    assert read_proven_spans(loaded, VbcConfig.from_values(filters={"call_direction": "OUTBOUND"})) == {}


def test_progress_is_read_of_complete_loads_alone_whatever_the_lookback() -> None:
    case = next(case for case in CASES if case.name == "inside the lookback")
    lost = {**case.rows[0], "window_end": NOON + timedelta(days=99), "load": LOST_LOAD}
    loaded = load([*case.rows, lost])
    (progress,) = read_progress(loaded, VbcConfig.from_values())
    assert (progress.list, progress.read_until, progress.windows) == (COMPANY, case.rows[0]["window_end"], 1)
    assert find_first_start(loaded) == case.rows[0]["window_start"]


def test_windows_that_are_not_proven_are_found_by_resource() -> None:
    case = next(case for case in CASES if case.name == "two that touch")
    loaded, config = load(case.rows), VbcConfig.from_values(user_ids=[])
    windows = [hours(0, 20), hours(20, 40)]
    resources = ["company_recordings", "user_recordings"]
    assert find_unproven(loaded, config, windows, resources) == [(windows[1], ["company_recordings"])]


@pytest.mark.parametrize(
    ("spans", "gaps"),
    [
        ([], [hours(0, 10)]),
        ([hours(0, 10)], []),
        ([hours(-5, 20)], []),
        ([hours(0, 4), hours(5, 10)], [hours(4, 5)]),
        ([hours(2, 9)], [hours(0, 2), hours(9, 10)]),
        ([hours(0, 4), Window(hours(4, 5).start + SECOND, hours(4, 10).end)], []),
    ],
)
def test_gaps_are_what_proven_spans_leave(spans: list[Window], gaps: list[Window]) -> None:
    found = find_gaps({COMPANY: spans}, [COMPANY], hours(0, 10))
    assert [Window(gap.start, gap.end) for gap in found] == gaps


def test_a_window_is_proven_when_each_of_its_lists_is() -> None:
    window, proven = hours(0, 10), {COMPANY: [hours(0, 10)], USER: [hours(0, 5)]}
    assert is_proven(window, [COMPANY], proven)
    assert is_proven(window, [], proven)
    assert not is_proven(window, [COMPANY, USER], proven)
    assert not is_proven(window, [RecordingList("company_recordings", "549826")], proven)
    assert not is_proven(window, [RecordingList("user_recordings", "549825", "8")], {USER: [window]})


def test_self_is_any_account_or_user_of_the_same_resource() -> None:
    window = hours(0, 10)
    assert is_proven(window, [RecordingList("company_recordings", "self")], {COMPANY: [window]})
    assert not is_proven(window, [RecordingList("company_recordings", "self")], {USER: [window]})
    assert is_proven(window, [RecordingList("user_recordings", "self", "self")], {USER: [window]})
    assert not is_proven(window, [RecordingList("user_recordings", "self", "8")], {USER: [window]})


def test_without_a_table_of_proofs_nothing_is_proven() -> None:
    open_target().run([{"id": 1}], table_name="rows", schema=dlt.Schema("vbc"))
    loaded, config = LoadedTables(Target()), VbcConfig.from_values()
    assert read_proven_spans(loaded, config) == {}
    assert read_progress(loaded, config) == []
    assert find_first_start(loaded) is None


def test_rows_of_the_first_versions_prove_nothing_until_the_next_sync() -> None:
    """They do not name their load."""
    moment = [NOON]
    row = {"account_id": ["549825"], "resource": ["company_recordings"], "user_id": [""], "rows_read": [1]}
    windows = pa.table({**row, "requests": [1], **dict.fromkeys(("window_start", "window_end"), moment)})
    open_target().run(windows, table_name="scan_windows", schema=dlt.Schema("vbc"))
    loaded = LoadedTables(Target())
    assert read_progress(loaded, VbcConfig()) == []
    assert read_proven_spans(loaded, VbcConfig()) == {}
