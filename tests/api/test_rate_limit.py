from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from gateway_fixtures import Clock

from vbc_source.api.rate_limit import ClientClosed, RateLimiter

PATIENCE = 30  # seconds until a test that hangs is given up


class Simulation:
    """A clock for several threads: time moves on only when all of them wait, so nothing is left to chance."""

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


def test_without_a_budget_nobody_waits() -> None:
    clock = Clock()
    throttle = RateLimiter(clock=clock, wait=clock.wait)

    for _ in range(1000):
        throttle.acquire()

    assert clock.waits == []


def pass_at_random(budget: int, seed: int, tick: float) -> list[float]:
    """When requests got through that were asked for at random, now and then in bursts."""
    random, clock = Random(seed), Clock(0.0)
    throttle = RateLimiter(budget, clock=clock, wait=clock.wait)
    moments = []
    for _ in range(6 * budget + 1):
        idle = random.choice([0.0, 0.0, random.random(), 90 * random.random() / budget])
        clock.now += idle // tick * tick if tick else idle
        throttle.acquire()
        moments.append(clock())
    return moments


@pytest.mark.parametrize("budget", [1, 2, 10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_never_exceeded_in_any_minute(budget: int, seed: int) -> None:
    assert most_in_a_minute(pass_at_random(budget, seed, tick=1 / 1024)) <= budget


@pytest.mark.parametrize("budget", [1, 2, 10, 60])
@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_never_exceeded_at_moments_that_do_not_add_up_exactly(budget: int, seed: int) -> None:
    assert most_in_a_minute(pass_at_random(budget, seed, tick=0)) <= budget


def test_eight_threads_share_one_budget_and_use_all_of_it() -> None:
    time = Simulation(8)
    throttle = RateLimiter(10, clock=time, wait=time.wait)

    def work() -> list[float]:
        moments = []
        for _ in range(5):
            throttle.acquire()
            moments.append(time())
        return moments

    moments = time.run(work)

    assert len(moments) == 40
    assert most_in_a_minute(moments) == 10
    assert moments[-1] == pytest.approx(3 * 61)


def test_a_budget_that_was_saved_can_be_used_at_once() -> None:
    clock = Clock()
    throttle = RateLimiter(3, clock=clock, wait=clock.wait)
    for _ in range(3):
        throttle.acquire()
    clock.now += 61
    for _ in range(3):
        throttle.acquire()

    assert clock.waits == []


@pytest.mark.parametrize("budget", [None, 100])
def test_a_pause_holds_every_thread(budget: int | None) -> None:
    time = Simulation(8)
    throttle = RateLimiter(budget, clock=time, wait=time.wait)
    throttle.pause(30)

    def work() -> list[float]:
        throttle.acquire()
        return [time()]

    assert time.run(work) == [30.0] * 8


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock(0.0)
    throttle = RateLimiter(clock=clock, wait=clock.wait)
    throttle.pause(30)
    throttle.pause(5)
    throttle.acquire()

    assert clock() == 30


def test_a_pause_that_grows_while_a_thread_waits_is_waited_for() -> None:
    clock = Clock(0.0)

    def wait(seconds: float) -> bool:
        if clock() == 0:
            throttle.pause(50)  # another thread is throttled meanwhile
        return clock.wait(seconds)

    throttle = RateLimiter(clock=clock, wait=wait)
    throttle.pause(30)
    throttle.acquire()

    assert clock() == 50


def test_after_a_pause_nobody_waits() -> None:
    clock = Clock(0.0)
    throttle = RateLimiter(clock=clock, wait=clock.wait)
    throttle.pause(30)
    clock.now += 30
    throttle.acquire()

    assert clock.waits == []


@pytest.mark.parametrize(("pause", "passed_at"), [(10, 61), (90, 90)])
def test_a_pause_and_a_used_up_budget_are_both_waited_for(pause: float, passed_at: float) -> None:
    clock = Clock(0.0)
    throttle = RateLimiter(1, clock=clock, wait=clock.wait)
    throttle.acquire()
    throttle.pause(pause)
    throttle.acquire()

    assert clock() == passed_at


def test_a_pause_tells_for_how_long_nothing_was_let_through() -> None:
    clock = Clock()
    throttle = RateLimiter(clock=clock, wait=clock.wait)

    assert throttle.pause(1) == 0
    clock.now += 40
    assert throttle.pause(1) == 40
    clock.now += 20
    assert throttle.pause(1) == 60
    throttle.succeeded()
    clock.now += 10
    assert throttle.pause(1) == 0


def test_closing_wakes_and_ends_every_thread_that_waits() -> None:
    asked = threading.Semaphore(0)

    def clock() -> float:
        asked.release()
        return 0.0

    throttle = RateLimiter(clock=clock)
    throttle.pause(3600)
    asked.acquire()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(throttle.acquire) for _ in range(4)]
        for _ in waiting:
            assert asked.acquire(timeout=PATIENCE)  # has asked for its turn
        throttle.close()
        errors = [future.exception(PATIENCE) for future in waiting]

    assert [type(error) for error in errors] == [ClientClosed] * 4


def test_a_closed_throttle_lets_nobody_through() -> None:
    throttle = RateLimiter()
    throttle.close()

    with pytest.raises(ClientClosed):
        throttle.acquire()
    with pytest.raises(ClientClosed):
        throttle.sleep(3600)


def test_a_wait_that_was_interrupted_ends_the_thread() -> None:
    throttle = RateLimiter(wait=lambda seconds: True)

    with pytest.raises(ClientClosed):
        throttle.sleep(1)
