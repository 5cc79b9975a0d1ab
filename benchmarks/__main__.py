"""Command line of the benchmark: `python -m benchmarks`, or `make bench`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from benchmarks.audio import measure_audio
from benchmarks.contenders import CONTENDERS, Work
from benchmarks.environments import ALL, CONNECTOR, OWN, SCRIPT, NotInstalled
from benchmarks.fixture import Fixture
from benchmarks.goals import judge
from benchmarks.machine import describe_machine
from benchmarks.plan import SCENARIOS, Scenario, choose
from benchmarks.report import Report
from benchmarks.runs import Result, perform
from benchmarks.startup import Startup, measure_startup

RESULTS = Path(__file__).with_name("RESULTS.md")
WARM_UP = Work(1000)
SLOW_SECONDS, SLOW_REPETITIONS = 30.0, 2  # a run longer than this is repeated so often at most


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, and write RESULTS.md."
    )
    scenarios = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--quick", action="store_true", help="only the small scenarios, once")
    parser.add_argument("--only", type=_split, default=[], help=f"contenders: {', '.join(CONTENDERS)}")
    parser.add_argument(
        "--scenarios", type=_split, default=[], help=f"{', '.join(scenarios)}, startup, audio"
    )
    parser.add_argument("--sizes", type=_split, default=[], help="numbers of recordings")
    parser.add_argument("--repetitions", type=int, help="repetitions of each scenario (default: its own)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    options = parser.parse_args()
    options.sizes = [int(size) for size in options.sizes]
    _check(parser, options.only, CONTENDERS)
    _check(parser, options.scenarios, [*scenarios, "startup", "audio"])
    return options


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check(parser: argparse.ArgumentParser, names: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(known)}")


def warm_up(names: Sequence[str]) -> dict[str, str]:
    """Run every contender on little data, which compiles its modules; return those that fail, and why."""
    left_out = {}
    with Fixture(WARM_UP.rows) as fixture:
        for name in names:
            contender = CONTENDERS[name]
            try:
                contender.environment.prepare()
            except NotInstalled as error:
                left_out[name] = str(error)
                continue
            work = replace(WARM_UP, destination=contender.destination)
            fault = perform(contender, work, fixture).fault
            if fault:
                left_out[name] = fault
    return left_out


def measure(scenarios: Sequence[Scenario], left_out: Sequence[str]) -> Iterator[Result]:
    """Measure the scenarios; those with the same recordings share a server."""
    ordered = sorted(scenarios, key=lambda scenario: scenario.work.rows)
    for rows, group in groupby(ordered, key=lambda scenario: scenario.work.rows):
        with Fixture(rows) as fixture:
            for scenario in group:
                print(f"\n{scenario.title}", flush=True)
                done = set(left_out)
                for repetition in range(scenario.repetitions):
                    for name in scenario.contenders:
                        if name in done:
                            continue
                        result = perform(CONTENDERS[name], scenario.work, fixture, repetition)
                        _print(result)
                        yield result
                        if repetition + 1 >= SLOW_REPETITIONS and result.measured.seconds > SLOW_SECONDS:
                            done.add(name)


def _print(result: Result) -> None:
    measured = result.measured
    inside = f"{result.inside:7.2f}" if result.inside is not None else "      –"
    print(
        f"  {result.contender:17} inside {inside} s, whole {measured.seconds:6.2f} s, "
        f"CPU {measured.cpu_seconds:6.2f} s, {measured.peak_bytes / 1e6:5.0f} MB, "
        f"{result.requests} requests {result.fault}",
        flush=True,
    )


def main() -> int:
    """Measure, write the results, and print which goals are met."""
    options = read_arguments()
    began, clock, machine = datetime.now(timezone.utc), time.monotonic(), describe_machine()
    scenarios = choose(options.scenarios, options.only, options.sizes, options.repetitions, options.quick)
    names = list(dict.fromkeys(name for scenario in scenarios for name in scenario.contenders))
    left_out = warm_up(names)
    for name, reason in left_out.items():
        print(f"{name} is skipped: {reason}", flush=True)
    results = list(measure(scenarios, list(left_out)))
    startup: Startup | None = None
    everything = not (options.scenarios or options.only or options.sizes)
    if "startup" in options.scenarios or everything:
        CONNECTOR.prepare()
        startup = measure_startup(3 if options.quick else 7)
    audio = []
    if "audio" in options.scenarios or everything:
        for place in (CONNECTOR, SCRIPT):
            place.prepare()
        audio = list(measure_audio(1 if options.quick else 3))
    used = {CONTENDERS[name].environment for name in names if name not in left_out} | {OWN}
    report = Report(
        began=began,
        minutes=(time.monotonic() - clock) / 60,
        machine=machine,
        versions={place.name: place.read_versions() for place in ALL if place in used},
        scenarios=scenarios,
        results=results,
        startup=startup,
        audio=audio,
        left_out=left_out,
    )
    options.output.write_text(report.write())
    print(f"\nWritten: {options.output}, after {report.minutes:.1f} minutes")
    for goal in judge(results, startup):
        print(f"  {({True: 'met', False: 'NOT MET', None: '–'})[goal.met]:8} {goal.text}: {goal.measured}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
