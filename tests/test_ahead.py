"""Items are prepared in threads while the caller works, in order, and nothing hangs when it goes away."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import vbc_source.extract.parallel
from vbc_source.errors import Unavailable
from vbc_source.extract.parallel import ParallelReader, TaskEnd

PATIENCE = 20  # seconds until a test that hangs gives up


def read_ahead(items: Iterator[Any], stop: Callable[[], None], threads: int = 1) -> Iterator[Any]:
    """What one task gives; its error is raised."""
    for _, item in (reading := ParallelReader(lambda _: items, threads, stop).read(["task"])):
        if not isinstance(item, TaskEnd):
            try:
                yield item
            except BaseException as error:
                reading.throw(error)
        elif item.error:
            raise item.error


class Made:
    """Items that note when they are made, and by which thread."""

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


def must_not_stop() -> None:
    pytest.fail("stop was called")


@pytest.mark.parametrize("threads", [1, 8])
def test_exactly_one_item_is_made_ahead_of_the_caller(threads: int) -> None:
    """However many threads there might be: one task has one, and memory holds two of its items."""
    made = Made(5)
    ahead = read_ahead(iter(made), must_not_stop, threads)
    assert made.made == []
    for item in range(4):
        assert next(ahead) == item
        made.wait_for(item + 1)
        assert made.made == list(range(item + 2))
    assert list(ahead) == [4]


def test_a_task_that_is_left_is_not_further_ahead_when_the_others_have_ended() -> None:
    made = Made(9)
    reading = ParallelReader(lambda task: iter(made if task == 0 else [task]), 8, must_not_stop).read(
        range(8)
    )
    for task, item in reading:
        if task == 0 and not isinstance(item, TaskEnd) and item + 1 < made.count:
            made.wait_for(item + 1)
            assert made.made == list(range(item + 2))
    assert len(made.made) == made.count


def test_items_come_in_their_order_made_by_one_other_thread() -> None:
    made = Made(50)
    assert list(read_ahead(iter(made), must_not_stop)) == list(range(50))
    assert len(made.threads) == 1
    assert threading.get_ident() not in made.threads


def test_what_is_made_ahead_when_the_caller_has_enough_is_given_still() -> None:
    made = Made(5)
    enough = threading.Event()
    ahead = ParallelReader(lambda _: iter(made), 1, must_not_stop, ending=enough.is_set)
    reading = ahead.read(["task", "task behind"])
    assert next(reading) == ("task", 0)
    made.wait_for(1)
    enough.set()
    assert list(reading) == [
        ("task", 1),
        ("task", TaskEnd(complete=False)),
        ("task behind", TaskEnd(complete=False)),
    ]
    assert made.made == [0, 1]


def test_nothing_to_read_ahead_gives_nothing() -> None:
    assert list(read_ahead(iter(()), must_not_stop)) == []


def test_items_that_count_as_false_are_given_too() -> None:
    assert list(read_ahead(iter([0, "", (), False]), must_not_stop)) == [0, "", (), False]


def test_an_error_ahead_comes_behind_the_items_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise Unavailable(503)

    ahead = read_ahead(items(), lambda: None)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(Unavailable):
        next(ahead)


def test_a_caller_that_goes_away_stops_the_item_under_way() -> None:
    stopped, under_way, ended = threading.Event(), threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        under_way.set()
        assert stopped.wait(PATIENCE)
        ended.set()
        raise Unavailable(0)

    ahead = read_ahead(items(), stopped.set)
    assert next(ahead) == 1
    assert under_way.wait(PATIENCE)
    ahead.close()
    assert ended.is_set()


def test_an_interrupt_that_does_not_end_the_wait_is_minded_soon() -> None:
    ended, minded = threading.Event(), SimpleQueue[bool]()
    caller = threading.get_ident()

    def items() -> Iterator[int]:
        while sys._current_frames()[caller].f_code.co_filename != vbc_source.extract.parallel.__file__:
            pass
        ended.wait(0.05)  # the caller sleeps by then; where it does not, this shows nothing
        # to this thread: Python notes it, and the one that waits sleeps on, as where it was about to wait
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        minded.put(ended.wait(PATIENCE))
        yield 1

    with pytest.raises(KeyboardInterrupt):
        list(ParallelReader(lambda _: items(), 1, must_not_stop, ended.set).read(["task"]))
    assert minded.get(timeout=PATIENCE)


def test_an_error_of_the_caller_stops_the_items_and_stays_the_callers() -> None:
    stops: list[bool] = []
    ahead = read_ahead(iter(Made(3)), lambda: stops.append(True))
    next(ahead)
    with pytest.raises(ZeroDivisionError):
        ahead.throw(ZeroDivisionError())
    assert stops == [True]


def test_tasks_are_worked_on_side_by_side_and_an_error_ends_its_own_alone() -> None:
    begun = threading.Barrier(3)

    def work(task: int) -> Iterator[int]:
        begun.wait(PATIENCE)  # each needs the others to have begun
        yield task
        if task == 2:
            raise Unavailable(503)
        yield task * 10

    seen: dict[int, list[Any]] = {1: [], 2: [], 3: []}
    for task, item in ParallelReader(work, 3, must_not_stop).read([1, 2, 3]):
        seen[task].append(item)
    assert seen[1] == [1, 10, TaskEnd()]
    assert seen[3] == [3, 30, TaskEnd()]
    assert seen[2][0] == 2
    assert isinstance(seen[2][1].error, Unavailable)


def test_more_tasks_than_threads_all_come_to_their_end() -> None:
    read = list(ParallelReader(lambda task: iter([task]), 2, must_not_stop).read(range(100)))
    assert sorted(item for _, item in read if not isinstance(item, TaskEnd)) == list(range(100))
    assert sum(isinstance(item, TaskEnd) for _, item in read) == 100


def test_a_caller_that_goes_away_leaves_the_other_tasks_alone() -> None:
    begun: list[int] = []

    def work(task: int) -> Iterator[int]:
        begun.append(task)
        yield task

    reading = ParallelReader(work, 1, lambda: None).read(range(100))
    next(reading)
    reading.close()
    assert len(begun) < 4
