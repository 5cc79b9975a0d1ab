"""Backfills in windows: complete, resumable, and side by side without losing a row."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dlt
import duckdb
import psycopg2
import pytest
from kills import count_kills
from loading import LOGIN, environment, expected_recordings, open_target, run_vbc, vbc
from warehouses import POSTGRES, has_postgres

from vbc_source.backfills.backfill import (
    backfill,
    finish_backfill,
    plan_backfill,
    prepare_backfill,
)
from vbc_source.backfills.window_load import (
    WindowResult,
    WindowTask,
    divide_budget,
    limit_workers,
    load_window,
    load_windows,
    retry_window,
)
from vbc_source.config import VbcConfig
from vbc_source.emulator import Gateway
from vbc_source.errors import SettingsError, UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.locks import hold_dataset_lock
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.verification.verify import verify
from vbc_source.warehouse.recordings import RecordingSelection
from vbc_source.windows import parse_instant

UNTIL = datetime(2026, 1, 1, tzinfo=timezone.utc)
SPAN = ("--start-date", "2025-01-01", "--end-date", "2025-12-31T23:59:59")
DAYS = (parse_instant(SPAN[1]), parse_instant(SPAN[3]))

Serve = Callable[[Gateway], str]


needs_postgres = pytest.mark.skipif(not has_postgres(), reason="no Postgres at 127.0.0.1:5432")


def gateway(**options: Any) -> Gateway:
    """A year of recordings, seen a week after its end."""
    now = UNTIL.timestamp() + 7 * 86_400
    return Gateway(clock=lambda: now, until=UNTIL, days=365, **options)


def ask(sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(POSTGRES)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def dataset() -> Iterator[str]:
    name = f"backfill_{uuid.uuid4().hex[:8]}"
    yield name
    for (schema,) in ask(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{name}%'"):
        ask(f'DROP SCHEMA "{schema}" CASCADE')


def into(dataset: str) -> tuple[str, ...]:
    return ("--destination", "postgres", "--dataset", dataset)


@dataclass(frozen=True)
class Ran:
    """What a backfill did, and said."""

    windows: int
    rows: dict[str, int]
    said: list[str]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the settings of this process for the gateway at an address."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"SOURCES__VBC__CREDENTIALS__{name.upper()}", value)
    return lambda url: monkeypatch.setenv("SOURCES__VBC__BASE_URL", url)


@pytest.fixture
def run(configured: Callable[[str], None]) -> Callable[..., Ran]:
    """Run a backfill of the year in this process."""

    def run(url: str, days: float, dataset: str = "", workers: int = 1, *resources: str) -> Ran:
        configured(url)
        target = Target("vbc", "postgres", dataset) if dataset else Target()
        said: list[str] = []
        result = backfill(target, *DAYS, days, workers=workers, resources=resources, report=said.append)
        return Ran(result.windows, result.rows, said)

    return run


Run = Callable[..., Ran]


def load_at_once(dataset: str, *span: datetime) -> str:
    """Load a span as `vbc sync` does, with the settings of this process."""
    with hold_pipeline(Target(dataset, "postgres", dataset)) as pipeline:
        run_pipeline(pipeline, make_source(start_date=(*span, None)[0], end_date=(*span, None)[1]))
    return dataset


def lists_asked(gateway: Gateway) -> int:
    """How often a span of the company's recordings was asked for."""
    asked = (request for request in gateway.requests if "/company_call_recordings" in request.path)
    return sum("start:gte" in request.query for request in asked)


def checksum(dataset: str) -> list[tuple[Any, ...]]:
    """How many rows of each table there are, and a digest of all of them."""
    found = []
    for kind, key in (("company", "account_id, id"), ("user", "account_id, user_id, id")):
        child = key.replace(", id", ", recording_id, position")
        for table, order in (("", key), ("__extensions", child), ("__rule_ids", child)):
            name = f"{kind}_recordings{table}"
            columns = ", ".join(
                f'"{column}"'
                for (column,) in ask(
                    "SELECT column_name FROM information_schema.columns WHERE column_name NOT LIKE '%dlt%' "
                    f"AND table_schema = '{dataset}' AND table_name = '{name}' ORDER BY 1"
                )
            )
            digest = f"md5(string_agg(row({columns})::text, ';' ORDER BY {order}))"
            found += ask(f"SELECT '{name}', count(*), {digest} FROM {dataset}.{name}")
    return found


