"""The command that compares calls with recordings."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Amount, Command, print_result, span_options, target_options

if TYPE_CHECKING:
    from vbc_source import Target


@click.command(cls=Command)
@target_options
@span_options("--since", "--until", end_help="Newest start; default: now.")
@click.option(
    "--tolerance",
    type=Amount(0),
    default=10,
    metavar="SECONDS",
    help="How much the lengths of a call and its recording may differ.",
)
@click.option("--all", "known", is_flag=True, help="Report known gaps again, and fail for them.")
def reconcile(
    target: Target, since: datetime | None, until: datetime | None, tolerance: float, known: bool
) -> dict[str, Any]:
    """Was every call recorded? Compare loaded call logs and recordings; no request is sent to VBC.

    Exit status 1 where a call is flagged as recorded, has no recording, and was not reported before; or where
    calls and recordings do not have the same ids. What is open is in the table call_gaps. Needs the setting
    call_logs.
    """
    from vbc_source import reconcile as run_reconcile

    result = run_reconcile(target, since=since, until=until, tolerance=tolerance, known=known)
    print_result(result)
    return result.to_json()
