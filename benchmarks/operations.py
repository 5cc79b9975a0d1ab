"""What an operator notices: loads in Postgres, growing lakes, pods, many customers, polling many users.

    python -m benchmarks.operations --list
    python -m benchmarks.operations postgres-load lake-parquet --json after.json --markdown after.md

Run it at the commit before a change and at the one after: a scenario uses the public API alone. Each works in
a folder of its own below the temporary folder, and in a Postgres schema of its own, which it drops.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine

LOGIN = {
    "CLIENT_ID": "demo-client",
    "CLIENT_SECRET": "demo-secret",
    "USERNAME": "demo",
    "PASSWORD": "demo-password",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        scenario: The scenario that measured it.
        name: What was measured.
        value: The number.
        unit: Its unit.
        limit: What it should not exceed; None where nothing was promised.
    """

    scenario: str
    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def met(self) -> str:
        """Whether the limit is kept."""
        return "" if self.limit is None else "yes" if self.value <= self.limit else "NO"


Measure = Callable[[argparse.Namespace], Iterator[Figure]]
SCENARIOS: dict[str, Measure] = {}


def scenario(name: str) -> Callable[[Measure], Measure]:
    """Register a scenario by its name; the first line of its docstring describes it."""

    def register(measure: Measure) -> Measure:
        SCENARIOS[name] = measure
        return measure

    return register


@contextmanager
def work_in_folder(**settings: str) -> Iterator[Path]:
    """Work in an empty folder with dlt's data in it, and settings in the environment."""
    before, folder = dict(os.environ), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="vbc-operations-") as made:
        os.environ |= {
            "DLT_DATA_DIR": f"{made}/dlt",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "CRITICAL",
            "SOURCES__VBC__USER_IDS": "[]",
            **{f"SOURCES__VBC__CREDENTIALS__{name}": value for name, value in LOGIN.items()},
            **settings,
        }
        os.chdir(made)
        try:
            yield Path(made)
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def measure_time(seconds: list[float]) -> Iterator[None]:
    """Append how long the work inside takes."""
    gc.collect()
    began = time.perf_counter()
    yield
    seconds.append(time.perf_counter() - began)


def write_markdown(figures: list[Figure]) -> str:
    """Write the figures as a table."""
    lines = ["| scenario | figure | value | limit | kept |", "|---|---|--:|--:|---|"]
    lines += [
        f"| {each.scenario} | {each.name} | {each.value:,.2f} {each.unit} | "
        f"{'' if each.limit is None else f'{each.limit:,.2f}'} | {each.met} |"
        for each in figures
    ]
    return "\n".join(lines) + "\n"


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("scenarios", nargs="*", help="names; all unless given")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--rows", type=int, default=200_000, help="recordings before the loads that are measured"
    )
    parser.add_argument(
        "--loads", type=int, default=4320, help="small loads of a lake (default: 30 days of 144)"
    )
    parser.add_argument("--users", type=int, default=2000, help="users of the account that is polled")
    parser.add_argument("--active", type=int, default=60, help="users who have recorded in the last days")
    parser.add_argument(
        "--runs", type=int, default=12, help="runs, each ten simulated minutes after the last"
    )
    parser.add_argument("--pod-users", type=int, default=5, help="users of the account that pods load")
    parser.add_argument("--latency", type=int, default=100, help="ms a response takes to pods")
    parser.add_argument("--json", type=Path, help="write figures and machine to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    options = parser.parse_args()
    if unknown := [name for name in options.scenarios if name not in SCENARIOS]:
        parser.error(f"unknown: {', '.join(unknown)}; there is {', '.join(SCENARIOS)}")
    return options


def main() -> int:
    """Measure, print, and write; 1 where a limit is not kept."""
    import benchmarks.operations_fixity
    import benchmarks.operations_lakes
    import benchmarks.operations_polling
    import benchmarks.operations_postgres
    import benchmarks.operations_status
    import benchmarks.operations_tenants  # noqa: F401 - each registers its scenarios

    registered = sys.modules["benchmarks.operations"].SCENARIOS
    SCENARIOS.update(registered)
    options = read_arguments()
    if options.list:
        for name, measure in SCENARIOS.items():
            print(f"{name:16} {(inspect.getdoc(measure) or '').splitlines()[0]}")
        return 0
    figures: list[Figure] = []
    for name in options.scenarios or SCENARIOS:
        for figure in SCENARIOS[name](options):
            print(
                f"{figure.scenario}: {figure.name}: {figure.value:,.2f} {figure.unit} {figure.met}",
                flush=True,
            )
            figures.append(figure)
    result: dict[str, Any] = {
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "figures": [asdict(figure) for figure in figures],
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.markdown:
        options.markdown.write_text(write_markdown(figures))
    return int(any(figure.met == "NO" for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
