"""The command that exports a call as evidence, and verifies the chain of custody."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, bucket_option, parse_date, print_result, target_options

if TYPE_CHECKING:
    from vbc_source import Target


@click.command(cls=Command, tenants="one")
@target_options
@bucket_option("Where the files are")
@click.argument("call_id", metavar="[CALL_ID]", required=False)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A new or empty folder for the bag.",
)
@click.option("--verify-chain", is_flag=True, help="Verify the whole chain of custody; without CALL_ID.")
@click.option(
    "--since",
    callback=parse_date,
    metavar="DATE",
    help="With --verify-chain: ignore known breaks before this day (a restored database, a fork).",
)
def evidence(
    target: Target,
    call_id: str | None,
    out: Path | None,
    verify_chain: bool,
    since: datetime | None,
    bucket_url: str | None,
) -> dict[str, Any]:
    """Export all recordings of a call as a BagIt bag: audio, metadata, proofs and the chain of custody.

    `sha256sum -c manifest-sha256.txt` checks the bag. Exit status 1 where something is missing or differs
    from the ledger; the rest is exported. With --verify-chain instead, verify all ledgers, the chain, and
    the heads in the bucket with each other; exit status 1 names what was changed, removed or moved.
    """
    from vbc_source import export_evidence, verify_custody

    if verify_chain:
        if call_id or out:
            raise click.UsageError("--verify-chain goes without CALL_ID and --out")
        return print_result(verify_custody(target, bucket_url=bucket_url, since=since))
    if not call_id or not out:
        raise click.UsageError("give CALL_ID and --out DIR, or --verify-chain")
    if since:
        raise click.UsageError("--since goes with --verify-chain")
    return print_result(export_evidence(call_id, target, out=out, bucket_url=bucket_url))
