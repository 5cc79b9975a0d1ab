"""The commands of the models: tables for people and for BI tools, made of what was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vbc_source.cli.options import Command, pipeline_options

if TYPE_CHECKING:
    from vbc_source.analytics.models import ModelsResult


@click.group()
def models() -> None:
    """Build, test and document the tables for people and BI tools, with dbt (extra `dbt`).

    They go beside the loaded tables: to dataset vbc_models where those are in vbc. Days and hours are those
    of the setting vbc_timezone.
    """


@models.command("run", cls=Command)
@pipeline_options
@click.option("--full-refresh", is_flag=True, help="Build anew what is otherwise kept up to date.")
def run(pipeline: str, dataset: str, destination: str, full_refresh: bool) -> dict[str, Any]:
    """Build the models, or bring them up to date."""
    command = ["run", *(["--full-refresh"] if full_refresh else [])]
    outcome = _run(pipeline, destination, dataset, command)
    return _tell(outcome, "model(s) built")


@models.command("test", cls=Command)
@pipeline_options
def test(pipeline: str, dataset: str, destination: str) -> dict[str, Any]:
    """Test what is promised of the models: keys, relations, accepted values."""
    outcome = _run(pipeline, destination, dataset, ["test"])
    return _tell(outcome, "test(s) passed")


@models.command("docs", cls=Command)
@pipeline_options
@click.option(
    "--output", default="vbc-models.html", show_default=True, type=click.Path(dir_okay=False), metavar="FILE"
)
def docs(pipeline: str, dataset: str, destination: str, output: str) -> dict[str, Any]:
    """Write dbt's documentation of the models as one page: columns, tests, lineage."""
    command = ["docs", "generate", "--static"]
    _run(pipeline, destination, dataset, command, Path(output))
    click.echo(f"Written: {output}")
    return {"output": output}


def _run(
    pipeline: str, destination: str, dataset: str, command: Sequence[str], target: Path | None = None
) -> ModelsResult:
    from vbc_source.analytics.database import find_database
    from vbc_source.analytics.models import run_dbt
    from vbc_source.config import load_config
    from vbc_source.load.failures import explaining
    from vbc_source.load.sync import open_pipeline
    from vbc_source.warehouse.queries import LoadedTables

    with explaining():
        zone = load_config().vbc_timezone
    opened = open_pipeline(pipeline, destination, dataset)
    with LoadedTables(opened, pipeline).take_turn():
        return run_dbt(find_database(opened), command, zone, target)


def _tell(outcome: ModelsResult, done: str) -> dict[str, Any]:
    failed = [node for node in outcome.nodes if node.failed]
    for node in outcome.nodes:
        if node.failed or node.status == "warn":
            click.echo(f"{node.status}: {node.name}: {node.message}", err=True)
    click.echo(f"{len(outcome.nodes) - len(failed)} of {len(outcome.nodes)} {done}, {outcome.seconds:.1f} s.")
    return {"ok": not failed, **asdict(outcome)}
