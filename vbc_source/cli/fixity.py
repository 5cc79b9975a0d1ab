"""The command that checks the archive."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import (
    ALL,
    Command,
    bucket_option,
    choose_types,
    print_result,
    recording_type_option,
    span_options,
    target_options,
)

if TYPE_CHECKING:
    from vbc_source import Target


@click.command(cls=Command)
@target_options
@bucket_option("Where the files are")
@click.option(
    "--subset",
    metavar="PART",
    help="Check only a part: 1/30 or 5% of the files, or 10GB; those checked longest ago first.",
)
@span_options("--since", "--until")
@recording_type_option("Company recordings, users' own, or both.", ALL)
@click.option(
    "--repair",
    is_flag=True,
    help="Download damaged and missing files from VBC again; damaged ones are kept.",
)
@click.option("--remote", is_flag=True, help="Compare S3's own checksums; only files without one are read.")
@click.option(
    "--against-vbc",
    is_flag=True,
    help="Check only files that were found in the bucket, against VBC's own bytes.",
)
def fixity(
    target: Target, since: datetime | None, until: datetime | None, recording_type: str, **options: Any
) -> dict[str, Any]:
    """Read archived files again and compare size and SHA-256 with the ledger.

    Exit status 1 while a file is damaged, missing or unreadable, also by an earlier run, or a sidecar or a
    manifest does not agree. Each check is a row of audio_checks.
    """
    from vbc_source import check_fixity
    from vbc_source.warehouse.recordings import RecordingSelection

    selection = RecordingSelection(choose_types(recording_type), since, until)
    return print_result(check_fixity(target, selection=selection, **options))
