"""Commands that load, and that check what is loaded: sync, backfill, compact, status, doctor, verify."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import (
    Amount,
    Command,
    choose_types,
    echo,
    print_result,
    recording_type_option,
    resources_option,
    span_options,
    target_options,
)

if TYPE_CHECKING:
    from vbc_source import Target
    from vbc_source.monitoring.overview import StatusReport

WINDOWED = ("company_recordings", "user_recordings", "call_logs")  # resources with a cursor, and so a lag


@click.command(cls=Command)
@target_options
@span_options(
    "--start-date", "--end-date", end_help="Newest start: a backfill of a fixed span, without state."
)
@resources_option
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    metavar="N",
    help="Stop after about N requests; the next run continues there.",
)
def sync(target: Target, **options: Any) -> dict[str, Any]:
    """Load what is new, after finishing what a failed run left."""
    from vbc_source import sync as run_sync

    return print_result(run_sync(target, **options))


@click.command(cls=Command)
@target_options
@span_options("--start-date", "--end-date", required=True)
@click.option(
    "--window",
    type=Amount(0, min_open=True),
    default=30,
    metavar="DAYS",
    help="Length of a window.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=min(os.cpu_count() or 1, 8),
    # a text: the number depends on the machine, and the reference is written on any
    show_default="one for each processor, 8 at most",
    help="Windows to load at the same time, where the destination allows that.",
)
@resources_option
def backfill(
    target: Target, start_date: datetime, end_date: datetime, window: float, **options: Any
) -> dict[str, Any]:
    """Load the windows of a fixed span that are not proven complete; run it again to continue.

    It neither reads nor moves the cursors of `vbc sync`.
    """
    from vbc_source import backfill as run_backfill

    return print_result(run_backfill(target, start_date, end_date, window, report=echo, **options))


def _read_lags(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Read lags by resource; that of all others has no name."""
    lags: dict[str, float] = {}
    for value in values:
        # a limit without a name is that of all resources which no other limit names
        name, _, minutes = value.rpartition("=")
        if name and name not in WINDOWED:
            text = f"{name!r} has no lag; choose from {', '.join(WINDOWED)}"
            raise click.BadParameter(text, ctx, param)
        lags[name.strip()] = Amount(min=0)(minutes, param, ctx)
    return lags


def show_statuses(
    reports: Mapping[str | None, Any], *, together: bool, form: str, **_: Any
) -> dict[str | None, dict[str, Any]]:
    """Print a status, or those of all tenants together; the command prints JSON."""
    from vbc_source.monitoring.overview import StatusReport, write_table
    from vbc_source.monitoring.prometheus import write_page

    read = {
        name: StatusReport(None, str(report)) if isinstance(report, Exception) else report
        for name, report in reports.items()
    }
    results = {
        name: {
            "ok": report.problem is None,
            **({"error": report.problem} if report.problem else {}),
            **(asdict(report.status) if report.status else {}),
        }
        for name, report in read.items()
    }
    if form == "prometheus":
        # not `echo`, which writes one line and would escape the line ends of a page
        click.echo(write_page(read), nl=False)
    elif form == "text" and together:
        for line in write_table({str(name): report for name, report in read.items()}):
            echo(line)
    elif form == "text":
        for report in read.values():
            print_result(report.status)
    for name, report in read.items():
        if report.status and report.problem:
            echo(f"vbc status: {f'tenant {name}: ' * together}{report.problem}", err=True)
    return results


@click.command(cls=Command, show=show_statuses)
@target_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "prometheus"]),
    default="text",
    help="Output format.",
)
@click.option(
    "--max-lag",
    "max_lags",
    multiple=True,
    callback=_read_lags,
    metavar="[RESOURCE=]MINUTES",
    help="Fail if the lag is larger; repeat it for a limit of one resource, such as user_recordings=1440.",
)
def status(target: Target, max_lags: dict[str, float], **_: Any) -> StatusReport:
    """Show the last success, lag, rows, requests and failures; no request is sent to VBC.

    Exit status 1 where nothing was ever loaded, or the lag is larger than --max-lag.
    """
    from vbc_source import read_status
    from vbc_source.monitoring.overview import StatusReport

    found = read_status(target, datetime.now(timezone.utc))
    named = {name: minutes for name, minutes in max_lags.items() if name}
    return StatusReport(found, found.find_problem(max_lags.get(""), named))


@click.command(cls=Command)
@target_options
@click.option(
    "--bucket",
    is_flag=True,
    help="Also test, with a probe object, that the audio bucket refuses to delete locked objects.",
)
def doctor(target: Target, bucket: bool) -> dict[str, Any]:
    """Show what works, what does not, and what to change."""
    from vbc_source import diagnose

    checks, ok = [], True
    for check in diagnose(target, bucket=bucket):
        mark = "ok  " if check.works else "FAIL" if check.needed else "note"
        echo(f"{mark}  {check.subject}: {check.text}")
        checks.append(asdict(check))
        ok = ok and mark != "FAIL"
    if not ok:
        echo("vbc doctor: something that is needed does not work; see FAIL above", err=True)
    return {"ok": ok, "findings": checks}


@click.command(cls=Command)
@target_options
@span_options("--since", "--until", end_help="Newest start; default: now.")
@recording_type_option("Default: all that were ever loaded.")
@click.option("--deep", is_flag=True, help="Compare ids everywhere, not only where counts differ.")
@click.option("--repair", is_flag=True, help="Load what is missing, and mark what is gone.")
def verify(target: Target, recording_type: str | None, **options: Any) -> dict[str, Any]:
    """Is anything missing? Compare VBC with what is loaded; exit status 1 while they differ."""
    from vbc_source import verify as run_verify

    return print_result(run_verify(target, types=choose_types(recording_type), **options))


@click.command(cls=Command)
@target_options
def compact(target: Target) -> dict[str, Any]:
    """Compact a lake (--destination filesystem): join small files, remove outdated rows and files.

    `vbc sync` does so after every 24 loads, or 12 of Iceberg; [destination.filesystem] compact_every changes
    that.
    """
    from vbc_source import compact as run_compact

    return print_result(run_compact(target))
