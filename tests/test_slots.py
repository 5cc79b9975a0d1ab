"""Requests in flight: more while answers come quickly, fewer when the gateway complains, never too many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vbc_source.api.concurrency import FIRST, AdaptiveConcurrency
from vbc_source.api.rate_limit import ClientClosed

PATIENCE = 20  # seconds until a test that hangs gives up


def test_quick_answers_raise_the_number_to_the_limit_and_no_further() -> None:
    slots = AdaptiveConcurrency(8)
    seen = [slots.allowed]
    for _ in range(200):
        slots.answered(0.05)
        seen.append(slots.allowed)
    assert seen[0] == FIRST
    assert sorted(seen) == seen
    assert seen[-1] == 8
    assert seen.index(8) < 10  # so soon


def test_answers_that_become_slow_raise_nothing() -> None:
    slots = AdaptiveConcurrency(8)
    slots.answered(0.05)
    before = slots.allowed
    for _ in range(20):
        slots.answered(5.0)
    assert slots.allowed == before


def test_a_quick_login_does_not_make_lists_look_slow() -> None:
    slots = AdaptiveConcurrency(8)
    slots.judge(200, 0.001, "https://gateway/token")
    for _ in range(8):
        slots.judge(200, 0.2, "https://gateway/accounts/1/call_recordings?page=1")
    assert slots.allowed == 8


def test_the_number_doubles_with_each_round_until_there_is_trouble() -> None:
    slots = AdaptiveConcurrency(64)
    seen = []
    for _ in range(3):
        for _ in range(slots.allowed):
            slots.answered(0.05)
        seen.append(slots.allowed)
    slots.troubled()
    for _ in range(slots.allowed + 1):
        slots.answered(0.05)
    assert [*seen, slots.allowed] == [4, 8, 16, 9]


def test_trouble_halves_the_number_but_leaves_one() -> None:
    slots = AdaptiveConcurrency(8)
    for _ in range(200):
        slots.answered(0.05)
    seen = []
    for _ in range(5):
        slots.troubled()
        seen.append(slots.allowed)
    assert seen == [4, 2, 1, 1, 1]
    slots.answered(0.05)
    assert slots.allowed == 2


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_are_in_flight_than_allowed(most: int) -> None:
    slots, lock = AdaptiveConcurrency(most), threading.Lock()
    inside, highest = 0, 0

    def work() -> None:
        nonlocal inside, highest
        for _ in range(50):
            with slots.hold():
                with lock:
                    inside += 1
                    highest = max(highest, inside)
                slots.answered(0.001)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert highest <= most


def test_who_is_not_wanted_any_more_when_a_slot_is_free_gives_it_back() -> None:
    slots, stopped = AdaptiveConcurrency(1), threading.Event()

    def wait() -> None:
        with slots.hold(stopped.is_set):
            pytest.fail("nobody wants this")

    with ThreadPoolExecutor(1) as pool:
        with slots.hold():
            waiting = pool.submit(wait)
            stopped.set()
        with pytest.raises(ClientClosed):
            waiting.result(PATIENCE)
    with slots.hold(lambda: False):
        pass


def test_closing_lets_everybody_pass_who_waits() -> None:
    slots, passed = AdaptiveConcurrency(1), threading.Event()

    def wait() -> None:
        with slots.hold():
            passed.set()

    with slots.hold():
        thread = threading.Thread(target=wait)
        thread.start()
        assert not passed.is_set()
        slots.close()
        assert passed.wait(PATIENCE)
    thread.join(PATIENCE)
