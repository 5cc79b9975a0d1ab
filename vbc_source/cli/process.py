"""Settings of the command's own process, which a library may not change for its user."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from vbc_source.errors import VbcError

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of glibc's malloc.h
CLEANUP_SECONDS = 4.0  # containers have 10 until they are killed
SOON = 0.05  # seconds


def tune_process() -> None:
    """Set environment, garbage collector and allocator, before dlt and pyarrow are imported."""
    # dlt reports usage to its makers unless configured otherwise
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    # dlt logs each failure with its traceback before it raises it; one line is enough here
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # files that go straight into a database are not worth the time of compressing them
    os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")
    # Freed memory returns to the system: the default allocators keep a third more (see docs/speed.md). What a
    # page of a list takes is below the threshold, and used again for the next one: returning it takes longer
    # than the requests.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):  # elsewhere than on glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 20)
        libc.mallopt(M_ARENA_MAX, 2)
        gc.callbacks.append(partial(_trim, libc.malloc_trim))
    # imports make many objects that stay
    gc.set_threshold(100_000, 20, 20)
    # at its end Python would look through all of them again, for a sixth of the time of a small sync
    atexit.register(gc.freeze)
    # when all is done there is nothing to interrupt, and Python would print a traceback for each destructor
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _trim(malloc_trim: Callable[[int], int], phase: str, info: dict[str, int]) -> None:
    """Return freed memory to the system after a full collection, as there is between the steps of a run."""
    if phase == "stop" and info["generation"] == 2:
        malloc_trim(0)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM as on SIGINT, and again while the command has not ended.

    Python drops an exception that is raised while a destructor runs, such as that of dlt's connections to
    DuckDB. C code drops one that ends an import of its own, such as that of pandas by pyarrow. The command
    would continue as if there had been no signal.
    """
    before: dict[signal.Signals, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    after, report = before, sys.unraisablehook
    if hasattr(signal, "SIGALRM"):  # not on Windows
        signal.signal(signal.SIGALRM, _repeat)
    for number, handler in before.items():
        if number != signal.SIGINT or handler != signal.SIG_IGN:  # as a shell starts it in the background
            signal.signal(number, _interrupt)
    sys.unraisablehook = partial(_repeat_dropped, report)
    try:
        yield
    except KeyboardInterrupt:
        after = dict.fromkeys(before, signal.SIG_IGN)  # the end itself is not to be interrupted
        raise
    finally:
        _repeat_after(0)
        sys.unraisablehook = report
        for number, handler in after.items():
            signal.signal(number, handler)


def _interrupt(*_: Any) -> None:
    _repeat_after(CLEANUP_SECONDS)
    raise KeyboardInterrupt


def _repeat(*_: Any) -> None:
    """Send the signal again, for whoever handles it now: dlt does so while it loads."""
    if _is_ending():
        # what a command does to end well may take longer: answers in flight are waited for and recorded
        _repeat_after(CLEANUP_SECONDS)
    else:
        signal.raise_signal(signal.SIGTERM)


def _is_ending() -> bool:
    """Return whether the code that runs handles a KeyboardInterrupt."""
    error = sys.exc_info()[1]
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _repeat_dropped(report: Callable[[Any], Any], dropped: Any) -> None:
    """Repeat a signal whose exception Python has dropped; report other exceptions."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        _repeat_after(SOON)
    else:
        report(dropped)


def _repeat_after(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, seconds)


def check_port(port: int) -> None:
    """Refuse a port of 127.0.0.1 that another program listens on."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        raise VbcError(f"port {port} is taken: choose another with --port") from None
