"""Load all that is new into DuckDB; run it as a script, from cron, or from a scheduler.

Settings come from .dlt/config.toml, secrets from .dlt/secrets.toml or the environment.
"""

from __future__ import annotations

import os
import sys

import dlt

from vbc_source import Target, VbcError, sync


def load() -> bool:
    """Load what is new, after what a failed run left pending; return whether all of it adds up."""
    result = sync(Target("vbc", "duckdb", "vbc_data"))
    print(*result.summary(), sep="\n")
    return result.ok


if __name__ == "__main__":
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # else dlt reports usage to its makers
    if dlt.config.get("load.delete_completed_jobs") is None:  # else dlt keeps the rows of every load as files
        os.environ["LOAD__DELETE_COMPLETED_JOBS"] = "true"
    try:
        sys.exit(not load())
    except VbcError as error:
        sys.exit(f"{os.path.basename(__file__)}: {error}")
