"""Signals that arrive while dlt normalizes and loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vbc_source.dlt_internals import intercepted_signals, was_signal_received


@contextmanager
def keep_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if SIGINT or SIGTERM arrived meanwhile.

    dlt takes both signals over while it normalizes and loads, so that jobs in progress end. It forgets one
    that arrives after its last look: a command that loads several times would go on with the next load.
    """
    with intercepted_signals():
        yield
        if was_signal_received():
            raise KeyboardInterrupt
