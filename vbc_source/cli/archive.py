"""Commands that act on audio and on single recordings: audio, export, recordings."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import (
    ALL,
    Amount,
    Command,
    Function,
    Group,
    bucket_option,
    choice_option,
    choose_types,
    echo,
    print_result,
    recording_type_option,
    span_options,
    target_options,
)
from vbc_source.errors import VbcError
from vbc_source.recordings import RECORDING_TYPES
from vbc_source.windows import format_instant

if TYPE_CHECKING:
    from vbc_source import Target

FILES = "Where files go: a folder, s3://…, gs://… or az://…"
account_option = click.option(
    "--account", metavar="ID", help="The account, if the setting account_id lists several."
)


@click.command(cls=Command)
@target_options
@bucket_option(FILES)
@span_options("--since", "--until")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Archive at most N files.")
@recording_type_option("Company recordings, users' own, or both.", ALL)
@choice_option(
    "--via",
    ("files", "export", "auto"),
    "One by one, packed by VBC into zips, or whichever takes fewer requests.",
    "files",
)
@click.option(
    "--rebuild-ledger",
    is_flag=True,
    help="Archive nothing; rebuild the ledger, and recordings that are not loaded, from the bucket alone.",
)
def audio(
    target: Target,
    since: datetime | None,
    until: datetime | None,
    recording_type: str,
    rebuild_ledger: bool,
    **options: Any,
) -> dict[str, Any]:
    """Archive the audio of recordings that are loaded and not archived yet, oldest first."""
    from vbc_source import archive_audio
    from vbc_source.warehouse.recordings import RecordingSelection

    if rebuild_ledger:
        return _rebuild(target, since or until or options["limit"] or recording_type != ALL, **options)
    if options["limit"] and options["via"] == "export":
        raise click.UsageError("--limit goes with --via files: an export brings all of a span")
    selection = RecordingSelection(choose_types(recording_type), since, until)
    return print_result(archive_audio(target, selection=selection, **options))


def _rebuild(target: Target, narrowed: Any, bucket_url: str | None, via: str, **_: Any) -> dict[str, Any]:
    from vbc_source import rebuild_ledger

    if narrowed or via != "files":
        raise click.UsageError("--rebuild-ledger takes the whole bucket: leave the other options out")
    return print_result(rebuild_ledger(target, bucket_url=bucket_url))


@click.group(cls=Group)
def recordings() -> None:
    """List, show or delete single recordings at VBC."""


def owner_options(command: Function) -> Function:
    """Add the options for the owner of recordings, the arguments of `open_recordings`."""
    user = click.option("--user", default="self", metavar="ID", help="For --recording-type user.")
    text = "Company recordings, or a user's own."
    return choice_option("--recording-type", RECORDING_TYPES, text, "company")(user(account_option(command)))  # type: ignore[no-any-return]


@recordings.command("list", cls=Command)
@owner_options
@span_options("--since", "--until")
@click.option("--limit", type=click.IntRange(1), default=20, metavar="N", help="List at most N.")
def list_recordings(
    since: datetime | None, until: datetime | None, limit: int, **owner: Any
) -> dict[str, Any]:
    """List recordings as VBC has them now, newest first."""
    from vbc_source import open_recordings

    bounds = {"start:gte": since, "start:lte": until}
    filters = {name: format_instant(bound) for name, bound in bounds.items() if bound}
    rows = list(open_recordings(**owner).list(filters, limit))
    for row in rows:
        size, duration = row.get("file_size_in_bytes"), row.get("duration")
        seconds = f"{duration / 1000:.0f} s" if isinstance(duration, (int, float)) else "-"
        echo(
            f"{row.get('id')}  {row.get('start')}  {row.get('call_direction')}  {seconds}  {size} B  "
            f"call {row.get('call_id')}"
        )
    return {"recordings": rows}


@recordings.command("show", cls=Command, tenants="one")
@owner_options
@click.argument("recording_id", metavar="ID", type=int)
def show_recording(recording_id: int, **owner: Any) -> dict[str, Any]:
    """Show a recording as VBC has it now."""
    from vbc_source import open_recordings

    row = open_recordings(**owner).show(recording_id)
    for name, value in row.items():
        if name != "_links":
            echo(f"{name}: {value}")
    return {"recording": row}


@recordings.command("delete", cls=Command, tenants="one")
@owner_options
@click.argument("recording_id", metavar="ID", type=int)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_recording(recording_id: int, yes: bool, **owner: Any) -> dict[str, Any]:
    """Delete a recording at VBC permanently, archived or not. To delete by age, use vbc retention."""
    from vbc_source import open_recordings

    name = f"{owner['recording_type']} recording {recording_id}"
    try:
        if not yes:
            # on stderr: the output may be read by a program
            click.confirm(f"Delete {name} at VBC for good?", abort=True, err=True)
    except click.Abort:
        # click would end without a JSON line, and without a word on what was done
        raise VbcError("nothing is deleted: the answer was not yes (--yes skips the question)") from None
    open_recordings(**owner).delete(recording_id)
    echo(f"{name} is deleted at VBC.")
    return {"deleted": recording_id}


@click.group(cls=Group)
def export() -> None:
    """Have VBC pack recordings into zips, and archive those: few requests for many files."""


def job_owner_options(command: Function) -> Function:
    """Add the options for the owner of exports, the arguments of `open_exports`."""
    text = "A user's on-demand recordings, not the company's."
    return click.option("--user", metavar="ID", help=text)(account_option(command))


jobs_argument = click.argument("jobs", metavar="JOB...", nargs=-1, required=True)


@export.command("create", cls=Command)
@job_owner_options
@span_options("--start", "--end")
@click.option(
    "--direction",
    type=click.Choice(["INBOUND", "OUTBOUND", "INTRA_PBX"], case_sensitive=False),
    help="Only calls in this direction.",
)
@click.option("--extension", metavar="NUMBER", help="Only calls of this extension.")
@click.option("--min-duration", type=Amount(0), metavar="SECONDS", help="Only calls at least this long.")
@click.option("--max-duration", type=Amount(0), metavar="SECONDS", help="Only calls at most this long.")
def create_export(user: str | None, account: str | None, **filters: Any) -> dict[str, Any]:
    """Start an export; print the ids of its jobs, one per line."""
    from vbc_source import open_exports
    from vbc_source.api.export_jobs import make_filters

    shortest, longest = filters["min_duration"], filters["max_duration"]
    if None not in (shortest, longest) and shortest > longest:
        raise click.UsageError("--min-duration is more than --max-duration")
    with closing(open_exports(user, account)) as exports:
        ids = exports.create(make_filters(**filters), company=user is None)
    for id_ in ids:
        echo(id_)
    return {"job_ids": ids}


@export.command("list", cls=Command)
@job_owner_options
def list_exports(**owner: Any) -> dict[str, Any]:
    """List export jobs as VBC has them: the API user's, or those of --user."""
    from vbc_source import open_exports

    with closing(open_exports(**owner)) as exports:
        return {"jobs": list(_print_jobs(exports.list_jobs()))}


