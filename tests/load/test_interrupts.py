"""A signal that arrives while dlt normalizes or loads ends the run, though dlt forgets it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loading import credentials, open_pipeline, query, still_gateway

from vbc_source import vbc_source
from vbc_source.dlt_internals import intercepted_signals
from vbc_source.emulator import Gateway
from vbc_source.load.pipelines import keep_interrupts
from vbc_source.load.sync import run_pipeline

Serve = Callable[[Gateway], str]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    kept = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, kept)


def forgets_signals(step: Callable[[], Any]) -> Callable[[], Any]:
    """A step of dlt during whose last job a signal arrives."""

    def run() -> Any:
        result = step()
        with intercepted_signals():
            signal.raise_signal(signal.SIGTERM)
        return result

    return run


@pytest.mark.parametrize("step", [pytest.param("normalize", marks=pytest.mark.slow), "load"])
def test_a_signal_while_dlt_works_ends_the_run_behind_that_step(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    url, pipeline = serve(still_gateway(recordings=20)), open_pipeline()
    source = vbc_source(credentials=credentials(), base_url=url).with_resources("company_recordings")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, step, forgets_signals(getattr(pipeline, step)))
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(pipeline, source)
    run_pipeline(pipeline, source)
    assert query(pipeline, "SELECT count(*) FROM company_recordings") == [(20,)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_raised_at_the_end_and_then_forgotten(number: signal.Signals) -> None:
    seen = []

    def work() -> None:
        with keep_interrupts():
            signal.raise_signal(number)
            seen.append(number)

    with pytest.raises(KeyboardInterrupt):
        work()
    with keep_interrupts():
        pass
    assert seen == [number]
