"""Archive the audio of what vbc_pipeline.py has loaded; run it as a script, from cron, or from a scheduler.

Settings come from .dlt/config.toml ([sources.vbc], [sources.vbc.audio]), secrets from .dlt/secrets.toml
([sources.vbc.credentials], [destination.filesystem.credentials]) or the environment.
"""

from __future__ import annotations

import os
import sys

from vbc_source import Target, VbcError, archive_audio


def archive() -> bool:
    """Archive what is not archived yet; return whether all went well."""
    result = archive_audio(Target("vbc", "duckdb", "vbc_data"))
    print(*result.summary(), sep="\n")
    return result.ok


if __name__ == "__main__":
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")  # else dlt reports usage to its makers
    try:
        sys.exit(not archive())
    except VbcError as error:
        sys.exit(f"{os.path.basename(__file__)}: {error}")
