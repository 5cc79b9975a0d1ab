"""The command retention: delete by age, or plan and apply a policy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import (
    POLICY_FILE,
    Command,
    CommandGroup,
    bucket_option,
    hold_option,
    path_for_tenant,
    print_result,
    read_hold,
    target_options,
)
from vbc_source.errors import UsageError

if TYPE_CHECKING:
    from vbc_source import Target

FILES = "Where the files are"


@click.group(cls=CommandGroup, invoke_without_command=True)
@target_options
@click.option(
    "--older-than",
    type=click.IntRange(1),
    metavar="DAYS",
    help="Minimum age, by the start of the call. Required without a command.",
)
@click.option(
    "--shorter-than", type=click.IntRange(1), metavar="SECONDS", help="Only recordings of shorter calls."
)
@bucket_option(FILES)
@hold_option
@click.option("--apply", is_flag=True, help="Delete. Without it, nothing is deleted.")
def retention(
    target: Target,
    older_than: int | None,
    shorter_than: int | None,
    hold: Path | None,
    **options: Any,
) -> dict[str, Any]:
    """Delete at VBC what is old and archived, each file verified first; without --apply a dry run.

    With a policy: `vbc retention plan` writes down what it would do, `vbc retention apply` does it.
    """
    from vbc_source import retain

    ctx = click.get_current_context()
    if ctx.invoked_subcommand:
        _refuse_options(ctx)
        return {}
    if older_than is None:
        raise click.UsageError("Missing option '--older-than'.", ctx)
    legal_hold = read_hold(hold)
    try:
        age, length = timedelta(days=older_than), timedelta(seconds=shorter_than) if shorter_than else None
    except OverflowError:
        # timedelta ends at 999,999,999 days
        raise UsageError("--older-than or --shorter-than is longer than any recording is old") from None
    return print_result(retain(target, older_than=age, shorter_than=length, hold=legal_hold, **options))


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options before the name of a command: they would be without effect."""
    default = click.core.ParameterSource.DEFAULT
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") not in (default, None):
            raise click.UsageError(f"{param.opts[0]} must come after {ctx.invoked_subcommand}", ctx)


@retention.command(cls=Command)
@target_options
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    default=POLICY_FILE,
    metavar="FILE",
    help="The policy.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write the plan; without it, the plan is only shown.",
)
@bucket_option(FILES)
def plan(target: Target, out: Path | None, **options: Any) -> dict[str, Any]:
    """Show what a policy would do with each recording, and which rule says so; nothing is deleted."""
    from vbc_source import plan_retention

    return print_result(plan_retention(target, out=path_for_tenant(out) if out else None, **options))


@retention.command(cls=Command)
@target_options
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The plan, as vbc retention plan wrote it.",
)
@bucket_option(FILES)
def apply(target: Target, plan: Path, **options: Any) -> dict[str, Any]:
    """Do exactly what a plan says, or nothing if it no longer fits; again after a failure, to continue."""
    from vbc_source import apply_retention

    return print_result(apply_retention(target, plan=path_for_tenant(plan), **options))
