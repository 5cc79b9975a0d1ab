"""Scenarios of an account with many users, for `benchmarks.operations`: requests and rows of an idle run."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import dlt

from benchmarks.operations import LOGIN, Figure, scenario, work_in_folder

PAUSE = timedelta(minutes=10)
REQUESTS_PER_MINUTE = 600
MOST_REQUESTS = 150  # of an idle run
HOURS = 24.0  # in which every list is to be read


@scenario("idle-all")
def measure_all(options: argparse.Namespace) -> Iterator[Figure]:
    """A run that brings nothing, with every list read in each: requests, rows of scan_windows, seconds."""
    from vbc_source import Target, sync

    with _serve(options, time.time) as gateway, work_in_folder(SOURCES__VBC__USER_IDS="all"):
        os.environ["SOURCES__VBC__BASE_URL"] = gateway.url
        for _ in range(3):
            sync(Target())
        rows, began = _count_rows(Target()), time.perf_counter()
        gateway.clear()
        sync(Target())
        yield Figure("idle-all", "one idle run", time.perf_counter() - began, "s")
        yield Figure("idle-all", "its requests", len(gateway.requests), "requests")
        yield Figure("idle-all", "rows that it adds to scan_windows", _count_rows(Target()) - rows, "rows")


@scenario("idle-active")
def measure_active(options: argparse.Namespace) -> Iterator[Figure]:
    """The same with polling = "active" and a budget, every ten simulated minutes; how long lists wait."""
    name = "idle-active"
    clock = SimulatedTime()
    with _serve(options, clock) as gateway, work_in_folder(SOURCES__VBC__USER_IDS="all"):
        counts, rows, lasted = list[int](), list[int](), list[float]()
        read: dict[str, float] = {}
        longest = 0.0
        for _ in range(options.runs + 1):
            gateway.clear()
            began = clock()
            rows.append(_sync(gateway.url, clock))
            lasted.append(clock() - began)
            lists = {request.path for request in gateway.requests if "/users/" in request.path}
            longest = max([longest, *(began - read[path] for path in lists if path in read)])
            read |= dict.fromkeys(lists, began)
            counts.append(len(gateway.requests))
            clock.now = max(clock.now, began + PAUSE.total_seconds())
        longest = max(longest, clock() - min(read.values()))
        # two rows of each list alternate, so a quiet one has both after two turns
        yield Figure(name, "lists of users", len(read), "lists")
        yield Figure(name, "first run, which reads all", counts[0], "requests")
        yield Figure(name, "largest idle run", max(counts[1:]), "requests", MOST_REQUESTS)
        yield Figure(name, "mean idle run", sum(counts[1:]) / options.runs, "requests")
        yield Figure(name, "the same at 600 requests a minute", max(lasted[1:]), "simulated s")
        yield Figure(name, "longest wait of any list", longest / 3600, "simulated h", HOURS)
        added = [after - before for before, after in pairwise(rows)]
        yield Figure(name, "rows that the last idle run adds to scan_windows", added[-1], "rows")


@scenario("turns-of-a-day")
def measure_turns(options: argparse.Namespace) -> Iterator[Figure]:
    """Two days of runs every ten minutes, planned alone: lists of a run, and how long any list waits."""
    from vbc_source.api.endpoints import JOBS, ON_DEMAND
    from vbc_source.config import VbcConfig
    from vbc_source.extract.destination_lookup import DestinationLookup
    from vbc_source.extract.extractor import ReadPlanner
    from vbc_source.extract.reading.lists import ListOwner, ReadTask
    from vbc_source.extract.state import ResourceRun

    config = VbcConfig.from_values(polling="active")
    began = datetime.now(timezone.utc).replace(microsecond=0)
    tasks = [ReadTask(ListOwner("549825", str(number))) for number in range(options.users)]
    recent = (began - timedelta(days=5)).isoformat()
    for endpoint in (ON_DEMAND, JOBS):
        state: dict[str, Any] = {"cursors": {str(task.owner): recent for task in tasks[: options.active]}}
        read, counts, longest, now = dict[str, datetime](), list[int](), timedelta(), began
        for _ in range(2 * 144):
            run = ResourceRun(
                endpoint,
                config,
                source_id=now.isoformat(),
                load_id="",
                schema=dlt.Schema("vbc"),
                state=state,
                accounts={},
                metrics={},
                lookup=DestinationLookup(),
                now=now,
            )
            due = [str(task.owner) for task in ReadPlanner(run).select(tasks)]
            run.cursors.record_readings(due, now)
            longest = max([longest, *(now - read[name] for name in due if name in read)])
            read |= dict.fromkeys(due, now)
            counts.append(len(due))
            now += PAUSE
        longest = max(longest, now - PAUSE - min(read.values()))
        name = f"turns: {endpoint.name}"
        yield Figure(name, "lists that the first run reads", counts[0], "lists")
        yield Figure(name, "most lists of a later run", max(counts[1:]), "lists")
        yield Figure(name, "fewest lists of a later run", min(counts[1:]), "lists")
        yield Figure(name, "longest wait of any list", longest / timedelta(hours=1), "simulated h", HOURS)


class SimulatedTime:
    """A clock that moves only while a request waits for the budget, and between two runs."""

    def __init__(self) -> None:
        self.now = time.time()
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time, seconds since 1970."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """Move the time on; threads that wait at the same time wait side by side."""
        until = self.now + seconds
        with self._lock:
            self.now = max(self.now, until)
        return False


@contextmanager
def _serve(options: argparse.Namespace, clock: Any) -> Iterator[Any]:
    """Serve an account with many users; most have recorded long ago, or never."""
    from vbc_source.emulator import Emulator, Gateway

    gateway = Gateway(users=options.users, clock=clock)
    now = datetime.fromtimestamp(clock(), timezone.utc)
    for number, user in enumerate(gateway.users.all()):
        days = 5 if number < options.active else 90
        if number < options.users // 2:
            start = (now - timedelta(days=days, minutes=number)).strftime("%Y-%m-%dT%H:%M:%S+0000")
            gateway.users.recordings(user["id"]).add(start=start, duration=60_000)
    with Emulator(gateway) as url:
        gateway.url = url  # type: ignore[attr-defined]
        yield gateway


def _sync(url: str, clock: SimulatedTime) -> int:
    """Load as `vbc sync` does, at the simulated time; return how many rows scan_windows has then."""
    from vbc_source import Target, VbcCredentials
    from vbc_source.api.client import Client
    from vbc_source.api.http.rate_limit import RateLimiter
    from vbc_source.config import VbcConfig
    from vbc_source.load.pipelines import hold_pipeline
    from vbc_source.load.sync import run_pipeline
    from vbc_source.source import Resources

    login = VbcCredentials()
    login.update({key.lower(): value for key, value in LOGIN.items()})
    config = VbcConfig.from_values(
        credentials=login,
        base_url=url,
        polling="active",
        requests_per_minute=REQUESTS_PER_MINUTE,
        rows_per_run=250_000,
    )
    limiter = RateLimiter(REQUESTS_PER_MINUTE, clock, clock.wait)
    client = Client(url, login, rate_limiter=limiter, clock=clock)

    @dlt.source(name="vbc", section="vbc")
    def simulated() -> Any:
        now = datetime.fromtimestamp(clock(), timezone.utc)
        return Resources(config, client, clock=lambda: now).make()

    with hold_pipeline(Target()) as pipeline:
        run_pipeline(pipeline, simulated())
    client.close()
    return _count_rows(Target())


def _count_rows(target: Any) -> int:
    from vbc_source.warehouse.queries import LoadedTables

    ((rows,),) = LoadedTables(target).query("SELECT count(*) FROM scan_windows")
    return int(rows)
