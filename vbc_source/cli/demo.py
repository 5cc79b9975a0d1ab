"""The main job on invented data: emulator, load, changes at VBC, archive, models, three small tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb

from vbc_source.audio.archive_audio import archive_audio
from vbc_source.cli.figures import build_in_process
from vbc_source.errors import ExtraMissing, UsageError
from vbc_source.load.destinations import DATABASE, Target
from vbc_source.load.failures import check_installed
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import SyncResult, sync
from vbc_source.printable import align_columns
from vbc_source.verification.verify import verify
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection
from vbc_source.windows import parse_instant

USERS = 24
HELD_BACK = 40  # calls that the first run does not see: they are still being processed
ARCHIVE, ARCHIVED = "demo_audio", 25  # folder, files
# ages in seconds: of the recording that arrives late, within the lookback, and of the one that VBC loses
LATE_SECONDS, LOST_SECONDS = 20 * 3600, 10 * 86_400
DAY = 86_400
SETTLED_SECONDS = 2 * DAY  # the lookback
LOGIN = {
    "client_id": "demo-client",
    "client_secret": "demo-secret",
    "username": "demo",
    "password": "demo-password",
}
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
EXAMPLE = Path(".dlt/secrets.example.toml")  # in a checkout alone
IN_CHECKOUT = {
    "vbc": ".venv/bin/vbc",
    "again": "make demo",
    "login": f"cp {EXAMPLE} .dlt/secrets.toml     and fill it in",
}
INSTALLED = {
    "vbc": "vbc",
    "again": "vbc demo",
    "login": ".dlt/secrets.toml     needs client_id, client_secret, username, password: see README",
}
NEXT = f"""
What to type next:
  {{vbc}} dashboard --open{{refresh}}      the figures as a page: find a call, press play{{extra}}
  {{again}}     again: loads what has arrived since, and shows how few requests that took
  {{vbc}} --help     all commands
