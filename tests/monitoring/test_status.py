"""The status of a pipeline: what was loaded, how runs ended, and its three formats."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from expected_rows import only
from ledgers import archive
from loading import environment, open_target, run_vbc, still_gateway, vbc
from prometheus_client.parser import text_string_to_metric_families
from warehouses import NAMES, set_up

from vbc_source.emulator import Gateway
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.load.run_history import KILLED, RunHistory, read_run_history, record_run
from vbc_source.monitoring.overview import StatusReport
from vbc_source.monitoring.prometheus import write_page
from vbc_source.monitoring.status import ListStatus, Status, read_status

Serve = Callable[[Gateway], str]

MAIN = "549825"
NOW = datetime(2025, 6, 18, 12, tzinfo=timezone.utc)


def make_list(**changed: Any) -> ListStatus:
    fields: dict[str, Any] = {
        "account_id": MAIN,
        "resource": "company_recordings",
        "lists": 1,
        "unreadable": 0,
        "last_success": NOW - timedelta(minutes=5),
        "read_until": NOW - timedelta(minutes=6),
        "proven_until": NOW - timedelta(days=2),
        "lag_seconds": 360.0,
        "rows": 80,
        "rows_read": 90,
        "requests": 7,
        "windows": 3,
    }
    return ListStatus(**{**fields, **changed})


def write_metrics(status: Status, problem: str | None = None) -> str:
    """The Prometheus page of one pipeline."""
    return write_page({None: StatusReport(status, problem)})


def make_status(**changed: Any) -> Status:
    fields: dict[str, Any] = {
        "pipeline": "vbc",
        "dataset": "vbc",
        "busy": False,
        "lists": (make_list(),),
        "runs": RunHistory(succeeded=2, failed=1, last_success=1.5),
        "pending_packages": 1,
        "audio": {"stored": 5, "failed": 1},
        "lag_seconds": 360.0,
        "call_gaps": {"missing": 3, "unexpected": 0},
    }
    return Status(**{**fields, **changed})


def parse(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Parse samples with Prometheus' own parser; keyed by name and the labels after the first two."""
    return {(name, tuple(labels.values())[2:]): value for name, labels, value in samples_of(text)}


def samples_of(text: str) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(text)
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "duckdb" else pytest.mark.destinations)
        for name in NAMES
    ],
)
def test_every_destination_has_the_same_status(
    name: str, serve: Serve, monkeypatch: pytest.MonkeyPatch, s3_settings: Callable[[], dict[str, str]]
) -> None:
    gateway = still_gateway(recordings=80, users=4, user_recordings=20)
    users = gateway.users.all()
    gateway.users.forbid(users[1]["id"])
    readable = [user for user in users if user != users[1]]
    held = sum(len(gateway.users.recordings(user["id"])) for user in readable)
    url, now = serve(gateway), datetime.now(timezone.utc)
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        pipeline = warehouse.open()
        assert read_status(warehouse.target, now).lists == ()
        for _ in range(2):
            pipeline.run(only(url, lookback_hours=24 * 60, on_forbidden="skip"))
            gateway.company.change(gateway.company.all()[0]["id"], cnam="CHANGED")
            if any(user["id"] == users[2]["id"] for user in gateway.users.all()):
                gateway.users.remove(users[2]["id"])  # the recordings stay loaded
        gateway.clear()
        archive(pipeline, stored=2, failed=1)
        status = read_status(warehouse.target, now + timedelta(hours=1))
    assert gateway.requests == []
    first, second = status.lists
    assert (first.resource, first.account_id, first.rows, first.lists) == ("company_recordings", MAIN, 80, 1)
    assert (second.resource, second.rows, second.lists, second.unreadable) == ("user_recordings", held, 2, 1)
    assert first.rows_read > 80
    assert (first.requests, first.windows) >= (2, 2)
    # windows end with a whole second
    assert now - timedelta(seconds=1) <= first.read_until <= first.last_success
    assert status.lag_seconds == pytest.approx(3600, abs=60)
    assert status.audio == {"stored": 2, "failed": 1}
    assert status.pending_packages == 0


