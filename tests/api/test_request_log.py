"""One budget for all processes of a machine: what a shared file records, and what a broken one does not."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gateway_fixtures import Clock
from loading import credentials

from vbc_source.api.http.rate_limit import RateLimiter
from vbc_source.api.http.request_log import MINUTE, SharedLog, locate_log

BASE = "https://api.vonage.com"


def make_log(name: str = "x") -> SharedLog:
    return SharedLog(lambda: Path("budgets") / f"{name}.sent")


def test_two_logs_of_one_file_keep_one_budget_by_one_clock() -> None:
    clock = Clock()
    first, second = make_log(), make_log()
    assert [log.reserve(clock, 3) for log in (first, second, first)] == [0, 0, 0]
    clock.now += 10
    assert second.reserve(clock, 3) == pytest.approx(MINUTE - 10)
    assert make_log("other login").reserve(clock, 3) == 0
    clock.now += MINUTE - 10
    assert [log.reserve(clock, 3) for log in (second, second, first)] == [0, 0, 0]
    assert first.reserve(clock, 3) > 0


def test_a_limiter_in_each_process_waits_once_for_the_budget_of_all() -> None:
    clock = Clock()
    first, second = (RateLimiter(4, clock, clock.wait, shared=make_log(), share=1) for _ in range(2))
    for limiter in (first, second, first, second, first):
        limiter.acquire()
    assert clock.waits == [pytest.approx(MINUTE)]


def test_a_process_that_shares_no_disk_with_others_keeps_its_part_of_the_budget() -> None:
    clock = Clock()
    limiter = RateLimiter(4, clock, clock.wait, shared=make_log(), share=2)
    for _ in range(3):
        limiter.acquire()
    assert clock.waits == [pytest.approx(MINUTE)]


def test_what_lies_ahead_of_the_clock_or_is_no_moment_is_dropped() -> None:
    """A restarted machine counts from zero again; a kill may leave half a file."""
    clock = Clock()
    log = make_log()
    for _ in range(3):
        log.reserve(clock, 3)
    clock.now -= 1000
    assert log.reserve(clock, 3) == 0
    path = Path("budgets/x.sent")
    path.write_bytes(path.read_bytes() + b"\xff" * 13)
    assert log.reserve(clock, 3) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_without_a_usable_file_each_process_keeps_the_budget_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Path("budgets").write_text("a file where the folder should be")
    clock = Clock()
    limiter = RateLimiter(2, clock, clock.wait, shared=make_log())
    with caplog.at_level(logging.WARNING, "vbc_source"):
        for _ in range(3):
            limiter.acquire()
    assert clock.waits == [pytest.approx(MINUTE)]
    (message,) = caplog.messages
    assert "requests_per_minute holds for this process alone" in message


def test_the_file_is_that_of_a_login_at_a_gateway() -> None:
    one = locate_log(BASE, credentials())
    assert one == locate_log(BASE, credentials(password="another"))
    assert one != locate_log(BASE, credentials(username="another"))
    assert one != locate_log("https://api2.vonage.com", credentials())
    assert "demo" not in one.name


SENDER = """
import json, sys, time
from pathlib import Path
from vbc_source.api.http.rate_limit import RateLimiter
from vbc_source.api.http.request_log import SharedLog

def clock():
    return 10 * time.monotonic()  # a minute passes in six seconds

def wait(seconds):
    time.sleep(seconds / 10)

limiter = RateLimiter(20, clock, wait, shared=SharedLog(lambda: Path(sys.argv[1])))
began = time.process_time()
for _ in range(int(sys.argv[2])):
    limiter.acquire()
    print(json.dumps(clock()), flush=True)
print(json.dumps(time.process_time() - began))
"""


@pytest.mark.slow
def test_two_processes_and_one_that_was_killed_send_no_more_than_the_budget_in_a_minute(
    tmp_path: Path,
) -> None:
    def start(requests: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SENDER, str(tmp_path / "budget" / "x.sent"), str(requests)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)

    killed = start(1000)
    assert killed.stdout is not None
    moments = [json.loads(killed.stdout.readline()) for _ in range(10)]
    killed.send_signal(signal.SIGKILL)
    moments += map(json.loads, killed.stdout.read().splitlines())
    killed.wait()
    killed.stdout.close()
    sent = len(moments)  # the whole budget, or what it came to
    for process in [start(6), start(6)]:
        out, _ = process.communicate(timeout=60)
        *own, busy = map(json.loads, out.splitlines())
        moments += own
        assert busy < 0.5  # seconds of work: nobody waits busily
    moments.sort()
    assert len(moments) == sent + 12
    most = max(sum(start <= moment < start + 60 for moment in moments) for start in moments)
    assert most <= 20
