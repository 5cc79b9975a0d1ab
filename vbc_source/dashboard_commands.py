"""The command of the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vbc_source.options import Command, pipeline_options

if TYPE_CHECKING:
    from vbc_source.dashboard import Desk


@click.command(cls=Command)
@pipeline_options
@click.option("--port", default=8050, show_default=True, help="Port on 127.0.0.1; 0 is a free one.")
@click.option("--refresh", is_flag=True, help="Bring the models up to date first.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def dashboard(
    pipeline: str, dataset: str, destination: str, port: int, refresh: bool, open_browser: bool
) -> None:
    """Serve a page of figures to this machine, until interrupted (extra `dashboard`).

    The database is only read. Where the models are not built yet, they are built first.
    """
    desk = _open_desk(pipeline, destination, dataset, refresh)
    from vbc_source.dashboard import HOST, listen, serve

    listener = listen(port)
    url = f"http://{HOST}:{listener.getsockname()[1]}/"
    click.echo(f"Figures of dataset {desk.warehouse.dataset}: {url} Ctrl-C ends it.")
    if open_browser:
        click.launch(url)
    serve(desk, listener)


def _open_desk(pipeline: str, destination: str, dataset: str, refresh: bool) -> Desk:
    from vbc_source.faults import VbcError
    from vbc_source.loaded import Loaded
    from vbc_source.models import read_timezone, run_dbt
    from vbc_source.sync import find_lock, open_pipeline
    from vbc_source.warehouse import find_warehouse

    try:
        from vbc_source.dashboard import Desk
    except ImportError as error:
        raise VbcError(f"the dashboard needs {error.name}: pip install 'vbc-source[dashboard]'") from None
    opened = open_pipeline(pipeline, destination, dataset)
    warehouse = find_warehouse(opened)
    lock = find_lock(pipeline, thread_local=False) if warehouse.kind == "duckdb" else None
    desk = Desk(warehouse, lock, read_timezone())
    if refresh or not desk.has_models():
        click.echo("Building the models …")
        with Loaded(opened, pipeline).take_turn():
            outcome = run_dbt(warehouse, ["run"], desk.zone.key)
        if failed := [node.name for node in outcome.nodes if node.failed]:
            raise VbcError(f"not built: {', '.join(failed)}; vbc models run says why")
    return desk