@pytest.mark.slow
def test_users_who_left_or_may_not_be_read_do_not_add_to_the_lag(serve: Serve) -> None:
    gateway = still_gateway(recordings=5, users=3, user_recordings=6)
    url, pipeline = serve(gateway), open_target("vbc", "duckdb", "vbc_data")
    pipeline.run(only(url))
    leaving, barred = gateway.users.all()[1:3]
    gateway.users.remove(leaving["id"])
    gateway.users.forbid(barred["id"])
    began = datetime.now(timezone.utc)
    pipeline.run(only(url, on_forbidden="skip"))
    (users,) = [item for item in read_status(Target(), began).lists if item.resource == "user_recordings"]
    assert (users.lists, users.unreadable) == (1, 1)
    assert users.read_until >= began - timedelta(seconds=1)


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_lists_that_no_run_has_reached_yet_are_no_success(
    named: bool, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=5, users=8, user_recordings=16)
    ids = [str(user["id"]) for user in gateway.users.all()]
    gateway.users.forbid(int(ids[7]))
    url, pipeline = serve(gateway), open_target("vbc", "duckdb", "vbc_data")
    if named:
        monkeypatch.setenv("SOURCES__VBC__USER_IDS", json.dumps(ids))
    settings = {"on_forbidden": "skip", "user_ids": ids if named else "all"}
    pipeline.run(only(url, max_requests=10, **settings))
    now = datetime.now(timezone.utc)
    status = read_status(Target(), now)
    (users,) = [item for item in status.lists if item.resource == "user_recordings"]
    assert users.lists
    assert users.lists + users.never_read + users.unreadable == 8
    assert "never read completely" in str(status.find_problem(60))
    assert f"{users.never_read} never read;" in "".join(status.summary())
    pipeline.run(only(url, **settings))
    status = read_status(Target(), now)
    (users,) = [item for item in status.lists if item.resource == "user_recordings"]
    assert (users.lists, users.never_read, users.unreadable) == (7, 0, 1)
    assert status.find_problem(60) is None


@pytest.mark.slow
def test_failed_commands_are_counted_until_one_succeeds(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=5)
    url = serve(gateway)
    unloaded = run_vbc(own_folder, url, "status")
    assert unloaded.returncode == 1
    assert unloaded.stderr.splitlines()[-1] == "vbc status: nothing was ever loaded there: run vbc sync"
    gateway.fault("down")
    for _ in range(2):
        assert run_vbc(own_folder, url, "sync", SOURCES__VBC__RETRY_SECONDS="0.2").returncode == 1
    failed = json.loads(run_vbc(own_folder, url, "status", "--format", "json").stdout)
    assert (failed["ok"], failed["lists"], failed["runs"]["failed_in_a_row"]) == (False, [], 2)
    assert "did not answer properly" in failed["runs"]["last_error"]
    gateway.heal()
    assert run_vbc(own_folder, url, "sync", "--resources", "company_recordings").returncode == 0
    gateway.clear()
    good = run_vbc(own_folder, url, "status", "--json", "--max-lag", "60")
    assert good.returncode == 0
    assert "company_recordings of account 549825: 5 recordings; last success " in good.stdout
    runs = json.loads(good.stdout.splitlines()[-1])["runs"]
    assert (runs["succeeded"], runs["failed"], runs["failed_in_a_row"], runs["running"]) == (1, 2, 0, 0)
    late = run_vbc(own_folder, url, "status", "--max-lag", "0")
    assert late.returncode == 1
    assert late.stderr.startswith("vbc status: the lag of company_recordings of account 549825 is ")
    samples = parse(run_vbc(own_folder, url, "status", "--format", "prometheus").stdout)
    assert samples["vbc_list_rows", (MAIN, "company_recordings")] == 5
    assert samples["vbc_runs_total", ("failed",)] == 2
    assert samples["vbc_ok", ()] == 1
    assert gateway.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 2])
