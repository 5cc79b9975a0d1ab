"""A signal ends a command, also where Python or C code drops the exception that it raises."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from vbc_source.cli import process
from vbc_source.cli.process import ending_on_signals

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Interrupted:
    """An object whose end a signal interrupts, as those of dlt's connections to DuckDB."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_a_destructor_is_repeated_at_once_and_prints_nothing(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with ending_on_signals():
            Interrupted(number)
            signal.pause()

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_whose_exception_is_dropped_silently_is_repeated(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        with ending_on_signals():
            with suppress(KeyboardInterrupt):  # as pyarrow does while it imports pandas
                signal.raise_signal(number)
            signal.pause()

    monkeypatch.setattr(process, "CLEANUP_SECONDS", 0.05)
    with pytest.raises(KeyboardInterrupt):
        work()


def test_what_a_command_does_to_end_well_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(process, "CLEANUP_SECONDS", 0.01)
    monkeypatch.setattr(process, "_is_ending", lambda is_ending=process._is_ending: looks.append(is_ending()))

    def work() -> None:
        with ending_on_signals():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.pause()  # until the signal would be sent again

    with pytest.raises(KeyboardInterrupt):
        work()
    assert looks == [True]


def test_the_end_of_an_interrupted_command_is_not_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), ending_on_signals():
        signal.raise_signal(signal.SIGTERM)
    for number in SIGNALS:
        signal.raise_signal(number)


def test_a_command_that_ends_leaves_no_signal_behind() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with ending_on_signals(), suppress(KeyboardInterrupt):  # as the dashboard ends
        signal.raise_signal(signal.SIGINT)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_command_in_the_background_of_a_shell_still_ignores_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ending_on_signals():
        signal.raise_signal(signal.SIGINT)
