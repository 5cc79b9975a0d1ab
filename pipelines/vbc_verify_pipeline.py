"""Compare what VBC has with what vbc_pipeline.py has loaded; run it as a script or from a scheduler.

Settings come from .dlt/config.toml, secrets from .dlt/secrets.toml or the environment.
"""

from __future__ import annotations

import sys

from vbc_source.verification.report import summarize
from vbc_source.verification.verify import verify


def compare() -> bool:
    """Compare, load what is missing and mark what is gone; says whether nothing differs any more."""
    outcome = verify(pipeline="vbc", destination="duckdb", dataset="vbc", repair=True)
    print(*summarize(outcome), sep="\n")
    return outcome.ok


if __name__ == "__main__":
    sys.exit(not compare())