@pytest.mark.slow
def test_duckdb_gets_one_loader_and_a_second_run_loads_only_what_is_left(
    serve: Serve, own_folder: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    there = gateway(recordings=400, users=2, user_recordings=40)
    # at the boundary of two windows, and a fraction of a second before it
    there.company.add(id=7, start="2025-07-03T00:00:00+0000")
    there.company.add(id=8, start="2025-07-02T23:59:59.500+0000")
    url = serve(there)
    with caplog.at_level("INFO", "vbc_source"):
        first = run(url, 183, workers=4)
    assert first.said[0].startswith("duckdb takes one loader")
    assert first.windows == 2
    assert "backfill: 2 of 2 windows" in caplog.text
    expected = [row[1] for row in expected_recordings(there) if row[9].year == 2025]
    assert first.rows["company_recordings"] == len(expected)
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as database:
        rows = database.execute("SELECT id FROM vbc_data.company_recordings ORDER BY id").fetchall()
        assert [id_ for (id_,) in rows] == expected
        # a load that never ended: its proofs are worth nothing
        lost = "(SELECT _dlt_load_id FROM vbc_data.scan_windows WHERE window_start = '2025-07-03' LIMIT 1)"
        database.execute(f"DELETE FROM vbc_data._dlt_loads WHERE load_id = {lost}")
        database.execute(
            "DELETE FROM vbc_data.company_recordings WHERE start BETWEEN '2025-07-03' AND '2025-12-31'"
        )
    before = lists_asked(there)
    second = run(url, 183)
    assert (second.windows, lists_asked(there)) == (1, before + 1)
    # cut in another way, proven all the same
    assert plan_backfill(Target(), *DAYS, 90, list(first.rows)) == []
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as database:
        rows = database.execute("SELECT id FROM vbc_data.company_recordings ORDER BY id").fetchall()
        assert [id_ for (id_,) in rows] == expected
        left = database.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name LIKE '%stg%'")
        assert left.fetchall() == [(0,)]


@pytest.mark.slow
@needs_postgres
def test_postgres_takes_windows_side_by_side_and_they_equal_one_load(
    serve: Serve, own_folder: Path, run: Run, dataset: str
) -> None:
    url = serve(gateway(recordings=600, users=2, user_recordings=60))
    given = {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
    parts = ("backfill", *SPAN, *into(dataset), "--window", "200", "--workers", "2", "--json")
    process = run_vbc(own_folder, url, *parts, **given)
    assert process.returncode == 0, process.stderr
    assert "2 at once" in process.stdout
    assert json.loads(process.stdout.splitlines()[-1])["windows"] == 2
    assert run(url, 100, dataset).windows == 0  # all of it is proven
    assert checksum(dataset) == checksum(load_at_once(f"{dataset}_whole", *DAYS))
    left = ask(f"SELECT count(*) FROM pg_namespace WHERE nspname LIKE '{dataset}_stg%'")
    assert left == [(0,)]


@pytest.mark.slow
@needs_postgres
def test_a_sync_goes_on_from_the_tables_of_a_backfill(
    serve: Serve, own_folder: Path, run: Run, dataset: str
) -> None:
    """It knows the columns that the backfill brought, those among them that the API has added."""
    there = gateway(recordings=50)
    there.company.add(id=7, start="2025-03-01T00:00:00+0000", mood="calm")
    run(serve(there), 200, dataset)
    there.company.add(id=8, start="2025-07-03T00:00:00+0000", mood=5)
    load_at_once(dataset, DAYS[0])
    assert ask(f"SELECT id, mood FROM {dataset}.company_recordings WHERE id IN (7, 8) ORDER BY 1") == [
        (7, "calm"),
        (8, "5"),
    ]


@pytest.mark.slow
def test_a_window_is_left_for_a_user_who_is_new_but_not_for_one_who_may_not_be_read(
    serve: Serve, own_folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__VBC__ON_FORBIDDEN", "skip")
    there = gateway(recordings=20, users=2, user_recordings=20)
    there.users.add(id=5, recordings=20, days=300)
    there.users.forbid(5)
    url = serve(there)
    assert run(url, 400).windows == 1
    assert run(url, 400).windows == 0
    there.users.add(id=6, recordings=20, days=300)
    prepare_backfill(Target(), DAYS[1])
    (task,) = plan_backfill(Target(), *DAYS, 400, ["company_recordings", "user_recordings"])
    assert task["resources"] == ["user_recordings"]
    assert load_window(Target(), task)["rows"]["user_recordings"] > 0
    assert run(url, 400).windows == 0


@pytest.mark.parametrize(("days", "windows"), [(400, 1), pytest.param(200, 2, marks=pytest.mark.slow)])
def test_what_may_not_be_read_is_reported_and_all_else_is_loaded(
    serve: Serve,
    own_folder: Path,
    configured: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    windows: int,
) -> None:
    monkeypatch.setenv("SOURCES__VBC__ACCOUNT_ID", '["549825", "999"]')
    there = gateway(recordings=30, users=2, user_recordings=10)
    there.users.add(id=5, recordings=10, days=300)
    there.users.forbid(5)
    configured(serve(there))
    result = backfill(Target(), *DAYS, days)
    assert (result.windows, result.ok) == (windows, False)
    assert result.rows["company_recordings"] == len(expected_recordings(there))
    assert 0 < result.rows["user_recordings"] <= 10
    prepared, *rest = result.refused
    window = " ".join(rest)  # one text for each that differs
    assert "users of account 999" in prepared
    assert "company recordings of account 999" in window
    assert "user 5" in window
    assert "give the user the right in the VBC admin portal" in window
    assert result.summary()[1:] == [f"NOT ALLOWED: {text}." for text in result.refused]


@pytest.mark.slow
def test_a_lake_takes_windows_side_by_side_and_none_twice(
    serve: Serve, own_folder: Path, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    there = gateway(recordings=300)
    url, lake = serve(there), Target("vbc", "filesystem", "vbc_data")
    expected = [row[1] for row in expected_recordings(there) if row[9].year == 2025]
    configured(url)
    left = plan_backfill(lake, *DAYS, 100, prepare_backfill(lake, DAYS[1]))
    done = list(load_windows(lake, left, 2))
    assert len(done) == 4
    assert finish_backfill(lake, done).rows["company_recordings"] == len(expected)
    # a task that is cleared appends nothing again
    assert [load_window(lake, task)["requests"] for task in left] == [0, 0, 0, 0]
    files = dlt.dataset(dlt.destinations.filesystem(str(own_folder / "lake")), "vbc_data", "vbc")
    rows = files.query("SELECT id FROM company_recordings ORDER BY id").fetchall()
    assert [id_ for (id_,) in rows] == expected


@needs_postgres
def test_a_login_that_is_refused_is_tried_once_however_many_workers_there_are(
    serve: Serve, own_folder: Path, dataset: str
) -> None:
    there = gateway(recordings=50)
    process = run_vbc(
        own_folder,
        serve(there),
        *("backfill", *SPAN, *into(dataset), "--window", "50", "--workers", "4"),
        DESTINATION__POSTGRES__CREDENTIALS=POSTGRES,
        SOURCES__VBC__CREDENTIALS__PASSWORD="wrong",
    )
    assert process.returncode == 1
    assert [request.path for request in there.requests] == ["/token"]


def test_wrong_usage_is_reported_at_once(own_folder: Path) -> None:
    dates = ("--start-date", "2025-02-01", "--end-date", "2025-01-01")
    process = run_vbc(own_folder, "http://127.0.0.1:9", "backfill", *dates)
    assert process.returncode == 2
    assert "--start-date is after --end-date" in process.stderr


@pytest.mark.parametrize("days", [1e-9, 0.04, 1e300, float("nan"), float("inf")])
def test_windows_that_would_fill_the_memory_are_refused(days: float) -> None:
    with pytest.raises(UsageError, match="a window is an hour"):
        backfill(Target(), *DAYS, days)
    with pytest.raises(UsageError, match="a window is an hour"):
        plan_backfill(Target(), *DAYS, days, ["company_recordings"])


def test_a_span_that_ends_before_it_begins_is_refused_in_python_too() -> None:
    january, february = datetime(2025, 1, 1, tzinfo=timezone.utc), datetime(2025, 2, 1, tzinfo=timezone.utc)
    calls: list[Callable[[], object]] = [
        lambda: backfill(Target(), february, january),
        lambda: plan_backfill(Target(), february, january, 30, ["company_recordings"]),
        lambda: verify(Target(), since=february, until=january),
        lambda: RecordingSelection(since=february, until=january),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="starts at 2025-02-01T00:00:00Z, after its end, 2025-01-01"):
            call()


def test_workers_share_what_the_settings_allow() -> None:
    free, limited = VbcConfig.from_values(), VbcConfig.from_values(requests_per_minute=10)
    assert divide_budget(free, 4) == {"max_concurrency": 2}
    assert divide_budget(free, 100) == {"max_concurrency": 1}
    assert divide_budget(limited, 4) == {"max_concurrency": 2, "budget_share": 4}
    assert (limit_workers(limited, 4), limit_workers(limited, 40)) == (4, 10)
    with pytest.raises(SettingsError, match="use 10 workers at most"):
        divide_budget(limited, 11)


def make_tasks(count: int) -> list[WindowTask]:
    return [
        WindowTask(key=f"w{place}", start=f"{place}", end=f"{place + 1}", resources=[])
        for place in range(count)
    ]


def load_at_last(target: Target, task: WindowTask, share: int) -> WindowResult:
    """Dies as a killed process does, or fails as a database does, before it loads."""
    tries = len(list(Path(target.dataset).glob(f"{task['key']}-*")))
    (Path(target.dataset) / f"{task['key']}-{tries}").touch()
    if task["key"] == "w1" and not tries:
        os.kill(os.getpid(), signal.SIGKILL)
    if task["key"] == "w3" and tries < 2:
        raise VbcError("the database failed")
    return WindowResult(**task, rows={}, requests=share, seconds=0.0)


@pytest.mark.slow
def test_a_window_whose_worker_dies_or_whose_load_fails_is_loaded_again(own_folder: Path) -> None:
    done = list(load_windows(Target(dataset=str(own_folder)), make_tasks(5), 2, load_at_last))
    assert sorted(each["key"] for each in done) == ["w0", "w1", "w2", "w3", "w4"]
    assert {each["requests"] for each in done} == {2}
    tries = sorted(path.name for path in own_folder.glob("w*-*"))
    assert tries == ["w0-0", "w1-0", "w1-1", "w2-0", "w3-0", "w3-1", "w3-2", "w4-0"]


@pytest.mark.parametrize(
    ("error", "attempt"), [(VbcError("the database failed"), 3), (RuntimeError("a setting is wrong"), 1)]
)
def test_a_window_is_not_tried_a_fourth_time_nor_against_a_setting(error: Exception, attempt: int) -> None:
    (task,) = make_tasks(1)
    with pytest.raises(VbcError, match=rf"the window 0/1: {error}"):
        retry_window(task, attempt, error)


@needs_postgres
def test_loads_that_may_write_the_same_row_hold_a_dataset_in_turns(
    monkeypatch: pytest.MonkeyPatch, own_folder: Path, dataset: str
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    monkeypatch.setattr("vbc_source.load.locks.WAIT_SECONDS", 0.1)
    one, other = (open_target(f"{dataset}_{name}", "postgres", dataset) for name in ("one", "other"))

    def can_hold(window: str) -> bool:
        try:
            with hold_dataset_lock(other, window):
                return True
        except VbcError:
            return False

    with hold_dataset_lock(one, "may"):
        assert [can_hold(window) for window in ("june", "may", "")] == [True, False, False]
    with hold_dataset_lock(one):
        assert [can_hold(window) for window in ("may", "")] == [False, False]
    assert can_hold("")


@pytest.mark.slow
def test_a_count_tells_what_is_lost_and_what_is_there_twice(serve: Serve, own_folder: Path, run: Run) -> None:
    run(serve(gateway(recordings=100)), 400, "", 1, "company_recordings")
    bounds = {"start": "2025-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as database:
        ((rows,),) = database.execute("SELECT count(*) FROM vbc_data.company_recordings").fetchall()
    done = WindowResult(
        key="w",
        **bounds,
        resources=["company_recordings"],
        rows={"company_recordings": rows},
        requests=1,
        seconds=1.0,
    )
    assert finish_backfill(Target(), [done]).rows == {"company_recordings": rows}
    with pytest.raises(VbcError, match=f"{rows + 1} rows were read, {rows} are in the destination"):
        finish_backfill(Target(), [{**done, "rows": {"company_recordings": rows + 1}}])
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as database:
        row = "SELECT * FROM vbc_data.company_recordings LIMIT 1"
        database.execute(f"INSERT INTO vbc_data.company_recordings {row}")
    with pytest.raises(VbcError, match="1 of them twice"):
        finish_backfill(Target(), [done])


def workers_of(process: subprocess.Popen[Any]) -> list[int]:
    """The processes that load windows for another one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except (OSError, ValueError):
            continue
    return found


@needs_postgres
@pytest.mark.slow
@pytest.mark.parametrize("round_", range(count_kills(3)))
def test_eight_windows_at_once_lose_and_double_nothing_though_workers_are_killed(
    serve: Serve, own_folder: Path, dataset: str, round_: int
) -> None:
    """In two of three rounds, processes die by SIGKILL, in some all of them."""
    chance = random.Random(round_)
    there = gateway(seed=round_, recordings=4000, users=2, user_recordings=100)
    url = serve(there)
    given = {"DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
    parts = ("backfill", *SPAN, *into(dataset), "--window", "46", "--workers", "8")
    with subprocess.Popen(
        vbc(*parts), cwd=own_folder, env=environment(url, own_folder, **given), stdout=subprocess.DEVNULL
    ) as process:
        if round_ % 3:
            while process.poll() is None and lists_asked(there) < chance.randint(1, 8):
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 0.8))
            for victim in chance.sample(found := workers_of(process), min(len(found), chance.randint(1, 3))):
                os.kill(victim, signal.SIGKILL)
            if round_ % 3 == 2:
                process.kill()
        process.wait(240)
    if round_ % 3 != 2:
        assert process.returncode == 0
    again = run_vbc(own_folder, url, *parts[:-1], "2", **given)
    assert again.returncode == 0, again.stderr
    whole = f"{dataset}_whole"
    process_ = run_vbc(own_folder, url, "sync", *SPAN, *into(whole), "--pipeline", "whole", **given)
    assert process_.returncode == 0, process_.stderr
    assert checksum(dataset) == checksum(whole)
    assert ask(f"SELECT count(*) FROM pg_namespace WHERE nspname LIKE '{dataset}_stg%'") == [(0,)]


@pytest.mark.slow
def test_proofs_of_another_account_are_none_of_self(
    serve: Serve, own_folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = gateway(recordings=20)
    there.add_account("777", recordings=20)
    url = serve(there)
    monkeypatch.setenv("SOURCES__VBC__ACCOUNT_ID", "777")
    assert run(url, 400, "", 1, "company_recordings").windows == 1
    monkeypatch.setenv("SOURCES__VBC__ACCOUNT_ID", "self")
    assert run(url, 400, "", 1, "company_recordings").windows == 1
    assert run(url, 400, "", 1, "company_recordings").windows == 0


@pytest.mark.slow
def test_a_window_that_does_not_add_up_is_loaded_and_left_for_the_next_backfill(
    serve: Serve, own_folder: Path, run: Run
) -> None:
    there = gateway(recordings=20)
    url = serve(there)
    there.fault("wrong-totals*always@/company_call_recordings")
    first = run(url, 400, "", 1, "company_recordings")
    assert (first.windows, first.rows) == (1, {"company_recordings": 20})
    there.heal()
    assert run(url, 400, "", 1, "company_recordings").windows == 1
    assert run(url, 400, "", 1, "company_recordings").windows == 0
