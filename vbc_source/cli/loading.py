"""Commands that load: sync and backfill."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, print_lines, resources_option, span_options, target_options

if TYPE_CHECKING:
    from vbc_source import Target


@click.command(cls=Command)
@target_options
@span_options(
    "--start-date", "--end-date", end_help="Newest start: a backfill of a fixed span, without state."
)
@resources_option
def sync(
    target: Target, start_date: datetime | None, end_date: datetime | None, resources: list[str]
) -> dict[str, Any]:
    """Load what is new, after finishing what a failed run left."""
    from vbc_source import sync as run_sync

    result = run_sync(target, start_date=start_date, end_date=end_date, resources=resources)
    print_lines(result)
    return asdict(result)


@click.command(cls=Command)
@target_options
@span_options("--start-date", "--end-date", required=True)
@click.option(
    "--window",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Length of a window.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=min(os.cpu_count() or 1, 8),
    show_default="one for each processor, 8 at most",
    help="Windows to load at the same time, where the destination allows that.",
)
@resources_option
def backfill(
    target: Target,
    start_date: datetime,
    end_date: datetime,
    window: float,
    workers: int,
    resources: list[str],
) -> dict[str, Any]:
    """Load a fixed span in windows, those that are not proven complete; run it again to continue.

    It neither reads nor moves the cursors of `vbc sync`.
    """
    from vbc_source import backfill as run_backfill

    result = run_backfill(
        target, start_date, end_date, window, workers=workers, resources=resources, report=click.echo
    )
    print_lines(result)
    return asdict(result)
