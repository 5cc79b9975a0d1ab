"""Prepares items in threads while the caller works on those that are ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Task = TypeVar("Task")
Item = TypeVar("Item")

AWAKE_SECONDS = 0.5  # Python minds no interrupt that came just before it began to wait, until it wakes up


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """A task has come to its end.

    Attributes:
        error: what ended it early, or None.
        complete: whether all of its items were made.
    """

    error: Exception | None = None
    complete: bool = True


class ParallelReader(Generic[Task, Item]):
    """Works on tasks side by side, each in a thread, and at most one item of each ahead of the caller.

    Args:
        work: makes the items of a task one by one.
        threads: how many tasks to work on at once.
        stop: called when the caller goes away early or fails; what is under way is waited for.
        abort: called when the run is interrupted; nothing is waited for. `stop` unless given.
        ending: whether no further items are to be made; those that are being made are given still, so that
            no work is lost.
    """

    def __init__(
        self,
        work: Callable[[Task], Iterator[Item]],
        threads: int,
        stop: Callable[[], None],
        abort: Callable[[], None] | None = None,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._work, self._threads = work, threads
        self._stop, self._abort, self._ending = stop, abort, ending
        self._ready: SimpleQueue[tuple[Task, threading.Semaphore, Item | TaskEnd]] = SimpleQueue()
        self._stopped = False

    def read(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Item | TaskEnd]]:
        """Yield the items of all tasks as they come, those of one task in order, then its `TaskEnd`."""
        todo = list(tasks)
        places = [threading.Semaphore(0) for _ in todo]  # a task goes on when its last item was taken
        pool, wait = ThreadPoolExecutor(max(1, min(self._threads, len(todo)))), True
        open_tasks = len(todo)
        try:
            for task, taken in zip(todo, places, strict=True):
                pool.submit(self._run, task, taken)
            while open_tasks:
                task, taken, item = self._wait()
                taken.release()
                open_tasks -= isinstance(item, TaskEnd)
                yield task, item
        except (GeneratorExit, Exception):
            self._stop()
            raise
        except BaseException:
            wait = self._abort is None
            (self._abort or self._stop)()
            raise
        finally:
            self._stopped = True
            for taken in places:
                taken.release()
            pool.shutdown(wait=wait, cancel_futures=True)

    def _wait(self) -> tuple[Task, threading.Semaphore, Item | TaskEnd]:
        while True:
            with suppress(Empty):
                return self._ready.get(timeout=AWAKE_SECONDS)

    def _run(self, task: Task, taken: threading.Semaphore) -> None:
        try:
            items, complete = self._work(task), False
            while not (complete or self._stopped or self._ending()):
                item = next(items, None)
                complete = item is None
                if item is not None:
                    self._ready.put((task, taken, item))
                    taken.acquire()
            end = TaskEnd(complete=complete)
        except Exception as error:  # it is raised where the caller wants it
            end = TaskEnd(error)
        self._ready.put((task, taken, end))
