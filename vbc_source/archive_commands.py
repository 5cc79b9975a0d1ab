"""The commands that act on what is loaded: the audio archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from vbc_source.options import INSTANT_HELP, Command, pipeline_options, read_date


def bucket_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that says where files are."""
    return click.option(
        "--bucket-url", metavar="URL", help=f"{text}; default: [sources.vbc.audio] bucket_url."
    )


@click.command(cls=Command)
@pipeline_options
@bucket_option("Where files go: a folder, s3://…, gs://… or az://…")
@click.option("--since", callback=read_date, metavar="DATE", help=f"Oldest start. {INSTANT_HELP}")
@click.option("--until", callback=read_date, metavar="DATE", help="Newest start.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many files.")
@click.option(
    "--recording-type", type=click.Choice(["company", "user", "all"]), default="all", show_default=True
)
def audio(
    pipeline: str,
    dataset: str,
    destination: str,
    bucket_url: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    recording_type: str,
) -> dict[str, Any]:
    """Archive the audio of recordings that are loaded and not archived yet, oldest first."""
    from vbc_source.audio import archive_audio, summarize
    from vbc_source.backlog import Selection
    from vbc_source.recording import TYPES

    if since and until and since > until:
        raise click.UsageError("--since is after --until")
    types = tuple(kind for kind in TYPES if recording_type in (kind, "all"))
    outcome = archive_audio(
        pipeline,
        destination,
        dataset,
        bucket_url=bucket_url,
        selection=Selection(types, since, until),
        limit=limit,
    )
    for line in summarize(outcome):
        click.echo(line)
    return asdict(outcome)
