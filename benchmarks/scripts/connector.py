"""The connector from Python, as `vbc sync` uses it; the time starts after the imports."""

from __future__ import annotations

import time
from datetime import datetime

from arguments import read_arguments, report

from vbc_source import Target, sync


def main() -> None:
    """Load what is new; all settings are in the environment."""
    arguments = read_arguments()
    target = Target("vbc", arguments.destination, "bench_vbc")
    started = time.perf_counter()
    start = datetime.fromisoformat(arguments.start.replace("Z", "+00:00"))
    sync(target, start_date=start, resources=["company_recordings"])
    report(started)


if __name__ == "__main__":
    main()
