"""dlt alone: `import dlt`, and a run that has nothing to load."""

from __future__ import annotations

import time

import dlt
from arguments import read_arguments, report


@dlt.resource(write_disposition="merge", primary_key="id")
def nothing():
    """Yield no rows."""
    yield from ()


def main() -> None:
    """Run."""
    arguments = read_arguments()
    began = time.perf_counter()
    destination = dlt.destinations.duckdb(str(arguments.database))
    dlt.pipeline("empty", destination=destination, dataset_name="empty").run(nothing())
    report(began)


if __name__ == "__main__":
    main()
