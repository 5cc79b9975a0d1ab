"""The main job on invented data: emulator, load, what was proven, three small tables."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import duckdb

from vbc_source.config import VbcCredentials
from vbc_source.errors import SettingsError
from vbc_source.load.destinations import DATABASE, Target
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import SyncResult, run_pipeline
from vbc_source.source import vbc_source

HELD_BACK = 40  # calls that the first run does not see: they are still being processed
TABLES = {
    "By direction": """
        SELECT call_direction AS direction, count(*) AS recordings,
               round(sum(duration) / 3600000.0) AS hours, round(median(duration) / 1000.0) AS median_s
        FROM vbc_data.company_recordings GROUP BY 1 ORDER BY 2 DESC""",
    "By duration": """
        SELECT CASE WHEN duration < 60000 THEN '1. under 1 min' WHEN duration < 300000 THEN '2. 1 to 5 min'
                    WHEN duration < 900000 THEN '3. 5 to 15 min' ELSE '4. over 15 min' END AS duration,
               count(*) AS recordings, round(sum(duration) / 3600000.0) AS hours
        FROM vbc_data.company_recordings GROUP BY 1 ORDER BY 1""",
    "By extension (the five busiest; a recording with two counts for both)": """
        SELECT extension, count(*) AS recordings
        FROM vbc_data.company_recordings__extensions GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5""",
}
NEXT = f"""
What to type next:
  make demo                  again: loads what has arrived since, and shows how few requests that took
  .venv/bin/vbc --help       all commands
With an account of your own:
  cp .dlt/secrets.example.toml .dlt/secrets.toml     and fill it in
  rm {DATABASE}              the invented recordings
  .venv/bin/vbc doctor       what works, what does not, what to change
  .venv/bin/vbc sync         the same job on your recordings"""


def import_emulator() -> ModuleType:
    """Import the emulator, an optional part."""
    try:
        from vbc_source import emulator
    except ImportError as error:
        raise SettingsError(
            f"the emulator needs {error.name}: install the extra `emulator` (pip install '.[emulator]' in a "
            "checkout)"
        ) from None
    return emulator


def run_demo(recordings: int, seed: int, report: Callable[[str], None]) -> SyncResult:
    """Load the invented call centre and report the result."""
    emulator = import_emulator()
    credentials = VbcCredentials()
    credentials.update(
        client_id="demo-client", client_secret="demo-secret", username="demo", password="demo-password"
    )
    with hold_pipeline(Target("vbc_demo")) as pipeline:
        pipeline.sync_destination()
        first = pipeline.first_run
        report(f"Inventing a year of a call centre, {recordings:,} recordings …")
        gateway = emulator.Gateway(seed=seed, recordings=recordings, held_back=HELD_BACK if first else 0)
        with emulator.Emulator(gateway) as url:
            report(f"An emulated VBC gateway serves them at {url}. Loading into {DATABASE} …")
            before = 0 if first else _count()
            result = run_pipeline(pipeline, vbc_source(credentials=credentials, base_url=url))
        _report(result, before, report)
    return result


def _report(result: SyncResult, before: int, report: Callable[[str], None]) -> None:
    report(
        f"\nRead and proven complete: {result.recordings:,} recordings in {result.windows} windows with "
        f"{result.requests} list requests, {result.seconds:.1f} s."
    )
    report(f"In {DATABASE}: {_count():,} recordings, {_count() - before:,} of them new.")
    for title, query in TABLES.items():
        report(f"\n{title}\n{_format(query)}")
    report(NEXT)


def _query(query: str) -> list[list[Any]]:
    """Return the names of the columns, then the rows."""
    with duckdb.connect(DATABASE, read_only=True) as database:
        cursor = database.execute(query)
        return [[column[0] for column in cursor.description], *map(list, cursor.fetchall())]


def _count() -> int:
    return int(_query("SELECT count(*) FROM vbc_data.company_recordings")[1][0])


def _format(query: str) -> str:
    lines = [[cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in row] for row in _query(query)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        f"  {first.ljust(widths[0])}  " + "  ".join(map(str.rjust, rest, widths[1:]))
        for first, *rest in lines
    )