With an account of your own:
  {{login}}
  rm -r {DATABASE} {ARCHIVE}    the invented recordings
  {{vbc}} doctor     what works, what does not, what to change
  {{vbc}} sync       the same job on your recordings"""


def import_emulator() -> ModuleType:
    """Import the emulator, an optional part."""
    try:
        from vbc_source import emulator
    except ImportError as error:
        raise ExtraMissing(f"the emulator needs {error.name}", "emulator") from None
    return emulator


def run_demo(
    recordings: int, seed: int, report: Callable[[str], None], *, models: bool | None = None
) -> SyncResult:
    """Load the invented call centre, let it change, archive a part, build the models, and report.

    The models are built if dbt is installed, unless `models` says whether.
    """
    emulator = import_emulator()
    # refused before anything is loaded
    if models:
        check_installed("dbt")
    elif models is None:
        models = find_spec("dbt") is not None
    target = Target("vbc_demo")
    with hold_pipeline(target) as pipeline:
        # the state comes from the database: after dlt's folder was lost, a second run would look like a first
        pipeline.sync_destination()
        first = pipeline.first_run
        killed = pipeline.has_pending_data
    # a first run that was killed may have left tables too, and its package is still pending
    if first and not killed and LoadedTables(target).find("company_recordings"):
        raise UsageError(
            f"dataset {target.dataset} here holds recordings that vbc demo has not loaded, and would mix "
            "with the invented ones: run it in another folder"
        )
    report(f"Inventing a year of a call centre with {USERS} users, {recordings:,} recordings …")
    gateway = emulator.Gateway(
        seed=seed,
        recordings=recordings,
        # the next run finds them, and shows how few requests an increment takes
        held_back=HELD_BACK if first else 0,
        users=USERS,
        user_recordings=recordings // 20,
    )
    with emulator.Emulator(gateway) as url, _signed_in(url):
        report(f"An emulated VBC gateway serves them at {url}. Loading into {DATABASE} …")
        before = 0 if first else _count()
        changes = _plan_changes(gateway) if first else None
        result = sync(target)
        if changes:
            _change(gateway, changes, target, report)
    if models:
        report("Building the models …")
        build_in_process(target)
    _report(result, before, report, models=models)
    return result


@contextmanager
def _signed_in(url: str) -> Iterator[None]:
    """Set address and login of the emulator for the functions behind the commands."""
    values = {"base_url": url, **{f"credentials__{name}": value for name, value in LOGIN.items()}}
    # dlt looks into the environment before files: the user's own login and address are not used meanwhile
    names = {f"SOURCES__VBC__{name.upper()}": value for name, value in values.items()}
    kept = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _plan_changes(gateway: Any) -> tuple[str, str]:
    """Hide a recording that will arrive late; return its id, and that of one that VBC will lose."""
    now = gateway.clock()
    rows = [(row["id"], parse_instant(row["start"]).timestamp()) for row in gateway.company.all()]
    late = next((id_ for id_, start in rows if start < now - LATE_SECONDS), rows[0][0])
    lost = next((id_ for id_, start in rows if start < now - LOST_SECONDS), rows[-1][0])
    # until `_change` lets it appear
    gateway.company.hold(late, float("inf"))
    return late, lost


def _change(gateway: Any, changes: tuple[str, str], target: Target, report: Callable[[str], None]) -> None:
    """Let a recording arrive late and another one vanish, and archive the audio of a part."""
    late, lost = changes
    gateway.company.hold(late, 0)
    found = sync(target)
    report(
        f"A recording of yesterday arrived late: the next run read the last days again and found it, with "
        f"{found.requests} list requests."
    )
    gateway.company.delete(lost)
    marked = verify(target, repair=True).tombstoned
    report(f"VBC lost a recording: vbc verify --repair marked {marked} as gone, and keeps it.")
    # the newest of the days that are proven: the first page shows these, and some days have few calls
    settled = datetime.fromtimestamp((gateway.clock() - SETTLED_SECONDS) // DAY * DAY, timezone.utc)
    # the first row has the names of the columns
    _, *starts = _query(
        'SELECT "start" FROM vbc_data.company_recordings WHERE "start" < CAST(? AS TIMESTAMPTZ) '
        f"ORDER BY 1 DESC LIMIT {ARCHIVED}",
        settled.isoformat(),
    )
    newest = RecordingSelection(since=starts[-1][0] if starts else None, until=settled)
    stored = archive_audio(target, bucket_url=ARCHIVE, selection=newest, limit=ARCHIVED).stored
    report(f"The audio of {stored} is archived in the folder {ARCHIVE}/ (all silent: it is invented).")


def _report(result: SyncResult, before: int, report: Callable[[str], None], *, models: bool) -> None:
    report(
        f"\nRead and proven complete: {result.recordings:,} recordings in {result.windows} windows with "
        f"{result.requests} list requests, {result.seconds:.1f} s."
    )
    report(f"In {DATABASE}: {_count():,} company recordings, {_count() - before:,} of them new.")
    for title, query in TABLES.items():
        report(f"\n{title}\n{_format(query)}")
    refresh, extra = ("", "") if models else (" --refresh", "; needs the extras dashboard and dbt")
    names = IN_CHECKOUT if EXAMPLE.exists() else INSTALLED
    report(NEXT.format(refresh=refresh, extra=extra, **names))


def _query(query: str, *values: str) -> list[list[Any]]:
    """Return the names of the columns, then the rows."""
    with duckdb.connect(DATABASE, read_only=True) as database:
        cursor = database.execute(query, values)
        return [[column[0] for column in cursor.description], *map(list, cursor.fetchall())]


def _count() -> int:
    return int(_query("SELECT count(*) FROM vbc_data.company_recordings")[1][0])


def _format(query: str) -> str:
    lines = [[cell if isinstance(cell, str) else f"{cell:,.0f}" for cell in row] for row in _query(query)]
    return "\n".join(f"  {line}" for line in align_columns(lines, right=range(1, len(lines[0]))))
