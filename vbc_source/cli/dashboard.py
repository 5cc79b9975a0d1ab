"""The command of the dashboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vbc_source.cli.options import Command, pipeline_options

if TYPE_CHECKING:
    from vbc_source.dashboard.app import DashboardDatabase


@click.command(cls=Command)
@pipeline_options
@click.option(
    "--port",
    default=8050,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; 0 is a free one.",
)
@click.option("--refresh", is_flag=True, help="Bring the models up to date first.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def dashboard(
    pipeline: str, dataset: str, destination: str, port: int, refresh: bool, open_browser: bool
) -> None:
    """Serve a page of figures to this machine, until interrupted (extra `dashboard`).

    The database is only read. Where the models are not built yet, they are built first.
    """
    desk = _open_desk(pipeline, destination, dataset, refresh)
    from vbc_source.dashboard.app import HOST, listen, serve

    listener = listen(port)
    url = f"http://{HOST}:{listener.getsockname()[1]}/"
    click.echo(f"Figures of dataset {desk.warehouse.dataset}: {url} Ctrl-C ends it.")
    if open_browser:
        click.launch(url)
    serve(desk, listener)


def _open_desk(pipeline: str, destination: str, dataset: str, refresh: bool) -> DashboardDatabase:
    from vbc_source.analytics.database import find_database
    from vbc_source.config import load_config
    from vbc_source.errors import VbcError
    from vbc_source.load.failures import explaining
    from vbc_source.load.locks import find_lock
    from vbc_source.load.sync import open_pipeline

    try:
        from vbc_source.dashboard.app import DashboardDatabase
    except ImportError as error:
        raise VbcError(f"the dashboard needs {error.name}: pip install 'vbc-source[dashboard]'") from None
    warehouse = find_database(open_pipeline(pipeline, destination, dataset))
    lock = find_lock(pipeline, thread_local=False) if warehouse.kind == "duckdb" else None
    with explaining():
        zone = load_config().vbc_timezone
    desk = DashboardDatabase(warehouse, lock, zone)
    if refresh or not desk.has_models():
        warehouse.check_loaded()
        _build_models(pipeline, destination, dataset)
    return desk


def _build_models(pipeline: str, destination: str, dataset: str) -> None:
    """Build them in a process of its own: dbt keeps the database open for as long as one lives."""
    import subprocess

    from vbc_source.errors import VbcError

    click.echo("Building the models …")
    options = ["--pipeline", pipeline, "--destination", destination, "--dataset", dataset]
    command = [
        sys.executable,
        "-c",
        "from vbc_source.cli import main; main()",
        "models",
        "run",
        *options,
    ]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - this program
        raise VbcError("the models could not be built, see above")
