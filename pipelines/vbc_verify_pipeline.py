"""Compare what VBC has with what vbc_pipeline.py has loaded; run it as a script or from a scheduler.

Settings come from .dlt/config.toml, secrets from .dlt/secrets.toml or the environment.
"""

from __future__ import annotations

import os
import sys

from vbc_source import Target, VbcError, verify


def compare() -> bool:
    """Compare, load what is missing and mark what is gone; return whether nothing differs any more."""
    result = verify(Target("vbc", "duckdb", "vbc_data"), repair=True)
    print(*result.summary(), sep="\n")
    return result.ok


if __name__ == "__main__":
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # else dlt reports usage to its makers
    try:
        sys.exit(not compare())
    except VbcError as error:
        sys.exit(f"{os.path.basename(__file__)}: {error}")
