"""Lists that take turns, and runs that end after some requests: nothing is lost, nobody waits too long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from expected_rows import MAIN, expected_recordings, loaded, requested_paths, users_of
from extraction import Extraction, extract
from loading import query, run_vbc, still_gateway
from test_planner import DAY, NOW, make_run, tasks, write
from test_planner import users_of as planned_users

from vbc_source.api.endpoints import JOBS
from vbc_source.emulator import Gateway
from vbc_source.extract.extractor import ReadPlanner
from vbc_source.extract.polling import PolledList, RequestLimit, select_due
from vbc_source.extract.reading.lists import ListOwner, ReadTask
from vbc_source.load.destinations import Target
from vbc_source.warehouse.queries import LoadedTables

Serve = Callable[[Gateway], str]

QUIET = timedelta(hours=24)


def simulate(lists: int, pauses: list[timedelta], quiet: timedelta = QUIET) -> tuple[list[int], timedelta]:
    """Return how many lists each run reads after the first, and the longest that any list has waited."""
    read, counts, longest, now = dict[str, datetime](), list[int](), timedelta(), NOW
    for pause in [timedelta(), *pauses]:
        now += pause
        due = select_due(
            [PolledList(str(number), read.get(str(number))) for number in range(lists)], now, quiet
        )
        longest = max([longest, *(now - read[name] for name in due if name in read)])
        counts.append(len(due))
        read |= dict.fromkeys(due, now)
    return counts[1:], max(longest, now - min(read.values()))


@pytest.mark.parametrize("minutes", [10, 35, 60, 300, 720, 1440])
def test_quiet_lists_are_read_in_time_and_spread_evenly_over_the_runs(minutes: int) -> None:
    pause = timedelta(minutes=minutes)
    counts, longest = simulate(500, [pause] * (3 * 1440 // minutes))
    assert longest <= QUIET
    spare = QUIET - 1.25 * pause
    assert max(counts) <= (500 * pause / spare + 1 if spare > pause else 500)


def test_a_pause_that_varies_a_little_delays_nobody() -> None:
    random = Random(7)
    for hours in (0.2, 1.0, 6.0, 20.0):
        pauses = [timedelta(hours=hours * random.uniform(0.95, 1.05)) for _ in range(int(96 / hours))]
        assert simulate(100, pauses)[1] <= QUIET


def test_what_waited_while_no_run_came_is_read_at_once() -> None:
    counts, _ = simulate(100, [timedelta(hours=1)] * 30 + [timedelta(days=2), timedelta(hours=1)])
    assert counts[-2] == 100


def test_a_list_is_due_that_was_never_read_or_was_read_in_the_future_or_is_always_read() -> None:
    lists = [
        PolledList("new", None),
        PolledList("ahead", NOW + DAY),
        PolledList("always", NOW, always=True),
        PolledList("rested", NOW - QUIET),
        PolledList("waits", NOW - timedelta(minutes=1)),
    ]
    assert select_due(lists[:1] + lists[2:], NOW, QUIET) == {"new", "always", "rested"}
    assert select_due(lists, NOW, QUIET) >= {"new", "ahead", "always", "rested"}


def test_active_new_unread_and_broken_lists_are_due_in_every_run() -> None:
    names = ["active", "quiet", "unread", "gap", "new", "refused"]
    state = {
        "cursors": {
            "1/active": write(NOW - 3 * DAY),
            **dict.fromkeys(["1/quiet", "1/unread", "1/gap"], write(NOW - 15 * DAY)),
        },
        "barred": {"1/refused": "forbidden"},
        "read": {f"1/{name}": write(NOW - timedelta(minutes=1)) for name in names if name != "new"},
        "unread": ["1/unread"],
        "gaps": {
            "1/gap": [
                {
                    "start": write(NOW - 20 * DAY),
                    "end": write(NOW - 19 * DAY),
                    "tries": 1,
                    "tried_at": write(NOW - 18 * DAY),
                }
            ]
        },
    }

    def select(**settings: object) -> list[str | None]:
        planner = ReadPlanner(make_run(state, polling="active", **settings))
        return planned_users(planner.select([*tasks(*names), *tasks("self")]))

    due = select()
    # one of those that rest is the share of this run
    assert [name for name in due if name not in ("quiet", "refused")] == [
        *("active", "unread", "gap", "new", "self")
    ]
    assert len(due) == 6
    assert "active" in select(active_days=3)
    everything = ReadPlanner(make_run(state))
    assert planned_users(everything.select(tasks(*names))) == names
    backfill = ReadPlanner(make_run(state, polling="active", end_date=NOW.isoformat()))
    assert planned_users(backfill.select(tasks(*names))) == names


def test_jobs_are_due_for_self_for_users_who_ever_had_one_and_once_a_day_for_all() -> None:
    names = ["own", "owner", "other", "long ago"]
    state = {
        "1/self": "1/own",
        "owners": ["1/owner"],
        "read": {f"1/{name}": write(NOW - timedelta(minutes=1)) for name in names[:3]}
        | {"1/long ago": write(NOW - DAY)},
    }
    planner = ReadPlanner(make_run(state, JOBS, polling="active", quiet_hours=1000))
    assert planned_users(planner.select(tasks(*names))) == ["own", "owner", "long ago"]
    state.pop("1/self")
    owner = [ReadTask(ListOwner("1", "self"))]
    assert ReadPlanner(make_run(state, JOBS, polling="active")).select(owner) == owner


def test_lists_that_were_read_longest_ago_come_first() -> None:
    ages = {"a": 1, "b": 3, "c": 2}
    state = {
        "cursors": dict.fromkeys(["1/a", "1/c", "1/d"], write(NOW - DAY)),
        "read": {f"1/{name}": write(NOW - hours * timedelta(hours=1)) for name, hours in ages.items()},
    }
    planned = ReadPlanner(make_run(state, max_requests=5)).plan(tasks("a", "b", "c", "d", "new"))
    assert planned_users(planned) == ["new", "d", "b", "c", "a"]


def test_a_limit_counts_lists_that_were_begun_and_requests_that_were_sent() -> None:
    sent = [0]
    limit = RequestLimit(10, lambda: sent[0])
    limit.begin(leave_half=True)
    assert [limit.admit() for _ in range(6)] == [True] * 5 + [False]
    sent[0] = 5
    limit.begin(leave_half=False)
    assert limit.admit()
    sent[0] = 12
    assert (limit.admit(), limit.is_over, limit.is_spent) == (False, True, True)
    limit.begin(leave_half=False)  # a run that begins nothing would never get anywhere
    assert (limit.admit(), limit.admit()) == (True, False)


class Time:
    """A clock for a gateway and for the runs that read it."""

    def __init__(self) -> None:
        self.now = datetime.now(timezone.utc).replace(microsecond=0)

    def __call__(self) -> float:
        return self.now.timestamp()

    def write(self, **before: float) -> str:
        return (self.now - timedelta(**before)).strftime("%Y-%m-%dT%H:%M:%S+0000")


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_later_than_quiet_hours(serve: Serve) -> None:
    time, random = Time(), Random(3)
    gateway = Gateway(clock=time, users=16)
    users = users_of(gateway)
    for user in users[:12]:  # the others have never recorded
        gateway.users.recordings(user).add(start=time.write(days=40), duration=1000)
    url, extraction = serve(gateway), Extraction()
    extraction.clock = lambda: time.now
    due: dict[int, datetime] = {}
    requests = []
    for run in range(20):
        gateway.clear()
        extract(extraction, url, "user_recordings", "export_jobs", polling="active", account_id=MAIN)
        requests.append(len(requested_paths(gateway)))
        there = {row[2] for row in loaded(extraction)}  # type: ignore[arg-type]
        assert not [id_ for id_, moment in due.items() if id_ not in there and moment <= time.now]
        if run < 11:
            row = gateway.users.recordings(random.choice(users)).add(
                start=time.write(minutes=9), duration=1000
            )
            due[int(row["id"])] = time.now + QUIET
        time.now += timedelta(hours=3)
    assert loaded(extraction) == expected_recordings(gateway)  # type: ignore[arg-type]
    assert max(requests[1:3]) < 12 < 30 < requests[0]
    (read,) = query(
        extraction, "SELECT min(n) FROM (SELECT sum(readings) AS n FROM scan_windows GROUP BY user_id)"
    )  # type: ignore[arg-type]
    assert read[0] >= 3


@pytest.mark.slow
def test_a_run_that_ends_after_some_requests_is_continued_and_starves_nobody(serve: Serve) -> None:
    gateway, time = still_gateway(users=40, user_recordings=60), Time()
    url, extraction = serve(gateway), Extraction()
    extraction.clock = lambda: time.now
    extract(
        extraction, url, "user_recordings", account_id=MAIN, start_date="2020-01-01"
    )  # who is new comes first
    for user in users_of(gateway):
        gateway.users.recordings(user).add()
    seen: Counter[str] = Counter()
    settings = {"account_id": MAIN, "start_date": "2020-01-01", "max_requests": 24, "max_concurrency": 4}
    for _ in range(12):
        gateway.clear()
        time.now += timedelta(minutes=10)
        extract(extraction, url, "user_recordings", "export_jobs", **settings)
        assert len(requested_paths(gateway)) <= 24
        seen.update(path for path in requested_paths(gateway) if "/call_recordings" in path)
    assert len([path for path in seen if path.endswith("/jobs")]) >= 40
    assert len([path for path in seen if not path.endswith("/jobs")]) == 40
    counts = [count for path, count in seen.items() if not path.endswith("/jobs")]
    assert max(counts) - min(counts) <= 1
    assert loaded(extraction) == expected_recordings(gateway)  # type: ignore[arg-type]


def read_in_turns(url: str, days: int, runs: int, **settings: int) -> Iterator[Extraction]:
    """Read a history in runs that are limited, and yield it after each run, until it is read."""
    extraction, start = Extraction(), Time().write(days=days)
    for _ in range(runs):
        before = len(extraction.tables.get("company_recordings", []))
        extract(extraction, url, "company_recordings", account_id=MAIN, start_date=start, **settings)
        yield extraction
        if not extraction.metrics["company_recordings"].get("left", 0):
            return
        assert len(extraction.tables["company_recordings"]) > before


def test_a_history_goes_on_where_the_requests_ended(serve: Serve) -> None:
    gateway = still_gateway(recordings=3000)
    sent = list[int]()
    for reached in read_in_turns(serve(gateway), 370, 99, page_size=50, max_requests=30):
        extraction = reached
        sent.append(len(requested_paths(gateway)))
        gateway.clear()
    # of 3000, a call may not have ended yet
    assert len(extraction.tables["company_recordings"]) == len(gateway.company)
    assert len(sent) >= 2
    assert max(sent) <= 1.5 * 30  # one window could have 60 pages


@pytest.mark.slow
def test_a_long_lookback_does_not_take_most_of_the_requests_of_each_run(serve: Serve) -> None:
    gateway = still_gateway(recordings=3000)
    runs = list(read_in_turns(serve(gateway), 370, 99, page_size=10, max_requests=12, lookback_hours=240))
    assert len(runs[0].tables["company_recordings"]) == len(gateway.company)
    # 300 pages, most of them read twice; with one window behind each lookback it were thousands
    assert len(requested_paths(gateway)) <= 4 * 300


def test_a_history_that_begins_with_empty_years_is_not_read_from_its_start_for_ever(serve: Serve) -> None:
    gateway = still_gateway(recordings=130)
    assert len(list(read_in_turns(serve(gateway), 10_000, 2, page_size=1, max_requests=6))) == 2
    assert len(requested_paths(gateway)) <= 75  # of 217 windows of a page, most would be empty


@pytest.mark.slow
def test_vbc_sync_says_where_it_stopped_and_what_is_left(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(users=12, user_recordings=20)
    url = serve(gateway)
    first = run_vbc(own_folder, url, "sync", "--max-requests", "16")
    assert first.returncode == 0
    assert "Stopped after 16 requests; " in first.stdout
    for _ in range(3):  # each reads six lists of recordings, those that were read longest ago first
        assert run_vbc(own_folder, url, "sync", "--max-requests", "16").returncode == 0
    ((rows,),) = LoadedTables(Target()).query("SELECT count(*) FROM user_recordings")
    assert rows == len(expected_recordings(gateway))
    wrong = run_vbc(own_folder, url, "sync", "--max-requests", "16", "--end-date", "2025-01-01")
    assert (wrong.returncode, "state to continue from" in wrong.stderr) == (2, True)
