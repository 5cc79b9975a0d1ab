"""The commands of exports: VBC packs many recordings into a zip, which comes in one request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import INSTANT_HELP, Command, bucket_option, pipeline_options, read_date

if TYPE_CHECKING:
    from vbc_source.api.export_job import Job
    from vbc_source.api.export_jobs import ExportApi


@click.group()
def export() -> None:
    """Have VBC pack recordings into zips, and archive those: few requests for many files."""


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whose exports are meant."""
    for option in (
        click.option("--account", metavar="ID", help="Where account_id in the settings names several."),
        click.option("--user", metavar="ID", help="A user's on-demand recordings, not the company's."),
    ):
        command = option(command)
    return command


timeout_option = click.option(
    "--timeout", type=click.FloatRange(0), default=3600, show_default=True, metavar="SECONDS"
)
jobs_argument = click.argument("jobs", metavar="JOB...", nargs=-1, required=True)


def open_api(user: str | None, account: str | None) -> ExportApi:
    """Connect to the API from configuration."""
    from vbc_source.api.client import Client
    from vbc_source.api.export_jobs import ExportApi
    from vbc_source.config import load_config
    from vbc_source.load.failures import explaining

    with explaining():
        config = load_config()
        account = config.choose_account(account)
    return ExportApi(
        Client.from_config(config), config.recording_api, account, user or "self", config.login_name
    )


@export.command("create", cls=Command)
@place_options
@click.option("--start", callback=read_date, metavar="DATE", help=f"Oldest start. {INSTANT_HELP}")
@click.option("--end", callback=read_date, metavar="DATE", help="Newest start.")
@click.option("--direction", type=click.Choice(["INBOUND", "OUTBOUND", "INTRA_PBX"], case_sensitive=False))
@click.option("--extension", metavar="NUMBER", help="Only of this extension.")
@click.option("--min-duration", type=click.FloatRange(0), metavar="SECONDS")
@click.option("--max-duration", type=click.FloatRange(0), metavar="SECONDS")
def create(
    user: str | None,
    account: str | None,
    start: datetime | None,
    end: datetime | None,
    direction: str | None,
    extension: str | None,
    min_duration: float | None,
    max_duration: float | None,
) -> dict[str, Any]:
    """Start an export; prints the ids of its jobs, one a line."""
    from vbc_source.api.export_filters import make_filters

    filters = make_filters(start, end, direction, extension, min_duration, max_duration)
    api = open_api(user, account)
    with closing(api.client):
        ids = api.create(filters, company=user is None)
    for id_ in ids:
        click.echo(id_)
    return {"job_ids": ids}


@export.command("list", cls=Command)
@place_options
def list_jobs(user: str | None, account: str | None) -> dict[str, Any]:
    """List export jobs as VBC has them: the API user's, or those of --user."""
    api = open_api(user, account)
    with closing(api.client):
        jobs = list(api.list_jobs())
    return {"jobs": list(_tell(jobs))}


@export.command("wait", cls=Command)
@place_options
@timeout_option
@jobs_argument
def wait(user: str | None, account: str | None, timeout: float, jobs: tuple[str, ...]) -> dict[str, Any]:
    """Wait until jobs are complete."""
    api = open_api(user, account)
    with closing(api.client):
        return {"jobs": list(_tell(api.wait(jobs, timeout)))}


def _tell(jobs: Iterable[Job]) -> Iterable[dict[str, Any]]:
    """Print a line for each job, and give it as JSON has it."""
    for job in jobs:
        until = f", until {job.valid_until:%Y-%m-%d %H:%M}" if job.valid_until else ""
        click.echo(f"{job.id}  {job.progress}{until}")
        fields = asdict(job)
        yield {name: fields[name] for name in ("id", "status", "completed", "total", "valid_until")}


@export.command("download", cls=Command)
@pipeline_options
@bucket_option("Where files go: a folder, s3://…, gs://… or az://…")
@place_options
@jobs_argument
def download(
    pipeline: str,
    dataset: str,
    destination: str,
    bucket_url: str | None,
    user: str | None,
    account: str | None,
    jobs: tuple[str, ...],
) -> dict[str, Any]:
    """Archive what complete jobs have packed, each file as the recording that it is."""
    from vbc_source.audio.exports.download import download_exports, summarize

    outcome = download_exports(
        jobs, pipeline, destination, dataset, bucket_url=bucket_url, user=user, account=account
    )
    for line in summarize(outcome):
        click.echo(line)
    for error in outcome.errors:
        click.echo(f"vbc export download: {error}", err=True)
    return asdict(outcome)
