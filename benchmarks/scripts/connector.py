"""The connector from Python, as `vbc sync` uses it; the time starts after the imports."""

from __future__ import annotations

import time
from datetime import datetime

from arguments import read_arguments, report

import vbc_source.load.sync as connector


def main() -> None:
    """Load what is new; all settings are in the environment."""
    arguments = read_arguments()
    began = time.perf_counter()
    start = datetime.fromisoformat(arguments.start.replace("Z", "+00:00"))
    with connector.hold_pipeline("vbc", arguments.destination, "bench_vbc") as pipeline:
        connector.run_sync(pipeline, connector.open_source(start, None, ["company_recordings"]))
    report(began)


if __name__ == "__main__":
    main()
