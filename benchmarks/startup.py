"""Measure start-up: `vbc --help`, and runs with nothing to load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import EMPTY_DLT, PUBLIC, SYNC, Place, Work, make_environ
from benchmarks.environments import CONNECTOR
from benchmarks.fixture import Fixture
from benchmarks.measure import run
from benchmarks.runs import read_start

WORK = Work(20_000)
QUIET_HOURS = 72  # longer than the lookback


@dataclass(frozen=True, slots=True)
class Startup:
    """Seconds of whole processes, one for each repetition.

    Attributes:
        help: `vbc --help`.
        idle: `vbc sync` with nothing new, which reads the lookback's recordings again.
        public: `pipeline.run(vbc_source())` with nothing new.
        quiet: The same with no recordings in the lookback.
        empty: `import dlt` and an empty run of an existing pipeline.
        idle_requests: List requests of an idle sync.
    """

    help: list[float]
    idle: list[float]
    public: list[float]
    quiet: list[float]
    empty: list[float]
    idle_requests: int


def measure_startup(repetitions: int) -> Startup:
    """Measure the five in turns."""
    folder = Path(tempfile.mkdtemp(prefix="vbc-bench-"))
    help_command = [CONNECTOR.python.with_name("vbc"), "--help"]
    seconds: dict[str, list[float]] = {"help": [], "idle": [], "public": [], "quiet": [], "empty": []}
    requests = 0
    try:
        with Fixture(WORK.rows) as busy, Fixture(WORK.rows, QUIET_HOURS) as quiet:
            places = {
                "idle": (SYNC, Place(busy.url, folder / "idle", read_start())),
                "public": (PUBLIC, Place(busy.url, folder / "public", read_start())),
                "quiet": (SYNC, Place(quiet.url, folder / "quiet", read_start())),
                "empty": (EMPTY_DLT, Place(busy.url, folder / "empty", read_start())),
            }
            for repetition in range(repetitions + 1):  # the first one loads everything
                for name, (contender, place) in places.items():
                    place.folder.mkdir(exist_ok=True)
                    busy.take_stats()
                    took = _run(contender.command(WORK, place), place)
                    if name == "idle":
                        requests = busy.take_stats()["pages"]
                    if repetition:
                        seconds[name].append(took)
                if repetition:
                    seconds["help"].append(_run(help_command, places["idle"][1]))
        return Startup(**seconds, idle_requests=requests)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str | Path], place: Place) -> float:
    measured = run(command, make_environ(WORK, place), place.folder, 120)
    if measured.status:
        raise RuntimeError(f"{command[0]} failed: {measured.errors}")
    return measured.seconds
