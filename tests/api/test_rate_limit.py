from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from gateway_fixtures import Clock

from vbc_source.api.http.rate_limit import ClientClosed, RateLimiter

PATIENCE = 30  # seconds until a test that hangs is given up


class Simulation:
    """A clock for several threads: time moves on only when all of them wait, so tests are deterministic."""

    def __init__(self, threads: int) -> None:
        self.now = 0.0
        self._running = threads
        self._wake: list[float] = []
        self._changed = threading.Condition()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        with self._changed:
            until = self.now + seconds
            self._wake.append(until)
            self._rest()
            assert self._changed.wait_for(lambda: self.now >= until, PATIENCE)
        return False

    def run(self, work: Callable[[], list[float]]) -> list[float]:
        """Run the same work in every thread; returns all results, sorted."""

        def run_one() -> list[float]:
            try:
                return work()
            finally:
                with self._changed:
                    self._rest()

        with ThreadPoolExecutor(self._running) as pool:
            futures = [pool.submit(run_one) for _ in range(self._running)]
            return sorted(moment for future in futures for moment in future.result(PATIENCE))

    def _rest(self) -> None:
        self._running -= 1
        if not self._running and self._wake:
            self.now = min(self._wake)
            self._running = sum(moment <= self.now for moment in self._wake)
            self._wake = [moment for moment in self._wake if moment > self.now]
            self._changed.notify_all()


def most_in_a_minute(moments: list[float]) -> int:
    return max(sum(start <= moment <= start + 60 for moment in moments) for start in moments)


def test_no_wait_without_a_budget() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock, wait=clock.wait)

    for _ in range(1000):
        limiter.acquire()

    assert clock.waits == []


def pass_at_random(budget: int, seed: int, tick: float) -> list[float]:
    """Moments at which requests were allowed that were made at random, sometimes in bursts."""
    random, clock = Random(seed), Clock(0.0)
    limiter = RateLimiter(budget, clock=clock, wait=clock.wait)
    moments = []
    for _ in range(6 * budget + 1):
        idle = random.choice([0.0, 0.0, random.random(), 90 * random.random() / budget])
        clock.now += idle // tick * tick if tick else idle
        limiter.acquire()
        moments.append(clock())
    return moments


@pytest.mark.parametrize("budget", [1, 2, 10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_budget_is_not_exceeded_in_any_minute(budget: int, seed: int) -> None:
    assert most_in_a_minute(pass_at_random(budget, seed, tick=1 / 1024)) <= budget


@pytest.mark.parametrize("budget", [1, 2, 10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_budget_is_not_exceeded_despite_rounding_errors(budget: int, seed: int) -> None:
    assert most_in_a_minute(pass_at_random(budget, seed, tick=0)) <= budget


def test_eight_threads_share_one_budget_and_use_all_of_it() -> None:
    time = Simulation(8)
    limiter = RateLimiter(10, clock=time, wait=time.wait)

    def work() -> list[float]:
        moments = []
        for _ in range(5):
            limiter.acquire()
            moments.append(time())
        return moments

    moments = time.run(work)

    assert len(moments) == 40
    assert most_in_a_minute(moments) == 10
    assert moments[-1] == pytest.approx(3 * 61)


def test_unused_budget_can_be_used_at_once() -> None:
    clock = Clock()
    limiter = RateLimiter(3, clock=clock, wait=clock.wait)
    for _ in range(3):
        limiter.acquire()
    clock.now += 61
    for _ in range(3):
        limiter.acquire()

    assert clock.waits == []


@pytest.mark.parametrize("budget", [None, 100])
def test_pause_holds_back_every_thread(budget: int | None) -> None:
    time = Simulation(8)
    limiter = RateLimiter(budget, clock=time, wait=time.wait)
    limiter.pause(30)

    def work() -> list[float]:
        limiter.acquire()
        return [time()]

    assert time.run(work) == [30.0] * 8


def test_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock(0.0)
    limiter = RateLimiter(clock=clock, wait=clock.wait)
    limiter.pause(30)
    limiter.pause(5)
    limiter.acquire()

    assert clock() == 30


def test_pause_extended_during_a_wait_is_honoured() -> None:
    clock = Clock(0.0)

    def wait(seconds: float) -> bool:
        if clock() == 0:
            limiter.pause(50)  # another thread is throttled meanwhile
        return clock.wait(seconds)

    limiter = RateLimiter(clock=clock, wait=wait)
    limiter.pause(30)
    limiter.acquire()

    assert clock() == 50


def test_no_wait_after_a_pause() -> None:
    clock = Clock(0.0)
    limiter = RateLimiter(clock=clock, wait=clock.wait)
    limiter.pause(30)
    clock.now += 30
    limiter.acquire()

    assert clock.waits == []


@pytest.mark.parametrize(("pause", "passed_at"), [(10, 61), (90, 90)])
def test_pause_and_budget_are_both_honoured(pause: float, passed_at: float) -> None:
    clock = Clock(0.0)
    limiter = RateLimiter(1, clock=clock, wait=clock.wait)
    limiter.acquire()
    limiter.pause(pause)
    limiter.acquire()

    assert clock() == passed_at


def test_pause_returns_the_time_since_the_last_accepted_request() -> None:
    clock = Clock()
    limiter = RateLimiter(clock=clock, wait=clock.wait)

    assert limiter.pause(1) == 0
    clock.now += 40
    assert limiter.pause(1) == 40
    clock.now += 20
    assert limiter.pause(1) == 60
    limiter.succeeded()
    clock.now += 10
    assert limiter.pause(1) == 0


def test_close_ends_all_waiting_threads() -> None:
    requested = threading.Semaphore(0)

    def clock() -> float:
        requested.release()
        return 0.0

    limiter = RateLimiter(clock=clock)
    limiter.pause(3600)
    requested.acquire()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(limiter.acquire) for _ in range(4)]
        for _ in waiting:
            assert requested.acquire(timeout=PATIENCE)  # this thread waits for the pause to end
        limiter.close()
        errors = [future.exception(PATIENCE) for future in waiting]

    assert [type(error) for error in errors] == [ClientClosed] * 4


def test_closed_limiter_refuses_requests() -> None:
    limiter = RateLimiter()
    limiter.close()

    with pytest.raises(ClientClosed):
        limiter.acquire()
    with pytest.raises(ClientClosed):
        limiter.sleep(3600)


def test_interrupted_wait_raises_client_closed() -> None:
    limiter = RateLimiter(wait=lambda seconds: True)

    with pytest.raises(ClientClosed):
        limiter.sleep(1)
