"""The `vbc` command. Imports that take long stand in the commands that need them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vbc_source.cli import archive, figures, loading
from vbc_source.cli.options import Command, echo
from vbc_source.cli.process import tune_process


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vbc-source", prog_name="vbc")
def main() -> None:
    """Call recordings of Vonage Business Communications, in your own hands.

    Settings and secrets come from .dlt/config.toml and .dlt/secrets.toml in this folder, or from the
    environment (SOURCES__VBC__…). Exit status: 0 done, 1 failed, 2 wrong usage.
    """
    tune_process()


recordings_option = click.option("--recordings", default=20_000, help="Recordings of the invented year.")
seed_option = click.option("--seed", default=1, help="Another seed invents another call centre.")


@main.command(cls=Command)
@recordings_option
@seed_option
def demo(recordings: int, seed: int) -> dict[str, Any]:
    """Load an invented call centre from an emulated gateway into vbc.duckdb."""
    from vbc_source.cli.demo import run_demo

    return asdict(run_demo(recordings, seed, click.echo))  # invented texts, of several lines


@main.command(cls=Command)
@click.option("--port", default=8080, help="Port on 127.0.0.1.")
@seed_option
@recordings_option
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME", help="A fault to have; `list` shows the names."
)
def emulator(port: int, seed: int, recordings: int, faults: tuple[str, ...]) -> None:
    """Serve an emulated VBC gateway with invented recordings, until interrupted."""
    from vbc_source.cli.demo import import_emulator

    package = import_emulator()
    if "list" in faults:
        for name, text in package.FAULTS.items():
            echo(f"{name}: {text}")
        return
    try:
        gateway = package.Gateway(seed=seed, recordings=recordings, faults=faults)
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{error}; --fault list shows the names", param_hint="--fault") from None
    echo(
        f"VBC gateway emulated at http://127.0.0.1:{port}: user demo, password demo-password, "
        "client demo-client, secret demo-secret. Ctrl-C ends it."
    )
    package.serve(gateway, port=port)


for command in (
    *(loading.sync, loading.backfill, loading.compact),
    *(archive.audio, archive.export, archive.recordings, archive.retention),
    *(loading.doctor, loading.status, loading.verify),
    *(figures.models, figures.dashboard),
):
    main.add_command(command)
