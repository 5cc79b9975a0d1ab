"""The command that erases what concerns a person: forget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import (
    POLICY_FILE,
    Command,
    bucket_option,
    hold_option,
    print_result,
    read_hold,
    target_options,
)

if TYPE_CHECKING:
    from vbc_source import Target

STDIN = "-"


@click.command(cls=Command, tenants="one")
@target_options
@click.argument("number", metavar="[NUMBER]", required=False)
@click.option("--caller-hash", metavar="H", help="The number's hash, as stored with pii = hash.")
@click.option(
    "--recording",
    "recordings",
    multiple=True,
    metavar="ID",
    help="A recording by its id, user/USER/ID or recording_key, where no table has the number; repeatable.",
)
@bucket_option("Where the files are")
@hold_option
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The retention policy: what it keeps is not erased; default: retention.toml here, if there is one.",
)
@click.option(
    "--certificate",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the certificate is written; default: here.",
)
@click.option("--apply", is_flag=True, help="Erase. Without it, nothing is erased.")
def forget(
    target: Target, number: str | None, hold: Path | None, policy: Path | None, **options: Any
) -> dict[str, Any]:
    """Erase every copy of a caller's recordings: at VBC, in the bucket, in tables and files.

    Without --apply it is a dry run, which lists the copies.

    NUMBER is a telephone number in any spelling. Others on this machine can see it in the list of processes,
    and the shell keeps it in its history: pass - to read it from stdin.
    """
    from vbc_source import forget as erase

    if number == STDIN:
        number = sys.stdin.readline().strip()
    # what a policy keeps must not be erased only because nobody has named the file
    if policy is None and Path(POLICY_FILE).exists():
        policy = Path(POLICY_FILE)
    return print_result(erase(target, number=number, hold=read_hold(hold), policy=policy, **options))
