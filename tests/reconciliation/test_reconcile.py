"""Every call has its class: what was planted is found, once, and nothing else."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from in_process import run_in_process
from planting import Found, expect_classes, plant_gaps
from verification_cases import configure

from vbc_source import ReconcileResult, archive_audio, read_status, reconcile
from vbc_source.emulator import Emulator, Gateway
from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.reconciliation.spans import find_judged_spans
from vbc_source.warehouse.completeness import RecordingList
from vbc_source.windows import Window, format_instant

NOW = time.time()
GAPS = ("missing", "not_flagged", "unexpected", "length_differs", "without_call")
SETTINGS = {"SOURCES__VBC__CALL_LOGS": "true", "SOURCES__VBC__VBC_TIMEZONE": "America/New_York"}


def ago(days: float) -> str:
    return (datetime.fromtimestamp(NOW, timezone.utc) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Stand:
    """A loaded database, and what it should show."""

    gateway: Gateway
    planted: Found
    folder: Path
    url: str


@pytest.fixture(scope="session")
def loaded_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Load 500 recordings with their calls and planted gaps once."""
    gateway = Gateway(
        clock=lambda: NOW, recordings=500, days=60, users=2, user_recordings=20, call_log_gaps=0
    )
    planted = plant_gaps(gateway, 3, ago(50), ago(4))
    row = next(row for row in gateway.company.all() if row["start"] < ago(52) and row["duration"] > 60_000)
    half = row["duration"] // 2  # a call in two recordings
    gateway.company.change(row["id"], duration=half)
    gateway.company.add(call_id=row["call_id"], start=row["start"], duration=half)
    folder = tmp_path_factory.mktemp("calls")
    with Emulator(gateway) as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
            for name, value in configure(url, **SETTINGS).items():
                patch.setenv(name, value)
            sync()
        yield Stand(gateway, planted, folder, url)


def sync() -> None:
    with hold_pipeline(Target()) as held:
        run_pipeline(held, make_source())


@pytest.fixture
def stand(
    loaded_stand: Stand,
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep_open: Callable[[Path], None],
) -> Stand:
    shutil.copy(loaded_stand.folder / "vbc.duckdb", own_folder / "vbc.duckdb")
    keep_open(own_folder / "vbc.duckdb")
    for name, value in configure(loaded_stand.url, **SETTINGS).items():
        monkeypatch.setenv(name, value)
    return loaded_stand


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(Path("vbc.duckdb").resolve())) as connection:
        connection.execute("USE vbc_data")
        return connection.execute(sql).fetchall()


def classes(result: ReconcileResult) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for gap in result.gaps:
        found.setdefault(gap.kind, set()).add(gap.call_id)
    return found


def expect_judged(gateway: Gateway, result: ReconcileResult) -> Found:
    """Return the calls of each class up to where calls are judged: that depends on when lists were read."""
    assert result.judged_until is not None
    assert ago(3) < format_instant(result.judged_until) < ago(1)
    return expect_classes(gateway, format_instant(result.judged_until))


def test_each_planted_gap_is_found_and_none_is_invented_and_a_second_run_is_silent(stand: Stand) -> None:
    first = reconcile()
    expected = expect_judged(stand.gateway, first)
    found = classes(first)
    assert found == {name: expected[name] for name in GAPS}
    assert {name: found[name] >= calls for name, calls in stand.planted.items()} == dict.fromkeys(GAPS, True)
    assert [len(found[name]) for name in GAPS if name != "not_flagged"] == [3] * 4
    counts = {name: getattr(first, name) for name in (*GAPS, "recorded", "not_answered")}
    settled = {name: len(expected[name]) for name in counts}
    assert counts | {"recorded": 0} == settled | {"recorded": 0, "not_answered": counts["not_answered"]}
    assert counts["recorded"] >= settled["recorded"]
    assert (first.ok, first.new, first.matched_share) == (
        False,
        sum(map(len, found.values())),
        pytest.approx(517 / 520, abs=0.01),
    )
    second = reconcile()
    assert (second.ok, second.new, second.gaps, second.closed) == (True, 0, (), 0)
    assert [getattr(second, name) for name in GAPS] == [getattr(first, name) for name in GAPS]
    assert "0 new gap(s)" in "\n".join(second.summary())
    assert read_status().call_gaps == {name: len(found[name]) for name in GAPS}
    again = reconcile(known=True)
    assert (again.ok, again.gaps, again.new) == (False, first.gaps, 0)


