"""Runs `vbc` commands in the process of the test, which is much faster than starting a process."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from click.testing import CliRunner, Result
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from vbc_source.cli import main


def run_in_process(*arguments: str, **environment: str) -> Result:
    """Run a command in the current folder, and undo what it changes in the process."""
    with restored_process(), mock.patch.dict(os.environ, environment):
        return CliRunner().invoke(main, arguments)


@contextmanager
def restored_process() -> Iterator[None]:
    log = logging.getLogger("vbc_source")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    threshold, on_terminate = gc.get_threshold(), signal.getsignal(signal.SIGTERM)
    callbacks = list(gc.callbacks)
    context = Container()[PluggableRunContext]
    providers = context.providers
    context.reload_providers()  # reads .dlt/config.toml of the current folder
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)
        gc.set_threshold(*threshold)
        gc.callbacks[:] = callbacks
        signal.signal(signal.SIGTERM, on_terminate)
        context.providers = providers
