"""Load two years into Postgres in windows; run it as a script, and again to continue where it stopped.

Settings come from .dlt/config.toml, secrets from .dlt/secrets.toml ([sources.vbc.credentials],
[destination.postgres.credentials]) or the environment.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta, timezone

from vbc_source import Target, VbcError, backfill


def load() -> None:
    """Load what is not proven complete yet."""
    end = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=730)
    result = backfill(Target("vbc", "postgres", "vbc_data"), start, end, days=30, workers=4, report=print)
    print(*result.summary(), sep="\n")
    sys.exit(not result.ok)


if __name__ == "__main__":  # the workers are processes, which import this file again
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # else dlt reports usage to its makers
    try:
        load()
    except VbcError as error:
        sys.exit(f"{os.path.basename(__file__)}: {error}")
