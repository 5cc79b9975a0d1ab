"""`vbc status`: how loading goes, for people and for monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, pipeline_options

if TYPE_CHECKING:
    from vbc_source.monitoring.status import Status


@click.command(cls=Command)
@pipeline_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "prometheus"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--max-lag", type=click.FloatRange(min=0), metavar="MINUTES", help="Fail where it is more.")
def status(pipeline: str, dataset: str, destination: str, form: str, max_lag: float | None) -> dict[str, Any]:
    """Last success, lag, rows, requests, failures; nothing is asked of VBC.

    Exit status 1 where nothing was ever loaded, or the lag is more than --max-lag.
    """
    from datetime import datetime, timezone

    from vbc_source.load.sync import open_pipeline
    from vbc_source.monitoring.prometheus import write_prometheus
    from vbc_source.monitoring.status import read_status

    found = read_status(open_pipeline(pipeline, destination, dataset), datetime.now(timezone.utc))
    wrong = _find_wrong(found, max_lag)
    result = {"ok": wrong is None, **({"error": wrong} if wrong else {}), **asdict(found)}
    if form == "prometheus":
        click.echo(write_prometheus(found, ok=wrong is None), nl=False)
    elif form == "json":
        click.echo(json.dumps(result, default=str))
    else:
        click.echo(_write_text(found))
    if wrong:
        click.echo(f"vbc status: {wrong}", err=True)
    return result


def _find_wrong(found: Status, max_lag: float | None) -> str | None:
    if found.lag_seconds is None:
        return "nothing was ever loaded there: run vbc sync"
    if max_lag is not None and found.lag_seconds > max_lag * 60:
        return f"the lag is {_write_span(found.lag_seconds)}, which is more than {max_lag:g} minutes"
    return None


def _write_text(found: Status) -> str:
    lines = [f"Pipeline {found.pipeline}, dataset {found.dataset}:"]
    if found.busy:
        lines.append("Another process works on the database; what it holds is not known until that ends.")
    for told in found.lists:
        lines.append(
            f"{told.resource} of account {told.account_id}: {told.rows:,} recordings; last success "
            f"{told.last_success:%Y-%m-%d %H:%M:%S} UTC, {_write_span(told.lag_seconds)} behind now; "
            f"{told.lists} list(s), {told.unreadable} unreadable; {told.requests:,} requests, "
            f"{told.windows:,} windows so far."
        )
    if found.audio:
        files = ", ".join(f"{count:,} {name}" for name, count in sorted(found.audio.items()))
        lines.append(f"Audio: {files}.")
    return "\n".join([*lines, *_write_runs(found)])


def _write_runs(found: Status) -> list[str]:
    runs = found.runs
    lines = [f"Runs on this machine: {runs.succeeded} ended well, {runs.failed} failed."]
    if runs.running:
        lines.append(f"Process {runs.running} runs since {_write_moment(runs.began)}.")
    if runs.failed_in_a_row:
        lines.append(
            f"{runs.failed_in_a_row} failed since the last good one, the last at "
            f"{_write_moment(runs.last_failure)}: {runs.last_error}"
        )
    if found.pending_packages:
        lines.append(f"{found.pending_packages} load package(s) wait for the next run.")
    return lines


def _write_moment(seconds: float) -> str:
    from datetime import datetime, timezone

    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _write_span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
