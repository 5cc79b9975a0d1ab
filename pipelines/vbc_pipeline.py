"""Load all that is new into DuckDB; run it as a script, from cron, or from a scheduler.

Settings come from .dlt/config.toml, secrets from .dlt/secrets.toml or the environment.
"""

from __future__ import annotations

import os

import dlt

from vbc_source import vbc_source


def load() -> None:
    """Load what is new, after what a failed run left pending."""
    pipeline = dlt.pipeline("vbc", destination="duckdb", dataset_name="vbc_data")
    # a run with a pending package loads that and reads nothing
    pipeline.run()
    print(pipeline.run(vbc_source()))


if __name__ == "__main__":
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # else dlt reports usage to its makers
    if dlt.config.get("load.delete_completed_jobs") is None:  # else dlt keeps the rows of every load as files
        os.environ["LOAD__DELETE_COMPLETED_JOBS"] = "true"
    load()
