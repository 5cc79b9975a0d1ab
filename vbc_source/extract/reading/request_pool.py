"""The one thread pool of a run: it sends requests and reads lists side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, TypeVar

Task = TypeVar("Task")
Item = TypeVar("Item")

# A KeyboardInterrupt raised just before a blocking get() is delivered only when get() returns.
WAKE_SECONDS = 0.5
_END: Final = object()  # a list has no further item


class RequestPool:
    """Threads that send requests; use it as a context manager.

    Leaving the context stops all requests: those not sent are cancelled, those in flight are waited for,
    except after an interrupt: then `abort` is called, so that threads that wait wake up.

    Attributes:
        executor: The threads, for single requests.
    """

    def __init__(self, threads: int, abort: Callable[[], None] = lambda: None) -> None:
        self._threads, self._abort = threads, abort
        self._stopped, self._draining = threading.Event(), threading.Event()
        self.executor = ThreadPoolExecutor(threads)

    @property
    def stopped(self) -> Callable[[], bool]:
        """Whether nobody waits for results any more; the client asks before it sends."""
        return self._stopped.is_set

    def drain(self) -> None:
        """Start no further item; `read` still yields those in progress, so that no request is wasted."""
        self._draining.set()

    def read(
        self, tasks: Iterable[Task], start: Callable[[Task], Generator[Item, None, None]]
    ) -> Iterator[tuple[Task, Item | Exception]]:
        """Read tasks side by side, started in this order, and yield their items as they are ready.

        The pool's threads run the generator that `start` returns for a task, one at a time. The items of a
        task keep their order. An exception ends its own task alone, and is yielded after its items. Each
        task is at most one item ahead of the caller, which bounds memory.
        """
        waiting = deque(tasks)
        # bounded: each of the active tasks has one step in progress, and so one item in the queue at most
        ready: SimpleQueue[tuple[Task, Generator[Item, None, None], object]] = SimpleQueue()
        active = 0
        while active or (waiting and not self._draining.is_set()):
            if waiting and active < self._threads and not self._draining.is_set():
                task = waiting.popleft()
                self.executor.submit(self._step, ready, task, start(task))
                active += 1
                continue
            task, items, item = _get(ready)
            if item is _END or isinstance(item, Exception) or self._draining.is_set():
                items.close()  # cancels what it requested in advance
                active -= 1
            else:
                # before the item is handed on: the next one is read while the caller works
                self.executor.submit(self._step, ready, task, items)
            if item is not _END:
                yield task, item  # type: ignore[misc]

    def _step(
        self,
        ready: SimpleQueue[tuple[Task, Generator[Item, None, None], object]],
        task: Task,
        items: Generator[Item, None, None],
    ) -> None:
        """Make the next item of a task."""
        item: object
        try:
            item = _END if self._draining.is_set() else next(items, _END)
        except Exception as error:  # the caller decides whether it concerns other tasks
            item = error
        ready.put((task, items, item))

    def __enter__(self) -> RequestPool:
        """Return the pool."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all requests."""
        interrupted = kind is not None and not issubclass(kind, (Exception, GeneratorExit))
        self._stopped.set()
        if interrupted:
            self._abort()
        self.executor.shutdown(wait=not interrupted, cancel_futures=True)


def _get(ready: SimpleQueue[Item]) -> Item:
    while True:
        with suppress(Empty):
            return ready.get(timeout=WAKE_SECONDS)
