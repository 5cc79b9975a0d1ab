"""The `vbc` command: parses arguments and calls. What takes long to import is imported when needed."""

from __future__ import annotations

import gc
import os
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from vbc_source.cli.archive import audio, recordings, retention
from vbc_source.cli.backfill import backfill
from vbc_source.cli.dashboard import dashboard
from vbc_source.cli.export import export
from vbc_source.cli.models import models
from vbc_source.cli.options import INSTANT_HELP, Command, pipeline_options, read_date
from vbc_source.cli.status import status
from vbc_source.cli.verify import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vbc-source", prog_name="vbc")
def main() -> None:
    """Call recordings of Vonage Business Communications, in your own hands.

    Settings and secrets come from .dlt/config.toml and .dlt/secrets.toml in this folder, or from the
    environment (SOURCES__VBC__…). Exit status: 0 done, 1 failed, 2 wrong usage.
    """
    # from the start, since imports make many objects; `run_pipeline` has it so for whoever calls it
    gc.set_threshold(100_000, 20, 20)
    # dlt reports usage to the outside unless told otherwise; whoever wants that sets it
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    # dlt logs every failure with its traceback before it raises it; one line is enough
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")
    # files that go from here into a database once are not worth the time of packing them
    os.environ.setdefault("NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION", "true")


@main.command(cls=Command)
@pipeline_options
@click.option(
    "--start-date", callback=read_date, metavar="DATE", help=f"Oldest start to read. {INSTANT_HELP}"
)
@click.option(
    "--end-date", callback=read_date, metavar="DATE", help="Newest start: a backfill, without state."
)
@click.option("--resources", help="Only these, separated by commas.")
def sync(
    pipeline: str,
    dataset: str,
    destination: str,
    start_date: datetime | None,
    end_date: datetime | None,
    resources: str | None,
) -> dict[str, Any]:
    """Load what is new, after finishing what a failed run left."""
    from vbc_source.load.sync import hold_pipeline, open_source, run_pipeline
    from vbc_source.monitoring.runs import record_run

    if start_date and end_date and start_date > end_date:
        raise click.UsageError("--start-date is after --end-date")
    chosen = [name.strip() for name in (resources or "").split(",") if name.strip()]
    with record_run(pipeline), hold_pipeline(pipeline, destination, dataset) as held:
        outcome = run_pipeline(held, open_source(start_date, end_date, chosen))
    if outcome.finished_earlier:
        click.echo(f"Loaded {outcome.finished_earlier} package(s) that an earlier run had left.")
    click.echo(
        f"{outcome.recordings:,} recordings read and proven complete in {outcome.windows} window(s), "
        f"{outcome.users} user(s)' own lists among them, {outcome.requests} list request(s), "
        f"{outcome.seconds:.1f} s."
    )
    for reason, titles in (("forbidden", outcome.forbidden), ("no longer known", outcome.not_found)):
        if titles:
            click.echo(f"Left out, {reason}: {', '.join(titles)}.")
    return asdict(outcome)


@main.command(cls=Command)
@pipeline_options
def doctor(pipeline: str, dataset: str, destination: str) -> dict[str, Any]:
    """Say what works, what does not, and what to change."""
    from vbc_source.config import load_config
    from vbc_source.load.failures import explaining
    from vbc_source.load.sync import open_pipeline
    from vbc_source.monitoring.doctor import examine

    findings = []
    with explaining():
        config = load_config()
    for finding in examine(open_pipeline(pipeline, destination, dataset), config):
        mark = "ok  " if finding.works else "FAIL" if finding.needed else "note"
        click.echo(f"{mark}  {finding.subject}: {finding.text}")
        findings.append(asdict(finding))
    ok = all(finding["works"] or not finding["needed"] for finding in findings)
    if not ok:
        click.echo("vbc doctor: something that vbc sync needs does not work; see FAIL above", err=True)
    return {"ok": ok, "findings": findings}


@main.command(cls=Command)
@click.option("--recordings", default=20_000, show_default=True, help="Recordings of the invented year.")
@click.option("--seed", default=1, show_default=True, help="Another seed invents another call centre.")
def demo(recordings: int, seed: int) -> dict[str, Any]:
    """Load an invented call centre from an emulated gateway into vbc.duckdb."""
    from vbc_source.cli.demo import run_demo

    return asdict(run_demo(recordings, seed, click.echo))


@main.command(cls=Command)
@click.option("--port", default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.option("--seed", default=1, show_default=True, help="Another seed invents another call centre.")
@click.option("--recordings", default=20_000, show_default=True, help="Recordings of the invented year.")
@click.option("--fault", "faults", multiple=True, metavar="NAME", help="Go wrong so; `list` shows the names.")
def emulator(port: int, seed: int, recordings: int, faults: tuple[str, ...]) -> None:
    """Serve an emulated VBC gateway with invented recordings, until interrupted."""
    from vbc_source.cli.demo import import_emulator

    emulated = import_emulator()
    if "list" in faults:
        for name, text in emulated.FAULTS.items():
            click.echo(f"{name}: {text}")
        return
    try:
        gateway = emulated.Gateway(seed=seed, recordings=recordings, faults=faults)
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{error}; --fault list shows the names", param_hint="--fault") from None
    click.echo(
        f"VBC gateway emulated at http://127.0.0.1:{port}: user demo, password demo-password, "
        "client demo-client, secret demo-secret. Ctrl-C ends it."
    )
    emulated.serve(gateway, port=port)


for command in (audio, backfill, dashboard, export, models, recordings, retention, status, verify):
    main.add_command(command)