def test_a_run_that_was_killed_counts_as_failed(kills: int) -> None:
    killed = (
        "import os, signal\nfrom vbc_source import Target\n"
        "from vbc_source.load.run_history import record_run\n"
        "with record_run(Target()): os.kill(os.getpid(), signal.SIGKILL)"
    )
    for number in range(1, kills + 1):
        subprocess.run([sys.executable, "-c", killed], check=False)
        runs = read_run_history(Target())
        assert (runs.failed, runs.failed_in_a_row, runs.last_error, runs.running) == (
            number,
            number,
            KILLED,
            0,
        )
    with record_run(Target()):
        assert read_run_history(Target()).running == os.getpid()
    assert (read_run_history(Target()).failed, read_run_history(Target()).failed_in_a_row) == (kills, 0)
    assert read_run_history(Target(dataset="another")) == RunHistory()


def test_an_error_of_a_run_is_raised_again_and_recorded_in_one_line() -> None:
    def fail() -> None:
        with record_run(Target()):
            raise VbcError("the gateway is down\nand more")

    with pytest.raises(VbcError):
        fail()
    assert read_run_history(Target()).last_error == r"VbcError: the gateway is down\nand more"


def test_a_broken_file_of_runs_counts_as_no_runs(own_folder: Path) -> None:
    with record_run(Target()):
        pass
    (path,) = (own_folder / "dlt" / "vbc_runs").glob("*.json")
    path.write_text("{")
    assert read_run_history(Target()) == RunHistory()


def test_while_another_process_holds_the_database_the_runs_are_reported(serve: Serve) -> None:
    gateway = still_gateway(recordings=5)
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    with record_run(Target()):
        pipeline.run(only(serve(gateway), "company_recordings"))
    success = datetime.fromtimestamp(read_run_history(Target()).last_success, timezone.utc)
    with hold_pipeline_lock("vbc"):
        status = read_status(Target(), success + timedelta(minutes=1))
    assert (status.busy, status.lists, status.lag_seconds) == (True, (), pytest.approx(60))


