"""Commands that check: status, doctor, verify."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, print_lines, span_options, target_options

if TYPE_CHECKING:
    from vbc_source import Target


@click.command(cls=Command)
@target_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "prometheus"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option(
    "--max-lag", type=click.FloatRange(min=0), metavar="MINUTES", help="Fail where the lag is larger."
)
def status(target: Target, form: str, max_lag: float | None) -> dict[str, Any]:
    """Show the last success, lag, rows, requests and failures; no request is sent to VBC.

    Exit status 1 where nothing was ever loaded, or the lag is larger than --max-lag.
    """
    from vbc_source import read_status
    from vbc_source.monitoring.prometheus import write_prometheus

    found = read_status(target, datetime.now(timezone.utc))
    problem = found.find_problem(max_lag)
    result = {"ok": problem is None, **({"error": problem} if problem else {}), **asdict(found)}
    if form == "prometheus":
        click.echo(write_prometheus(found, ok=problem is None), nl=False)
    elif form == "json":
        click.echo(json.dumps(result, default=str))
    else:
        print_lines(found)
    if problem:
        click.echo(f"vbc status: {problem}", err=True)
    return result


@click.command(cls=Command)
@target_options
def doctor(target: Target) -> dict[str, Any]:
    """Show what works, what does not, and what to change."""
    from vbc_source import diagnose

    checks = []
    for check in diagnose(target):
        mark = "ok  " if check.works else "FAIL" if check.needed else "note"
        click.echo(f"{mark}  {check.subject}: {check.text}")
        checks.append(asdict(check))
    ok = all(check["works"] or not check["needed"] for check in checks)
    if not ok:
        click.echo("vbc doctor: something that vbc sync needs does not work; see FAIL above", err=True)
    return {"ok": ok, "findings": checks}


@click.command(cls=Command)
@target_options
@span_options("--since", "--until", end_help="Newest start; now.")
@click.option(
    "--recording-type",
    type=click.Choice(["company", "user", "all"]),
    help="Default: those that were ever loaded.",
)
@click.option("--deep", is_flag=True, help="Compare ids everywhere, not only where counts differ.")
@click.option("--repair", is_flag=True, help="Load what is missing, and mark what is gone.")
def verify(
    target: Target,
    since: datetime | None,
    until: datetime | None,
    recording_type: str | None,
    deep: bool,
    repair: bool,
) -> dict[str, Any]:
    """Are we missing any? Compare what VBC has with what is loaded; exit status 1 while it differs."""
    from vbc_source import verify as run_verify
    from vbc_source.recordings import TYPES

    types = [name for name in TYPES if recording_type in (name, "all")]
    result = run_verify(target, since=since, until=until, types=types, deep=deep, repair=repair)
    print_lines(result)
    return asdict(result)
