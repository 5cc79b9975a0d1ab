"""Run one contender, measure it, and count its rows."""

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
    """The result of a run.

    Attributes:
        contender: Its name.
        work: What it loaded.
        repetition: Counted from 0.
        measured: As seen from outside.
        inside: Seconds without imports; None if the contender does not report them.
        requests: List requests answered with a page.
        refused: List requests beyond the quota.
        in_flight: Most list requests at once.
        fault: What went wrong; empty if every row was loaded exactly once.
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
    """Run a contender in an empty folder."""
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
    """Return the oldest start to read: three years ago, before all recordings."""
    return f"{datetime.now(timezone.utc) - YEARS_BACK:%Y-%m-%dT00:00:00Z}"


def _read_inside(output: str) -> float | None:
    for line in reversed(output.splitlines()):
        with suppress(ValueError, AttributeError):
            reported = json.loads(line)
            # the command reports its own time among its counts
            return reported.get("seconds_inside", reported.get("seconds"))
    return None


def _find_fault(contender: Contender, work: Work, folder: Path, measured: Measurement) -> str:
    if measured.status:
        lines = [line.strip() for line in measured.errors.splitlines() if line.strip()]
        message = next((line for line in reversed(lines) if "Error" in line or "rror:" in line), "")
        return f"failed with {measured.status}: {(message or (lines or ['no output'])[-1])[:160]}"
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
        results: The runs.
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
        """Without imports; empty if the contender does not report it."""
        return [result.inside for result in self.results if result.inside is not None]

    @property
    def cpu_seconds(self) -> float:
        """Median."""
        return median(result.measured.cpu_seconds for result in self.results)

    @property
    def peak_bytes(self) -> int:
        """The maximum of all runs."""
        return max(result.measured.peak_bytes for result in self.results)

    @property
    def requests(self) -> int:
        """Pages answered; the maximum of all runs."""
        return max(result.requests for result in self.results)

    @property
    def refused(self) -> int:
        """Refused requests; the maximum of all runs."""
        return max(result.refused for result in self.results)

    @property
    def in_flight(self) -> int:
        """Requests in flight; the maximum of all runs."""
        return max(result.in_flight for result in self.results)


def summarize(results: list[Result]) -> dict[tuple[str, Work], Summary]:
    """Group results by contender and work."""
    groups: dict[tuple[str, Work], list[Result]] = {}
    for result in results:
        groups.setdefault((result.contender, result.work), []).append(result)
    return {key: Summary(tuple(group)) for key, group in groups.items()}
