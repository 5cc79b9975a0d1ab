"""Loads windows side by side, each worker a process: dlt keeps its state and its settings by process."""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from vbc_source.backfills.window_load import Target, WindowResult, WindowTask, load_window
from vbc_source.errors import VbcError

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3  # for a window whose worker died, or whose load failed in the database

Load = Callable[[Target, WindowTask, int], WindowResult]


def load_windows(
    target: Target, tasks: Sequence[WindowTask], workers: int, load: Load = load_window
) -> Iterator[WindowResult]:
    """Load windows and give each when it is done.

    Args:
        target: where to.
        tasks: which ones.
        workers: how many at once; one works in this process.
        load: loads one.

    Raises:
        VbcError: a window could not be loaded; those under way are stopped, and loaded again next time.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            yield load(target, task, 1)
        return
    crew = [_Worker(target, workers, load) for _ in range(workers)]
    try:
        yield from _work_off(deque((task, 1) for task in tasks), crew)
    finally:
        for worker in crew:
            worker.stop()


class _Worker:
    """A process that loads one window after another.

    Args:
        target: where to.
        share: how many of them there are.
        load: loads one.
    """

    def __init__(self, target: Target, share: int, load: Load) -> None:
        self._arguments = (target, share, load)
        self.task: WindowTask | None = None
        self.attempt = 0
        self._start()

    def _start(self) -> None:
        # spawned: a fork would copy threads' locks, and connections that two then use
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments))
        self._process.start()
        theirs.close()  # so that its end shows here

    def give(self, task: WindowTask, attempt: int) -> None:
        """Have it load a window."""
        self.task, self.attempt = task, attempt
        self.pipe.send(task)

    def take(self) -> WindowResult | Exception:
        """Take what became of the window; where the process died, there is a new one."""
        self.task = None
        try:
            answer: WindowResult | Exception = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.stop()
            self._start()
            return VbcError("its worker process was killed")
        return answer

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work_off(todo: deque[tuple[WindowTask, int]], crew: Sequence[_Worker]) -> Iterator[WindowResult]:
    while True:
        for worker in crew:
            if worker.task is None and todo:
                worker.give(*todo.popleft())
        busy = {worker.pipe: worker for worker in crew if worker.task is not None}
        if not busy:
            return
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index] # wait() gives back what it was given
            task, attempt = worker.task, worker.attempt
            answer = worker.take()
            if not isinstance(answer, Exception):
                yield answer
            elif task is not None:
                todo.append(try_again(task, attempt, answer))


def try_again(task: WindowTask, attempt: int, error: Exception) -> tuple[WindowTask, int]:
    """Put a window back.

    Raises:
        VbcError: the gateway or a setting stands in the way, or it was tried often enough.
    """
    text = f"the window {task['start']}/{task['end']}: {error}"
    if type(error) is not VbcError or attempt >= MOST_ATTEMPTS:
        raise VbcError(text) from None
    log.warning("%s; it is loaded again", text)
    return task, attempt + 1


def _serve(pipe: Connection, target: Target, share: int, load: Load) -> None:
    """Load what comes, until nobody is there any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    while True:
        try:
            task: Any = pipe.recv()
        except (EOFError, ConnectionError):
            return
        pipe.send(_answer(target, task, share, load))


def _answer(target: Target, task: WindowTask, share: int, load: Load) -> WindowResult | Exception:
    try:
        return load(target, task, share)
    except Exception as error:
        # as a class of its own it may not survive the way
        return VbcError(str(error)) if type(error) is VbcError else RuntimeError(str(error))
