"""The command that loads a long history in windows."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

import click

from vbc_source.cli.options import INSTANT_HELP, Command, pipeline_options, read_date


@click.command(cls=Command)
@pipeline_options
@click.option(
    "--start-date", required=True, callback=read_date, metavar="DATE", help=f"Oldest start. {INSTANT_HELP}"
)
@click.option("--end-date", required=True, callback=read_date, metavar="DATE", help="Newest start.")
@click.option(
    "--window",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="How long a window is.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=min(os.cpu_count() or 1, 8),
    show_default="one a processor, 8 at most",
    help="Windows to load at once, where the destination allows that.",
)
@click.option("--resources", help="Only these, separated by commas.")
def backfill(
    pipeline: str,
    dataset: str,
    destination: str,
    start_date: datetime,
    end_date: datetime,
    window: float,
    workers: int,
    resources: str | None,
) -> dict[str, Any]:
    """Load a fixed span in windows, those that are not proven complete yet; again: what is left.

    It neither reads nor moves the cursors of `vbc sync`.
    """
    from vbc_source.backfills import backfill as steps

    if start_date > end_date:
        raise click.UsageError("--start-date is after --end-date")
    chosen = [name.strip() for name in (resources or "").split(",") if name.strip()]
    target = steps.Target(pipeline, destination, dataset)
    tally = steps.backfill(
        target, start_date, end_date, window, workers=workers, resources=chosen, tell=click.echo
    )
    rows = ", ".join(f"{count:,} {name}" for name, count in tally["rows"].items())
    click.echo(f"{tally['windows']} window(s) loaded, which hold {rows or 'nothing'}.")
    return dict(tally)
