"""One run of one contender: started, measured, and its rows counted."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median

from benchmarks.contenders import DATASET, POSTGRES, TABLE, Contender, Place, Work, make_environ
from benchmarks.environments import OWN
from benchmarks.fixture import Fixture
from benchmarks.measure import Measurement, run

TIMEOUT = 400.0
COUNTING = Path(__file__).with_name("counting.py")
YEARS_BACK = timedelta(days=3 * 365)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Attributes:
        contender: who.
        work: what.
        repetition: which one, from 0.
        measured: as seen from outside.
        inside: seconds without imports; None where the contender cannot tell.
        requests: list requests that were answered with a page.
        refused: list requests beyond the quota.
        in_flight: the most list requests at once.
        fault: what went wrong; empty when all rows are there, each once.
    """

    contender: str
    work: Work
    repetition: int
    measured: Measurement
    inside: float | None
    requests: int
    refused: int
    in_flight: int
    fault: str


def perform(contender: Contender, work: Work, fixture: Fixture, repetition: int = 0) -> Result:
    """Let a contender load everything into an empty place."""
    folder = Path(tempfile.mkdtemp(prefix="vbc-bench-"))
    try:
        place = Place(fixture.url, folder, read_start())
        fixture.set(work.page_size, work.delay, work.per_minute)
        measured = run(contender.command(work, place), make_environ(work, place), folder, TIMEOUT)
        stats = fixture.take_stats()
        return Result(
            contender=contender.name,
            work=work,
            repetition=repetition,
            measured=measured,
            inside=_read_inside(measured.output),
            requests=stats["pages"],
            refused=stats["refused"],
            in_flight=stats["most_in_flight"],
            fault=_find_fault(contender, work, folder, measured),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_start() -> str:
    """Where contenders begin to read: three years ago, before all recordings."""
    return f"{datetime.now(timezone.utc) - YEARS_BACK:%Y-%m-%dT00:00:00Z}"


def _read_inside(output: str) -> float | None:
    for line in reversed(output.splitlines()):
        with suppress(ValueError, AttributeError):
            told = json.loads(line)
            return told.get("seconds_inside")
    return None


def _find_fault(contender: Contender, work: Work, folder: Path, measured: Measurement) -> str:
    if measured.status:
        lines = [line.strip() for line in measured.errors.splitlines() if line.strip()]
        told = next((line for line in reversed(lines) if "Error" in line or "rror:" in line), "")
        return f"failed with {measured.status}: {(told or (lines or ['nothing said'])[-1])[:160]}"
    arguments = {
        "duckdb": ["duckdb", str(_find_database(folder)), contender.table],
        "filesystem": ["duckdb", "", f"read_parquet('{folder}/lake/{DATASET}/{TABLE}/**/*.parquet')"],
        "postgres": ["postgres", POSTGRES, DATASET, TABLE],
    }[work.destination]
    counted = subprocess.run([OWN.python, COUNTING, *arguments], capture_output=True, text=True, check=False)
    if counted.returncode:
        return f"cannot be counted: {(counted.stderr.strip().splitlines() or [''])[-1][:160]}"
    rows, ids = json.loads(counted.stdout)
    return "" if rows == ids == work.rows else f"wrong: {rows:,} rows, {ids:,} distinct ids of {work.rows:,}"


def _find_database(folder: Path) -> Path:
    return next((path for path in folder.glob("*.duckdb")), folder / "missing.duckdb")


@dataclass(frozen=True, slots=True)
class Summary:
    """The runs of one contender at one work: median, least and most.

    Attributes:
        results: the runs.
    """

    results: tuple[Result, ...]

    @property
    def fault(self) -> str:
        """What went wrong, if anything."""
        return next((result.fault for result in self.results if result.fault), "")

    @property
    def seconds(self) -> list[float]:
        """Whole processes."""
        return [result.measured.seconds for result in self.results]

    @property
    def inside(self) -> list[float]:
        """Without imports; empty where the contender cannot tell."""
        return [result.inside for result in self.results if result.inside is not None]

    @property
    def cpu_seconds(self) -> float:
        """Median."""
        return median(result.measured.cpu_seconds for result in self.results)

    @property
    def peak_bytes(self) -> int:
        """The most of all runs."""
        return max(result.measured.peak_bytes for result in self.results)

    @property
    def requests(self) -> int:
        """Pages that were asked for; the most of all runs."""
        return max(result.requests for result in self.results)

    @property
    def refused(self) -> int:
        """Refused requests; the most of all runs."""
        return max(result.refused for result in self.results)

    @property
    def in_flight(self) -> int:
        """The most at once of all runs."""
        return max(result.in_flight for result in self.results)


def summarize(results: list[Result]) -> dict[tuple[str, Work], Summary]:
    """Put the runs of the same contender at the same work together."""
    found: dict[tuple[str, Work], list[Result]] = {}
    for result in results:
        found.setdefault((result.contender, result.work), []).append(result)
    return {key: Summary(tuple(group)) for key, group in found.items()}
