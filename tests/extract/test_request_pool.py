"""Lists are read side by side by one thread pool, one item ahead of the caller, and nothing outlives it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from queue import SimpleQueue
from typing import Any

import pytest

import vbc_source.extract.reading.request_pool
from vbc_source.api.endpoints import ApiCapabilities
from vbc_source.errors import Unavailable
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.reading.window_reader import WindowReader
from vbc_source.schema.pages import Page
from vbc_source.windows import Window

PATIENCE = 20  # seconds until a test that hangs gives up


@pytest.fixture(autouse=True)
def own_folder() -> None:
    """No folder: nothing here reads or writes a file."""


def read_one(items: Iterator[Any], threads: int = 1) -> Iterator[Any]:
    """Read one task; its error is raised."""
    with RequestPool(threads) as pool:
        for _, item in pool.read(["task"], lambda _: generate(items)):
            if isinstance(item, Exception):
                raise item
            yield item


def generate(items: Iterator[Any]) -> Generator[Any, None, None]:
    yield from items


class Items:
    """Items that record when they are made, and by which thread."""

    def __init__(self, count: int) -> None:
        self.count, self.made, self.threads = count, [], set[int]()
        self.events = [threading.Event() for _ in range(count)]

    def __iter__(self) -> Iterator[int]:
        for item in range(self.count):
            self.made.append(item)
            self.threads.add(threading.get_ident())
            self.events[item].set()
            yield item

    def wait_for(self, item: int) -> None:
        assert self.events[item].wait(PATIENCE)


@pytest.mark.parametrize("threads", [1, 8])
def test_exactly_one_item_is_made_ahead_of_the_caller(threads: int) -> None:
    items = Items(5)
    reading = read_one(iter(items), threads)
    assert items.made == []
    for item in range(4):
        assert next(reading) == item
        items.wait_for(item + 1)
        assert items.made == list(range(item + 2))
    assert list(reading) == [4]


def test_the_last_task_is_not_further_ahead_when_the_others_have_ended() -> None:
    items = Items(9)
    with RequestPool(8) as pool:
        for task, item in pool.read(range(8), lambda task: generate(iter(items if task == 0 else [task]))):
            if task == 0 and item + 1 < items.count:
                items.wait_for(item + 1)
                assert items.made == list(range(item + 2))
    assert len(items.made) == items.count


def test_items_keep_their_order_and_are_made_by_threads_of_the_pool() -> None:
    items = Items(50)
    assert list(read_one(iter(items))) == list(range(50))
    assert len(items.threads) == 1
    assert threading.get_ident() not in items.threads


def test_an_item_in_progress_is_yielded_after_drain_and_no_further_task_is_started() -> None:
    items = Items(5)
    with RequestPool(1) as pool:
        reading = pool.read(["task", "next task"], lambda _: generate(iter(items)))
        assert next(reading) == ("task", 0)
        items.wait_for(1)
        pool.drain()
        assert list(reading) == [("task", 1)]
    assert items.made == [0, 1]


def test_no_tasks_yield_nothing() -> None:
    with RequestPool(2) as pool:
        assert list(pool.read([], generate)) == []
    assert list(read_one(iter(()))) == []


def test_falsy_items_are_yielded_too() -> None:
    assert list(read_one(iter([0, "", (), False, None]))) == [0, "", (), False, None]


def test_an_error_is_yielded_behind_the_items_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise Unavailable(503)

    reading = read_one(items())
    assert [next(reading), next(reading)] == [1, 2]
    with pytest.raises(Unavailable):
        next(reading)


@pytest.mark.parametrize("error", [None, ZeroDivisionError()], ids=["goes away", "fails"])
def test_when_the_caller_ends_early_the_request_in_flight_is_stopped_and_waited_for(
    error: Exception | None,
) -> None:
    started, ended = threading.Event(), threading.Event()

    def items(_: str) -> Generator[int, None, None]:
        yield 1
        started.set()
        while not pool.stopped():
            pass
        ended.set()

    def use() -> None:
        nonlocal pool
        with RequestPool(1) as pool:
            next(pool.read(["task"], items))
            assert started.wait(PATIENCE)
            if error:
                raise error

    pool: RequestPool
    with pytest.raises(ZeroDivisionError) if error else nullcontext():
        use()
    assert ended.is_set()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Interrupts raise, also in a process in the background of a shell, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_that_does_not_wake_the_caller_is_handled_soon() -> None:
    aborted, handled = threading.Event(), SimpleQueue[bool]()
    caller = threading.get_ident()
    module = vbc_source.extract.reading.request_pool.__file__

    def items() -> Iterator[int]:
        while sys._current_frames()[caller].f_code.co_filename != module:
            pass
        aborted.wait(0.05)  # the caller sleeps by then; where it does not, this shows nothing
        # to this thread: Python records the signal, and the waiting main thread sleeps on
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        handled.put(aborted.wait(PATIENCE))
        yield 1

    def read() -> None:
        with RequestPool(1, aborted.set) as pool:
            list(pool.read(["task"], lambda _: generate(items())))

    with pytest.raises(KeyboardInterrupt):
        read()
    assert handled.get(timeout=PATIENCE)


def test_tasks_are_read_side_by_side_and_an_error_ends_its_own_task_alone() -> None:
    started = threading.Barrier(3)

    def items(task: int) -> Generator[int, None, None]:
        started.wait(PATIENCE)  # passes only when all three have started
        yield task
        if task == 2:
            raise Unavailable(503)
        yield task * 10

    seen: dict[int, list[Any]] = {1: [], 2: [], 3: []}
    with RequestPool(3) as pool:
        for task, item in pool.read([1, 2, 3], items):
            seen[task].append(item)
    assert (seen[1], seen[3]) == ([1, 10], [3, 30])
    assert seen[2][0] == 2
    assert isinstance(seen[2][1], Unavailable)


def test_more_tasks_than_threads_are_all_read() -> None:
    with RequestPool(2) as pool:
        read = list(pool.read(range(100), lambda task: generate(iter([task]))))
    assert sorted(read) == [(task, task) for task in range(100)]


def test_when_the_caller_ends_early_further_tasks_are_not_started() -> None:
    items = Items(1)
    with RequestPool(1) as pool:
        next(pool.read(range(100), lambda _: generate(iter(items))))
    assert len(items.made) < 4


def test_readers_that_occupy_all_threads_do_not_wait_for_each_other() -> None:
    """Their pages stand in the queue behind them."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    span, settled = Window(begin, begin + timedelta(days=1)), begin + timedelta(days=9)
    together = threading.Barrier(3)

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if number == 1:
            together.wait(PATIENCE)
        ids = list(range((number - 1) * 10, number * 10))
        return Page(50, size, ids, dict, 10, None)

    def start(_: int) -> Generator[Any, None, None]:
        return WindowReader(fetch, ApiCapabilities(10, page_base=1), pool.executor, settled).read(span)

    with RequestPool(3) as pool:
        assert [item.total_items for _, item in pool.read(range(3), start)] == [50, 50, 50]
