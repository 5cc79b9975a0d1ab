"""Archive the audio of what vbc_pipeline.py has loaded; run it as a script, from cron, or from a scheduler.

Settings come from .dlt/config.toml ([sources.vbc], [sources.vbc.audio]), secrets from .dlt/secrets.toml
([sources.vbc.credentials], [destination.filesystem.credentials]) or the environment.
"""

from __future__ import annotations

import sys

from vbc_source.audio.archive_audio import archive_audio, summarize


def archive() -> bool:
    """Archive what is not archived yet; says whether all went well."""
    outcome = archive_audio(pipeline="vbc", destination="duckdb", dataset="vbc")
    print(*summarize(outcome), sep="\n")
    return outcome.ok


if __name__ == "__main__":
    sys.exit(not archive())