@export.command("wait", cls=Command, tenants="one")
@job_owner_options
@click.option("--timeout", type=Amount(0), default=3600, metavar="SECONDS", help="Give up after this time.")
@jobs_argument
def wait_for_exports(timeout: float, jobs: tuple[str, ...], **owner: Any) -> dict[str, Any]:
    """Wait until jobs are complete."""
    from vbc_source import open_exports

    with closing(open_exports(**owner)) as exports:
        return {"jobs": list(_print_jobs(exports.wait(jobs, timeout)))}


def _print_jobs(jobs: Iterable[Any]) -> Iterable[dict[str, Any]]:
    """Print a line for each job, and yield it as JSON has it."""
    for job in jobs:
        until = f", until {job.valid_until:%Y-%m-%d %H:%M}" if job.valid_until else ""
        echo(f"{job.id}  {job.progress}{until}")
        fields = asdict(job)
        yield {name: fields[name] for name in ("id", "status", "completed", "total", "valid_until")}


@export.command("download", cls=Command, tenants="one")
@target_options
@bucket_option(FILES)
@job_owner_options
@jobs_argument
def download_export(target: Target, jobs: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Archive what complete jobs have packed, each file as the recording it belongs to."""
    from vbc_source import download_exports

    result = download_exports(jobs, target, **options)
    printed = print_result(result)
    for error in result.errors:
        echo(f"vbc export download: {error}", err=True)
    return printed
