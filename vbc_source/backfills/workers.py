"""Load windows side by side, each worker a process: dlt keeps its state and its settings for each process."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from vbc_source.backfills.window_load import WindowResult, WindowTask, load_window
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # for a window whose worker died, or whose load failed in the database

Load = Callable[[Target, WindowTask, int], WindowResult]


def load_windows(
    target: Target, tasks: Sequence[WindowTask], workers: int, load: Load = load_window
) -> Iterator[WindowResult]:
    """Load windows, so many at the same time, and yield each when it is done; one worker is this process.

    Where a window cannot be loaded, those in progress are stopped; the next backfill loads them again.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield load(target, task, 1)
        return
    crew = [_Worker(target, workers, load) for _ in range(workers)]
    try:
        yield from _work_through(deque((task, 1) for task in tasks), crew)
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process that loads one window after another."""

    def __init__(self, target: Target, share: int, load: Load) -> None:
        self._arguments = (target, share, load)
        self.task: WindowTask | None = None
        self.attempt = 0
        self._start()

    def _start(self) -> None:
        # spawned, not forked: a fork would copy threads' locks, and connections that two processes then use
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_pipe, *self._arguments))
        self._process.start()
        child_pipe.close()  # else the end of the process would not close the pipe here

    def give(self, task: WindowTask, attempt: int) -> None:
        """Start loading a window."""
        self.task, self.attempt = task, attempt
        self.pipe.send(task)

    def take(self) -> WindowResult | Exception:
        """Return the window's result; a process that died is replaced."""
        self.task = None
        try:
            return self.pipe.recv()  # type: ignore[no-any-return] # it is what `_serve` sends
        except (EOFError, ConnectionError):
            self.stop()
            self._start()
            return VbcError("its worker process was killed")

    def stop(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work_through(todo: deque[tuple[WindowTask, int]], crew: Sequence[_Worker]) -> Iterator[WindowResult]:
    while True:
        for worker in crew:
            if worker.task is None and todo:
                worker.give(*todo.popleft())
        busy = {worker.pipe: worker for worker in crew if worker.task is not None}
        if not busy:
            return
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index] # wait() returns what it was given
            task, attempt = worker.task, worker.attempt
            result = worker.take()
            if not isinstance(result, Exception):
                yield result
            elif task is not None:
                todo.append(retry_window(task, attempt, result))


def retry_window(task: WindowTask, attempt: int, error: Exception) -> tuple[WindowTask, int]:
    """Return the window and the number of its next attempt."""
    text = f"the window {task['start']}/{task['end']}: {error}"
    if type(error) is not VbcError or attempt >= MAX_ATTEMPTS:
        raise VbcError(text) from None
    log.warning("%s; it is loaded again", text)
    return task, attempt + 1


def _serve(pipe: Connection, target: Target, share: int, load: Load) -> None:
    """Load the windows that are sent, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first ends the others
    while True:
        try:
            task: Any = pipe.recv()
        except (EOFError, ConnectionError):
            return
        result: WindowResult | Exception
        try:
            result = load(target, task, share)
        except Exception as error:
            # an exception class with arguments of its own may not survive pickling
            result = (VbcError if type(error) is VbcError else RuntimeError)(str(error))
        pipe.send(result)
