"""The `vbc` command. Imports that take long stand in the commands that need them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vbc_source.cli import archive, evidence, figures, fixity, forget, loading, reconcile, retention
from vbc_source.cli.options import Command, Function, Group, echo
from vbc_source.cli.process import check_port, tune_process


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vbc-source", prog_name="vbc")
def main() -> None:
    """Load, archive and verify call recordings of Vonage Business Communications.

    Settings and secrets come from .dlt/config.toml and .dlt/secrets.toml in this folder, or from the
    environment (SOURCES__VBC__…); with --tenant, those of one customer come first. Exit status: 0 done, 1
    failed, 2 wrong usage.
    """
    tune_process()


def recordings_option(fewest: int) -> Function:
    """Add the option that says how many recordings are invented."""
    kind, text = click.IntRange(fewest), "Recordings of the invented year."
    return click.option("--recordings", default=20_000, type=kind, metavar="N", help=text)


seed_option = click.option("--seed", default=1, help="Random seed; each invents a different call centre.")


@main.command(cls=Command, tenants="none")
@recordings_option(fewest=100)
@seed_option
@click.option(
    "--models/--no-models",
    default=None,
    show_default="if the extra `dbt` is installed",
    help="Build the models too.",
)
def demo(recordings: int, seed: int, models: bool | None) -> dict[str, Any]:
    """Load an invented call centre from an emulated gateway into vbc.duckdb, and show what the package does.

    A part of the audio goes to the folder demo_audio.
    """
    from vbc_source.cli.demo import run_demo

    # not this package's `echo`: the texts have several lines, and nothing in them comes from callers
    return asdict(run_demo(recordings, seed, click.echo, models=models))


@main.command(cls=Command, tenants="none")
@click.option("--port", default=8080, type=click.IntRange(1, 65535), help="Port on 127.0.0.1.")
@seed_option
@recordings_option(fewest=0)
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME", help="A fault to simulate; `list` shows the names."
)
@click.option("--users", default=1, type=click.IntRange(0), help="Users of each account.")
@click.option("--accounts", default=1, type=click.IntRange(1), help="Accounts that the API user may read.")
def emulator(
    port: int, seed: int, recordings: int, faults: tuple[str, ...], users: int, accounts: int
) -> None:
    """Serve an emulated VBC gateway with invented recordings, until interrupted."""
    from vbc_source.cli.demo import import_emulator

    package = import_emulator()
    if "list" in faults:
        for name, text in package.FAULTS.items():
            echo(f"{name}: {text}")
        return
    try:
        size = {
            "recordings": recordings,
            "users": users,
            "user_recordings": recordings // 20 if users > 1 else 0,
        }
        gateway = package.Gateway(seed=seed, faults=faults, **size)
        for number in range(1, accounts):
            gateway.add_account(str(int(gateway.main_id) + number), seed=seed + number, **size)
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{error}; --fault list shows the names", param_hint="--fault") from None
    check_port(port)
    echo(
        f"VBC gateway emulated at http://127.0.0.1:{port}, the base_url: user demo, password demo-password, "
        f"client demo-client, secret demo-secret, account(s) {', '.join(gateway.accounts)}. Ctrl-C ends it."
    )
    package.serve(gateway, port=port)


for command in (
    *(loading.sync, loading.backfill, loading.compact),
    *(archive.audio, archive.export, archive.recordings, retention.retention),
    *(fixity.fixity, evidence.evidence, forget.forget),
    *(loading.doctor, loading.status, loading.verify, reconcile.reconcile),
    *(figures.models, figures.dashboard, figures.report),
):
    main.add_command(command)
