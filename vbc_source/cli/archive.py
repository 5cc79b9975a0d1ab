"""The commands that act on what is loaded: the audio archive, retention, single recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import INSTANT_HELP, Command, bucket_option, pipeline_options, read_date
from vbc_source.errors import VbcError

if TYPE_CHECKING:
    from vbc_source.api.recordings import RecordingApi
    from vbc_source.audio.exports.planner import Via


@click.command(cls=Command)
@pipeline_options
@bucket_option("Where files go: a folder, s3://…, gs://… or az://…")
@click.option("--since", callback=read_date, metavar="DATE", help=f"Oldest start. {INSTANT_HELP}")
@click.option("--until", callback=read_date, metavar="DATE", help="Newest start.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many files.")
@click.option(
    "--recording-type", type=click.Choice(["company", "user", "all"]), default="all", show_default=True
)
@click.option(
    "--via",
    type=click.Choice(["files", "export", "auto"]),
    default="files",
    show_default=True,
    help="One by one, packed by VBC into zips, or whichever takes fewer requests.",
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
    via: Via,
) -> dict[str, Any]:
    """Archive the audio of recordings that are loaded and not archived yet, oldest first."""
    from vbc_source.audio.archive_audio import archive_audio, summarize
    from vbc_source.recordings import TYPES
    from vbc_source.warehouse.recordings import RecordingSelection

    if since and until and since > until:
        raise click.UsageError("--since is after --until")
    if limit and via == "export":
        raise click.UsageError("--limit goes with --via files: an export brings all of a span")
    types = tuple(kind for kind in TYPES if recording_type in (kind, "all"))
    outcome = archive_audio(
        pipeline,
        destination,
        dataset,
        bucket_url=bucket_url,
        selection=RecordingSelection(types, since, until),
        limit=limit,
        via=via,
    )
    for line in summarize(outcome):
        click.echo(line)
    return asdict(outcome)


@click.command(cls=Command)
@pipeline_options
@click.option(
    "--older-than", type=click.IntRange(1), required=True, metavar="DAYS", help="By the call's start."
)
@click.option("--shorter-than", type=click.IntRange(1), metavar="SECONDS", help="Only of shorter calls.")
@bucket_option("Where the files are")
@click.option(
    "--hold",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ids of recordings or calls that are kept, one a line.",
)
@click.option("--apply", is_flag=True, help="Delete. Without it, nothing is deleted.")
def retention(
    pipeline: str,
    dataset: str,
    destination: str,
    older_than: int,
    shorter_than: int | None,
    bucket_url: str | None,
    hold: Path | None,
    apply: bool,
) -> dict[str, Any]:
    """Delete at VBC what is old and archived, each file proven first; without --apply a dry run."""
    from vbc_source.retention.legal_hold import read_legal_hold
    from vbc_source.retention.retention import retain, summarize

    try:
        held = read_legal_hold(hold.read_text("utf-8")) if hold else None
    except (OSError, ValueError):
        raise click.BadParameter("is not a readable text file", param_hint="--hold") from None
    outcome = retain(
        pipeline,
        destination,
        dataset,
        older_than=timedelta(days=older_than),
        shorter_than=timedelta(seconds=shorter_than) if shorter_than else None,
        bucket_url=bucket_url,
        hold=held,
        apply=apply,
    )
    for line in summarize(outcome):
        click.echo(line)
    return asdict(outcome)


@click.group()
def recordings() -> None:
    """List, show or delete single recordings at VBC."""


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whose recordings are meant."""
    for option in (
        click.option("--account", metavar="ID", help="Where account_id in the settings names several."),
        click.option(
            "--user", default="self", show_default=True, metavar="ID", help="For --recording-type user."
        ),
        click.option(
            "--recording-type", type=click.Choice(["company", "user"]), default="company", show_default=True
        ),
    ):
        command = option(command)
    return command


def open_api(recording_type: str, user: str, account: str | None) -> RecordingApi:
    """Connect to the API from configuration."""
    from vbc_source.api.client import Client
    from vbc_source.api.recordings import RecordingApi
    from vbc_source.config import load_config
    from vbc_source.load.failures import explaining

    with explaining():
        config = load_config()
        account = config.choose_account(account)
    return RecordingApi(
        Client.from_config(config),
        config.recording_api,
        account,
        "user" if recording_type == "user" else "company",
        user,
    )


@recordings.command("list", cls=Command)
@place_options
@click.option("--since", callback=read_date, metavar="DATE", help=f"Oldest start. {INSTANT_HELP}")
@click.option("--until", callback=read_date, metavar="DATE", help="Newest start.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N")
def list_recordings(
    recording_type: str,
    user: str,
    account: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> dict[str, Any]:
    """List recordings as VBC has them now, newest first."""
    from vbc_source.windows import format_instant

    bounds = {"start:gte": since, "start:lte": until}
    filters = {name: format_instant(bound) for name, bound in bounds.items() if bound}
    rows = list(open_api(recording_type, user, account).list(filters, limit))
    for row in rows:
        size, duration = row.get("file_size_in_bytes"), row.get("duration")
        seconds = f"{duration / 1000:.0f} s" if isinstance(duration, (int, float)) else "-"
        click.echo(
            f"{row.get('id')}  {row.get('start')}  {row.get('call_direction')}  {seconds}  {size} B  "
            f"call {row.get('call_id')}"
        )
    return {"recordings": rows}


@recordings.command("show", cls=Command)
@place_options
@click.argument("recording_id", metavar="ID", type=int)
def show_recording(recording_type: str, user: str, account: str | None, recording_id: int) -> dict[str, Any]:
    """Show a recording as VBC has it now."""
    row = open_api(recording_type, user, account).show(recording_id)
    for name, value in row.items():
        if name != "_links":
            click.echo(f"{name}: {value}")
    return {"recording": row}


@recordings.command("delete", cls=Command)
@place_options
@click.argument("recording_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_recording(
    recording_type: str, user: str, account: str | None, recording_id: int, yes: bool
) -> dict[str, Any]:
    """Delete a recording at VBC, for good, archived or not. For whole ages, see vbc retention."""
    if not yes:
        _confirm(f"Delete {recording_type} recording {recording_id} at VBC for good?")
    open_api(recording_type, user, account).delete(recording_id)
    click.echo(f"{recording_type} recording {recording_id} is deleted at VBC.")
    return {"deleted": recording_id}


def _confirm(question: str) -> None:
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        raise VbcError("nothing is deleted: the question was not answered with yes (or use --yes)") from None