@pytest.mark.slow
def test_a_shell_that_holds_the_database_keeps_no_monitor_from_reporting(
    serve: Serve, own_folder: Path
) -> None:
    gateway = still_gateway(recordings=5)
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    with record_run(Target()):
        pipeline.run(only(serve(gateway), "company_recordings"))
    success = datetime.fromtimestamp(read_run_history(Target()).last_success, timezone.utc)
    code = "import duckdb; shell = duckdb.connect('vbc.duckdb'); print('open', flush=True); input()"
    shell = subprocess.Popen(
        [sys.executable, "-c", code], cwd=own_folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert shell.stdout
        assert shell.stdout.readline()
        status = read_status(Target(), success + timedelta(minutes=1))
    finally:
        shell.communicate()
    assert (status.busy, status.lists, status.lag_seconds) == (True, (), pytest.approx(60))


def test_nothing_is_made_where_nothing_was_loaded(own_folder: Path) -> None:
    assert run_vbc(own_folder, "http://127.0.0.1:9", "status").returncode == 1
    assert not [path for path in own_folder.glob("*") if path.name != "dlt"]


@pytest.mark.slow
def test_a_read_only_disk_keeps_no_monitor_from_reporting(serve: Serve, own_folder: Path) -> None:
    """A disk that fails is often mounted read-only: that is when the status is asked for."""
    url = serve(still_gateway(recordings=5))
    assert run_vbc(own_folder, url, "sync", "--resources", "company_recordings").returncode == 0
    here = shlex.quote(str(own_folder))
    mount = f"mount --bind {here} {here} && mount -o remount,bind,ro {here} && cd {here}"
    own_mounts = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*own_mounts, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mounts of its own for a process here")
    done = subprocess.run(
        [*own_mounts, f"{mount} && ! touch file && {shlex.join(vbc('status'))}"],
        env=environment(url, own_folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "company_recordings of account 549825: 5 recordings; last success " in done.stdout
    assert "Runs on this machine: 1 succeeded, 0 failed." in done.stdout


def test_load_packages_of_a_failed_run_are_counted(serve: Serve) -> None:
    gateway = still_gateway(recordings=5)
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    pipeline.extract(only(serve(gateway), "company_recordings"))
    assert read_status(Target(), NOW).pending_packages == 1


def test_prometheus_own_parser_reads_the_metrics() -> None:
    users = make_list(
        resource="user_recordings", proven_until=None, lists=4, unreadable=2, rows=7, never_read=3
    )
    text = write_metrics(make_status(lists=(make_list(), users)))
    samples = parse(text)
    assert samples["vbc_list_lag_seconds", (MAIN, "company_recordings")] == 360
    assert (
        samples["vbc_list_last_success_timestamp_seconds", (MAIN, "company_recordings")]
        == (NOW - timedelta(minutes=5)).timestamp()
    )
    proven = (NOW - timedelta(days=2)).timestamp()
    assert samples["vbc_list_proven_timestamp_seconds", (MAIN, "company_recordings")] == proven
    assert ("vbc_list_proven_timestamp_seconds", (MAIN, "user_recordings")) not in samples  # not known
    assert samples["vbc_lists", (MAIN, "user_recordings")] == 4
    assert samples["vbc_list_unreadable", (MAIN, "user_recordings")] == 2
    assert samples["vbc_list_never_read", (MAIN, "user_recordings")] == 3
    assert samples["vbc_list_requests_total", (MAIN, "company_recordings")] == 7
    assert samples["vbc_runs_total", ("ok",)] == 2
    assert samples["vbc_audio_files", ("stored",)] == 5
    assert samples["vbc_call_gaps", ("missing",)] == 3
    assert samples["vbc_pending_packages", ()] == 1
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert kinds["vbc_list_requests"] == kinds["vbc_runs"] == "counter"  # the parser takes _total off
    assert set(kinds.values()) == {"counter", "gauge"}
    assert all(family.documentation for family in text_string_to_metric_families(text))
    assert text.endswith("\n")


def test_each_metric_is_announced_once_before_its_samples() -> None:
    lines = write_metrics(make_status(), "not ok").splitlines()
    heads = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(set(heads)) == len(heads)
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert helped == heads
    known = ""
    for line in lines:
        if line.startswith("# TYPE"):
            known = line.split()[2]
        elif not line.startswith("#"):
            assert line.split("{")[0] == known


def test_prometheus_own_parser_reads_labels_with_quotes_and_newlines() -> None:
    odd = 'a"b\\c\nd'
    text = write_metrics(make_status(pipeline=odd))
    # a line break in a name stays escaped: it could forge a line where the metrics are shown
    assert {labels["pipeline"] for _, labels, _ in samples_of(text)} == {odd.replace("\n", "\\n")}


def test_where_nothing_was_loaded_there_is_no_lag() -> None:
    text = write_metrics(make_status(lists=(), lag_seconds=None, runs=RunHistory(), audio={}), "not ok")
    samples = parse(text)
    assert samples["vbc_ok", ()] == 0
    assert not [name for name, _ in samples if "lag" in name or "timestamp" in name or "audio" in name]


@pytest.mark.slow
def test_lists_that_nobody_reads_any_more_do_not_add_to_the_lag(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=5, users=2, user_recordings=4)
    gateway.add_account("777", recordings=5)
    url, pipeline = serve(gateway), open_target("vbc", "duckdb", "vbc_data")
    pipeline.run(only(url, account_id=[MAIN, "777"]))
    later = datetime.now(timezone.utc) + timedelta(days=9)
    assert read_status(Target(), later).find_problem(60)
    monkeypatch.setenv("SOURCES__VBC__ACCOUNT_ID", MAIN)
    monkeypatch.setenv("SOURCES__VBC__USER_IDS", "[]")
    with pipeline.sql_client() as client:  # as if the company's list had been read just now
        client.execute_sql(
            "UPDATE scan_windows SET window_end = %s "
            "WHERE resource = 'company_recordings' AND account_id = %s",
            later,
            MAIN,
        )
    status = read_status(Target(), later)
    assert status.find_problem(60) is None
    lags = {(item.account_id, item.resource): item.lag_seconds for item in status.lists}
    assert lags == {
        (MAIN, "company_recordings"): 0,
        (MAIN, "user_recordings"): None,
        ("777", "company_recordings"): None,
    } | {key: None for key in lags if key == ("777", "user_recordings")}
    assert "not read any more" in "\n".join(status.summary())


def test_a_clock_that_was_ahead_does_not_hide_the_lag(serve: Serve) -> None:
    gateway = still_gateway(recordings=5)
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    pipeline.run(only(serve(gateway), "company_recordings"))
    now = datetime.now(timezone.utc)
    honest = read_status(Target(), now + timedelta(hours=3))
    with pipeline.sql_client() as client:  # a load by a clock two days ahead, and a recording of next year
        ahead = "INTERVAL '2 days'"
        names = "account_id, resource, rows_loaded, requests, rows_read, _dlt_load_id, is_proven, filters"
        client.execute_sql(
            f"INSERT INTO scan_windows (window_start, window_end, scanned_at, {names}) "
            f"SELECT window_start + {ahead}, window_end + {ahead}, scanned_at + {ahead}, {names} "
            "FROM scan_windows"
        )
        client.execute_sql(
            "UPDATE company_recordings SET \"start\" = now() + INTERVAL '1 year' WHERE id % 2 = 1"
        )
    status = read_status(Target(), now + timedelta(hours=3))
    assert status.lag_seconds == honest.lag_seconds == pytest.approx(3 * 3600, abs=60)
    assert status.lists[0].last_success == honest.lists[0].last_success <= now
    with pipeline.sql_client() as client:
        client.execute_sql("DELETE FROM scan_windows WHERE scanned_at <= now()")
    assert read_status(Target(), now).find_problem() == "nothing was ever loaded there: run vbc sync"


def test_a_lag_may_be_allowed_for_each_resource() -> None:
    late = make_list(resource="user_recordings", lag_seconds=20 * 3600.0)
    status = make_status(lists=(make_list(), late), lag_seconds=20 * 3600.0)
    assert "the lag of user_recordings of account 549825 is 20.0 h" in str(status.find_problem(60))
    assert status.find_problem(60, {"user_recordings": 1440}) is None
    assert status.find_problem(None, {"user_recordings": 1440}) is None
    assert "company_recordings" in str(status.find_problem(5, {"user_recordings": 1440}))
    absent = make_status().find_problem(60, {"user_recordings": 1440})
    assert absent == "user_recordings was never loaded there: run vbc sync, or leave its --max-lag out"
    busy = make_status(lists=(), busy=True, lag_seconds=7200.0)
    assert busy.find_problem(None, {"user_recordings": 1440}) is None
    assert "2.0 h" in str(busy.find_problem(60))


@pytest.mark.parametrize(
    "value", ["user=60", "user_recordings=soon", "-1", "user_recordings=-1", "nan", "inf"]
)
def test_a_lag_of_no_resource_or_no_number_is_wrong_usage(value: str, own_folder: Path) -> None:
    result = run_vbc(own_folder, "http://127.0.0.1:9", "status", "--max-lag", value)
    assert (result.returncode, "--max-lag" in result.stderr) == (2, True)


def test_status_says_how_long_a_quiet_list_may_wait() -> None:
    resting = make_list(resource="user_recordings", rest_hours=24.0, oldest_read=NOW - timedelta(hours=23))
    (line,) = (text for text in make_status(lists=(resting,)).summary() if "at least every" in text)
    assert line == (
        "Users' lists of account 549825 are read at least every 24 h; the one that has waited longest was "
        "read 2025-06-17 13:00 UTC."
    )
    assert "vbc_list_oldest_read_timestamp_seconds" in write_metrics(make_status(lists=(resting,)))
