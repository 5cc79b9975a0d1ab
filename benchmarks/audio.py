"""Measure how fast audio files are copied into a folder: `vbc audio`, curl, a floor, the tutorial."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from benchmarks.contenders import DATASET, SCRIPTS, SYNC, Place, Work, make_environ
from benchmarks.environments import CONNECTOR, SCRIPT
from benchmarks.fixture import Fixture
from benchmarks.measure import Measurement, run
from benchmarks.recordings import PREFIX
from benchmarks.runs import read_start

WORK = Work(1_000)
LATENCIES = (0.0, 0.05)
TIMEOUT = 300.0
FILES, LINKS, CONFIG = "files", "links.txt", "curl.txt"
TOKEN = "Authorization: Bearer bench"

AUDIO: Mapping[str, str] = {
    "audio": "`vbc audio`: eight at once, each verified, hashed and in the ledger",
    "floor": "floor in Python: `requests`, eight at once, hashed, synced, read back; no ledger",
    "curl_at_once": "`curl --parallel`, eight at once",
    "curl": "`curl` in a loop",
    "tutorial": "the vendor's tutorial: `requests`, one after the other",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """One run of a contender.

    Attributes:
        contender: Its name.
        latency: Seconds before a request is answered.
        measured: As seen from outside.
        files: Number of files afterwards.
        size_bytes: Size of all files.
        fault: What went wrong; empty when all files are present with their full length.
    """

    contender: str
    latency: float
    measured: Measurement
    files: int
    size_bytes: int
    fault: str


def measure_audio(repetitions: int) -> Iterator[Fetched]:
    """Run all contenders in turns."""
    with Fixture(WORK.rows) as fixture:
        sizes = _list_sizes(fixture.url)
        for latency in LATENCIES:
            for _ in range(repetitions if not latency else 1):  # runs with latency take long and vary little
                for name in AUDIO:
                    yield _perform(name, fixture, latency, sizes)


def _list_sizes(url: str) -> Mapping[str, int]:
    """Return the links of all files with their sizes."""
    path = f"{PREFIX}/accounts/self/company_call_recordings?page_size={WORK.rows}"
    with urlopen(Request(url + path, headers=dict([TOKEN.split(": ")])), timeout=30) as answer:
        rows = json.load(answer)["_embedded"]["recordings"]
    return {row["download_url"]: row["file_size_in_bytes"] for row in rows}


def _perform(name: str, fixture: Fixture, latency: float, sizes: Mapping[str, int]) -> Fetched:
    folder = Path(tempfile.mkdtemp(prefix="vbc-bench-"))
    try:
        place = Place(fixture.url, folder, read_start())
        environ = make_environ(WORK, place)
        (folder / FILES).mkdir()
        fixture.set(WORK.page_size, 0.0, 0)
        command = _prepare(name, place, environ, list(sizes))
        fixture.set(WORK.page_size, latency, 0)
        measured = run(command, environ, folder, TIMEOUT)
        lengths = [path.stat().st_size for path in (folder / FILES).rglob("*.mp3")]
        fault = measured.errors[-160:] if measured.status else ""
        if not fault and sorted(lengths) != sorted(sizes.values()):
            fault = f"wrong: {len(lengths):,} files of {len(sizes):,}"
        return Fetched(name, latency, measured, len(lengths), sum(lengths), fault)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(
    name: str, place: Place, environ: Mapping[str, str], links: Sequence[str]
) -> Sequence[str | Path]:
    """Prepare what a contender needs (loaded metadata, or a list of links); return its command."""
    files = place.folder / FILES
    if name == "audio":
        run(SYNC.command(WORK, place), environ, place.folder, TIMEOUT)
        vbc = CONNECTOR.python.with_name("vbc")
        return [vbc, "audio", "--bucket-url", str(files), "--dataset", DATASET, "--recording-type", "company"]
    listed = [(link, files / f"{link.rpartition('/')[2]}.mp3") for link in links]
    (place.folder / LINKS).write_text("".join(f"{link} {path}\n" for link, path in listed))
    (place.folder / CONFIG).write_text(
        "".join(f'url = "{link}"\noutput = "{path}"\n' for link, path in listed)
    )
    if name in ("tutorial", "floor"):
        return [SCRIPT.python, SCRIPTS / f"audio_{name}.py", place.folder / LINKS]
    fetch = shlex.join(["curl", "--silent", "--fail", "--header", TOKEN])
    if name == "curl":
        return ["sh", "-c", f'while read -r link path; do {fetch} --output "$path" "$link"; done < {LINKS}']
    return ["sh", "-c", f"{fetch} --parallel --parallel-max 8 --config {CONFIG}"]


@dataclass(frozen=True, slots=True)
class AudioSummary:
    """The runs of one contender at one latency.

    Attributes:
        contender: Its name.
        latency: Seconds before a request is answered.
        runs: The results.
    """

    contender: str
    latency: float
    runs: Sequence[Fetched]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of a row in the results."""
        seconds = median(fetched.measured.seconds for fetched in self.runs)
        first = self.runs[0]
        fault = next((fetched.fault for fetched in self.runs if fetched.fault), "")
        return (
            AUDIO[self.contender],
            f"{self.latency * 1000:.0f}",
            f"{seconds:.2f}",
            f"{first.files / seconds:,.0f}" if not fault else f"**{fault}**",
            f"{first.size_bytes / 1e6 / seconds:,.0f}",
            f"{max(fetched.measured.peak_bytes for fetched in self.runs) / 1e6:,.0f}",
            f"{median(fetched.measured.cpu_seconds for fetched in self.runs):.1f}",
        )


HEADS = ("contender", "ms a request", "whole, s", "files a second", "MB a second", "peak, MB", "CPU, s")


def summarize_audio(fetched: Sequence[Fetched]) -> list[AudioSummary]:
    """Group runs by latency and contender."""
    return [
        AudioSummary(name, latency, runs)
        for latency in LATENCIES
        for name in AUDIO
        if (runs := [run for run in fetched if (run.contender, run.latency) == (name, latency)])
    ]
