"""The command that compares what VBC has with what is loaded."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from vbc_source.cli.options import INSTANT_HELP, Command, pipeline_options, read_date


@click.command(cls=Command)
@pipeline_options
@click.option("--since", callback=read_date, metavar="DATE", help=f"Oldest start; start_date. {INSTANT_HELP}")
@click.option("--until", callback=read_date, metavar="DATE", help="Newest start; now.")
@click.option(
    "--recording-type",
    type=click.Choice(["company", "user", "all"]),
    help="Default: those that were ever loaded.",
)
@click.option("--deep", is_flag=True, help="Compare ids everywhere, not only where counts differ.")
@click.option("--repair", is_flag=True, help="Load what is missing, and mark what is gone.")
def verify(
    pipeline: str,
    dataset: str,
    destination: str,
    since: datetime | None,
    until: datetime | None,
    recording_type: str | None,
    deep: bool,
    repair: bool,
) -> dict[str, Any]:
    """Are we missing any? Compare what VBC has with what is loaded; exit status 1 while it differs."""
    from vbc_source.recordings import TYPES
    from vbc_source.verification.report import summarize
    from vbc_source.verification.verify import verify as compare

    if since and until and since > until:
        raise click.UsageError("--since is after --until")
    outcome = compare(
        pipeline,
        destination,
        dataset,
        since=since,
        until=until,
        types=[kind for kind in TYPES if recording_type in (kind, "all")],
        deep=deep,
        repair=repair,
    )
    for line in summarize(outcome):
        click.echo(line)
    return asdict(outcome)
