"""Commands that make figures for people: models and dashboard."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, Group, echo, path_for_tenant, print_result, target_options
from vbc_source.errors import ExtraMissing, VbcError

if TYPE_CHECKING:
    from vbc_source import Target


@click.group(cls=Group)
def models() -> None:
    """Build, test and document the tables for people and BI tools, with dbt (extra `dbt`).

    They are built in a dataset of their own: vbc_models if the loaded tables are in vbc_data. Days and hours
    are in the time zone of the setting vbc_timezone.
    """


def _run(target: Target, command: list[str], *, if_stale: bool = False) -> dict[str, Any]:
    from vbc_source import build_models

    result = build_models(target, command, if_stale=if_stale)
    for node in result.nodes:
        if node.failed or node.status == "warn":
            echo(f"{node.status}: {node.name}: {node.message}", err=True)
    return {"ok": result.ok, **print_result(result)}


@models.command("run", cls=Command)
@target_options
@click.option("--full-refresh", is_flag=True, help="Rebuild all models instead of updating them.")
@click.option(
    "--if-stale",
    is_flag=True,
    help="Build only if a load brought rows since the last build, or a day has passed.",
)
def run_models(target: Target, full_refresh: bool, if_stale: bool) -> dict[str, Any]:
    """Build or update the models."""
    return _run(target, ["run", *(["--full-refresh"] if full_refresh else [])], if_stale=if_stale)


@models.command("test", cls=Command)
@target_options
def test_models(target: Target) -> dict[str, Any]:
    """Test what the models promise: keys, relations, accepted values."""
    return _run(target, ["test"])


@models.command("docs", cls=Command)
@target_options
@click.option(
    "--output",
    default="vbc-models.html",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="File to write.",
)
def document_models(target: Target, output: str) -> dict[str, Any]:
    """Write dbt's documentation of the models as one page: columns, tests, lineage."""
    from vbc_source import build_models

    written = path_for_tenant(Path(output))
    build_models(target, ["docs", "generate", "--static"], written)
    echo(f"Written: {written}")
    return {"output": str(written)}


@click.command(cls=Command, tenants="one")
@target_options
@click.option(
    "--port", default=8050, type=click.IntRange(0, 65535), help="Port on 127.0.0.1; 0 chooses a free one."
)
@click.option("--refresh", is_flag=True, help="Update the models first.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def dashboard(target: Target, port: int, refresh: bool, open_browser: bool) -> None:
    """Serve a page of figures to this machine, until interrupted (extra `dashboard`).

    The database is only read. Models that are not built yet are built first.
    """
    with _needing_extra():
        from vbc_source.dashboard.app import HOST, listen, open_database, serve_dashboard
    database = open_database(target)
    if refresh or not database.has_models():
        database.warehouse.check_loaded()
        echo("Building the models …")
        build_in_process(target)
    # before the address is shown: a taken port ends here, and a browser that is quick waits for the server
    listener = listen(port)
    url = f"http://{HOST}:{listener.getsockname()[1]}/"
    echo(f"Figures of dataset {target.dataset}: {url} Ctrl-C ends it.")
    if open_browser:
        click.launch(url)
    serve_dashboard(database, listener)


@click.command(cls=Command)
@target_options
@click.option("--month", metavar="MONTH", help="Such as 2025-03; default: the last complete month.")
@click.option(
    "--out",
    default="report.html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File to write, HTML.",
)
def report(target: Target, month: str | None, out: Path) -> dict[str, Any]:
    """Write the figures of a month as one page to print or send (extra `dashboard`).

    The page is HTML without scripts, everything is in it. A browser prints it on A4, or saves it as PDF.
    """
    with _needing_extra():
        from vbc_source.dashboard.report import write_report
    out = path_for_tenant(out)
    written, recordings = write_report(target, out, month)
    echo(f"Figures of {written}: {out}")
    return {"month": written, "recordings": recordings, "output": str(out)}


@contextmanager
def _needing_extra() -> Iterator[None]:
    """Say which extra is missing where an import of the dashboard fails."""
    try:
        yield
    except ImportError as error:
        raise ExtraMissing(f"the dashboard needs {error.name}", "dashboard") from None


def build_in_process(target: Target) -> None:
    """Build the models in a process of its own: dbt keeps the database open as long as its process lives."""
    from vbc_source.tenants import current_tenant

    options = [f"--{name}={value}" for name, value in asdict(target).items()]
    if tenant := current_tenant():
        options.append(f"--tenant={tenant}")
    # not `vbc`: the one in PATH may belong to another environment
    command = [sys.executable, "-c", "from vbc_source.cli import main; main()", "models", "run", *options]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - this program
        raise VbcError("the models could not be built, see above")
