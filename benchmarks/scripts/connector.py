"""The public API, as docs/speed.md has it; the time starts after the imports.

With the variant `warm` it loads everything twice, into two databases, and reports the second time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import dlt
from arguments import Arguments, read_arguments, report

from vbc_source import VbcDuckDb, vbc_source


def load(arguments: Arguments, name: str, folder: Path) -> None:
    """Load what is new; all other settings are in the environment."""
    duckdb = arguments.destination == "duckdb"
    destination: Any = VbcDuckDb(str(folder / "vbc.duckdb")) if duckdb else arguments.destination
    pipeline = dlt.pipeline(name, destination=destination, dataset_name="bench_vbc")
    pipeline.run(vbc_source(start_date=arguments.start).with_resources("company_recordings"))


def main() -> None:
    """Run once, or twice to be warm."""
    arguments = read_arguments()
    if arguments.variant == "warm":
        first = arguments.folder / "first"
        first.mkdir()
        load(arguments, "first", first)
    began = time.perf_counter()
    load(arguments, "vbc", arguments.folder)
    report(began)


if __name__ == "__main__":
    main()