@pytest.mark.slow
def test_a_flag_that_the_gateway_sends_as_text_counts(
    serve: Callable[[Gateway], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(clock=lambda: NOW, recordings=20, days=60, user_recordings=0, users=1, call_log_gaps=0)
    calls = [row["call_id"] for row in gateway.company.all() if row["start"] < ago(3)]
    for call, flag in ((calls[0], "true"), (calls[1], "True"), (calls[2], "false")):
        gateway.call_logs.change(call, recorded=flag)
    missing = next(row for row in gateway.company.all() if row["call_id"] == calls[0])
    gateway.company.delete(missing["id"])
    for name, value in configure(serve(gateway), **SETTINGS).items():
        monkeypatch.setenv(name, value)
    sync()
    found = classes(reconcile())
    assert found["missing"] == {calls[0]}
    assert found["unexpected"] == {calls[2]}


@pytest.mark.slow
def test_the_report_counts_by_account_day_direction_extension_user_and_rule(stand: Stand) -> None:
    result = reconcile()
    assert list(result.by) == ["account", "day", "direction", "extension", "user", "recording rule"]
    for name in ("account", "day", "direction", "extension", "user"):
        assert sum(counts["missing"] for counts in result.by[name].values()) == 3
    # a recording that no log names has its own direction
    assert set(result.by["direction"]) - {"INTRA_PBX"} == {"Inbound", "Outbound"}
    rules = result.by["recording rule"]
    assert sum(counts["recorded"] for counts in rules.values()) > 400
    [(local,)] = query(
        "SELECT strftime(max(\"start\") AT TIME ZONE 'America/New_York', '%Y-%m-%d') FROM call_logs"
    )
    assert max(result.by["day"]) == local
    text = "\n".join(result.summary())
    assert "3 flagged but missing" in text
    assert "by extension" in text


@pytest.mark.slow
def test_the_command_prints_the_documented_json_and_fails_once(stand: Stand, own_folder: Path) -> None:
    runs = [run_in_process("reconcile", "--json", "--since", ago(30), "--until", ago(5)) for _ in range(2)]
    first, second = (json.loads(run.stdout.splitlines()[-1]) for run in runs)
    names = ("calls", "recorded", "missing", "not_flagged", "unexpected", "length_differs", "without_call")
    assert list(first) == ["ok", *names, "matched_share", "gaps"]
    assert set(first["gaps"][0]) == {"account_id", "call_id", "class", "start", "direction"}
    assert 0 < first["missing"] < 3
    assert first["calls"] < 600
    assert [run.exit_code for run in runs] == [1, 0]
    assert [first["ok"], second["ok"], second["gaps"]] == [False, True, []]
    assert {name: first[name] for name in names} == {name: second[name] for name in names}


@pytest.mark.slow
def test_a_gap_that_heals_is_closed_and_opens_again(stand: Stand) -> None:
    reconcile()
    lost = sorted(stand.planted["without_call"])[0]
    query(f"CREATE TABLE kept AS SELECT * FROM company_recordings WHERE call_id = '{lost}'")
    query(f"UPDATE company_recordings SET call_id = 'other' WHERE call_id = '{lost}'")
    renamed = reconcile()
    assert (renamed.new, renamed.closed) == (1, 1)
    query(f"UPDATE company_recordings SET call_id = '{lost}' WHERE call_id = 'other'")
    assert (reconcile().new, reconcile().new) == (1, 0)
    rows = query(
        f"SELECT call_id, closed_at IS NULL FROM call_gaps WHERE call_id IN ('{lost}', 'other') ORDER BY 1"
    )
    assert sorted(rows) == sorted([(lost, True), ("other", False)])


@pytest.mark.slow
def test_what_is_not_proven_or_too_young_is_not_judged(stand: Stand) -> None:
    everything = reconcile(known=True)
    query(f"DELETE FROM company_recordings WHERE \"start\" > '{ago(20)}' AND \"start\" < '{ago(10)}'")
    less = reconcile(known=True)
    # the rows of those proofs are not there, so that their spans are not proven any more
    assert less.missing <= everything.missing
    assert less.waiting > everything.waiting
    young = [row for row in stand.gateway.company.all() if row["start"] > ago(1.9)]
    query(f"DELETE FROM company_recordings WHERE \"start\" > '{ago(1.9)}'")
    assert young
    assert reconcile(known=True).missing <= everything.missing


def test_a_key_that_does_not_hold_invents_no_gap(stand: Stand) -> None:
    query("UPDATE company_recordings SET call_id = 'r' || call_id WHERE id % 5 <> 0")
    result = reconcile()
    assert result.matched_share is not None
    assert (result.ok, result.fits, result.gaps, result.missing) == (False, False, (), 0)
    (line,) = result.summary()
    assert line.startswith(f"The ids do not match: only {result.matched_share:.0%} of the recorded calls")


@pytest.mark.slow
def test_a_recording_without_a_call_id_is_named_by_its_own(stand: Stand) -> None:
    row = next(row for row in stand.gateway.company.all() if ago(40) < row["start"] < ago(10))
    query(f"UPDATE company_recordings SET call_id = NULL WHERE id = {row['id']}")
    assert f"recording {row['id']}" in classes(reconcile())["without_call"]


@pytest.mark.slow
def test_a_file_that_is_half_as_long_as_its_recording_is_found(stand: Stand, own_folder: Path) -> None:
    before = classes(reconcile())["length_differs"]
    archive_audio(bucket_url=str(own_folder / "audio"), limit=8)
    assert reconcile().new == 0  # the files are as long as they should be
    [(recording, call)] = query(
        "SELECT recording_id, call_id FROM recording_audio ORDER BY audio_duration DESC LIMIT 1"
    )
    query(f"UPDATE recording_audio SET audio_duration = audio_duration / 2 WHERE recording_id = {recording}")
    result = reconcile()
    assert (classes(result), call in before) == ({"length_differs": {call}}, False)
    assert result.ok  # it is recorded, and not missing


@pytest.mark.parametrize("setting", ["filters", "call_log_filters"])
def test_filters_that_would_look_like_gaps_are_refused(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    value = {"filters": '{"call_direction": "INBOUND"}', "call_log_filters": '{"direction": "Inbound"}'}[
        setting
    ]
    monkeypatch.setenv(f"SOURCES__VBC__{setting.upper()}", value)
    with pytest.raises(UsageError, match=f"{setting} in .*direction"):
        reconcile()


def test_only_what_is_proven_in_all_lists_of_an_account_is_judged() -> None:
    def day(number: int) -> datetime:
        return datetime(2025, 1, number, tzinfo=timezone.utc)

    def span(first: int, last: int) -> Window:
        return Window(day(first), day(last))

    proven = {
        RecordingList("call_logs", "1"): [span(1, 10), span(12, 20)],
        RecordingList("company_recordings", "1"): [span(3, 14)],
        RecordingList("user_recordings", "1", "17"): [span(1, 5), span(6, 30)],
        RecordingList("user_recordings", "1", "18"): [span(1, 2)],  # a user who left
        RecordingList("call_logs", "2"): [span(1, 30)],
    }
    read = [RecordingList("company_recordings", "1"), RecordingList("user_recordings", "1", "17")]
    assert find_judged_spans(proven, read) == {"1": [span(3, 5), span(6, 10), span(12, 14)], "2": []}
    assert find_judged_spans(proven, [RecordingList("company_recordings", "self")])["2"] == []


def test_without_call_logs_one_line_says_what_to_set(stand: Stand) -> None:
    query("DROP TABLE call_logs")
    with pytest.raises(VbcError, match=r"set call_logs = true in \[sources.vbc\].*Reports API"):
        reconcile()
