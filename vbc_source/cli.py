"""The `vbc` command: parses arguments and calls. What takes long to import is imported when needed."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from vbc_source.faults import VbcError
from vbc_source.windows import read_instant

INSTANT_HELP = "ISO date or instant, such as 2025-01-31 or 2025-01-31T08:00:00Z."


def read_date(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read an ISO date or instant; UTC where it names no zone."""
    try:
        return read_instant(value) if value else None
    except ValueError:
        text = f"{value!r} is no ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z"
        raise click.BadParameter(text, ctx, param) from None


class Command(click.Command):
    """A command that ends with one clear line where it fails, and with a JSON line where asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as one JSON line."),
            click.Option(["--debug"], is_flag=True, help="Show a traceback where it fails."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its result is what --json prints, and a false `ok` in it is a failure."""
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        start_logging()
        wrong_usage = interrupted = False
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, with a word
        try:
            result: dict[str, Any] = super().invoke(ctx) or {}
        except VbcError as error:
            if debug:
                raise
            click.echo(f"vbc {self.name}: {error}", err=True)
            result = {"ok": False, "error": str(error)}
            wrong_usage = type(error).__name__ == "WrongUsage"
        except KeyboardInterrupt:
            click.echo(f"vbc {self.name}: interrupted; the next run goes on where this one stopped", err=True)
            result, interrupted = {"ok": False, "error": "interrupted"}, True
        result = {"ok": True, **result}
        if as_json:
            click.echo(json.dumps(result, default=str))
        if interrupted:
            sys.stdout.flush()
            os._exit(1)  # a thread may still wait for a slow answer, which nothing can end
        ctx.exit(0 if result["ok"] else 2 if wrong_usage else 1)


def pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that loads."""
    for option in (
        click.option("--pipeline", default="vbc", show_default=True, help="dlt pipeline name."),
        click.option("--dataset", default="vbc", show_default=True, help="Dataset (schema) of the tables."),
        click.option("--destination", default="duckdb", show_default=True, help="dlt destination."),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vbc-source", prog_name="vbc")
def main() -> None:
    """Call recordings of Vonage Business Communications, in your own hands.

    Settings and secrets come from .dlt/config.toml and .dlt/secrets.toml in this folder, or from the
    environment (SOURCES__VBC__…). Exit status: 0 done, 1 failed, 2 wrong usage.
    """
    # dlt reports usage to the outside unless told otherwise; whoever wants that sets it
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    # dlt logs every failure with its traceback before it raises it; one line is enough
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")


@main.command(cls=Command)
@pipeline_options
@click.option(
    "--start-date", callback=read_date, metavar="DATE", help=f"Oldest start to read. {INSTANT_HELP}"
)
@click.option(
    "--end-date", callback=read_date, metavar="DATE", help="Newest start: a backfill, without state."
)
@click.option("--resources", help="Only these, separated by commas.")
def sync(
    pipeline: str,
    dataset: str,
    destination: str,
    start_date: datetime | None,
    end_date: datetime | None,
    resources: str | None,
) -> dict[str, Any]:
    """Load what is new, after finishing what a failed run left."""
    from vbc_source.sync import hold_pipeline, open_source, run_sync

    if start_date and end_date and start_date > end_date:
        raise click.UsageError("--start-date is after --end-date")
    chosen = [name.strip() for name in (resources or "").split(",") if name.strip()]
    with hold_pipeline(pipeline, destination, dataset) as held:
        outcome = run_sync(held, open_source(start_date, end_date, chosen))
    if outcome.finished_earlier:
        click.echo(f"Loaded {outcome.finished_earlier} package(s) that an earlier run had left.")
    click.echo(
        f"{outcome.recordings:,} recordings read and proven complete in {outcome.windows} window(s), "
        f"{outcome.users} user(s)' own lists among them, {outcome.requests} list request(s), "
        f"{outcome.seconds:.1f} s."
    )
    for reason, titles in (("forbidden", outcome.forbidden), ("no longer known", outcome.not_found)):
        if titles:
            click.echo(f"Left out, {reason}: {', '.join(titles)}.")
    return asdict(outcome)


@main.command(cls=Command)
@pipeline_options
def doctor(pipeline: str, dataset: str, destination: str) -> dict[str, Any]:
    """Say what works, what does not, and what to change."""
    from vbc_source.doctor import examine
    from vbc_source.sync import open_pipeline

    findings = []
    for finding in examine(open_pipeline(pipeline, destination, dataset)):
        mark = "ok  " if finding.works else "FAIL" if finding.needed else "note"
        click.echo(f"{mark}  {finding.subject}: {finding.text}")
        findings.append(asdict(finding))
    ok = all(finding["works"] or not finding["needed"] for finding in findings)
    if not ok:
        click.echo("vbc doctor: something that vbc sync needs does not work; see FAIL above", err=True)
    return {"ok": ok, "findings": findings}


@main.command(cls=Command)
@click.option("--recordings", default=20_000, show_default=True, help="Recordings of the invented year.")
@click.option("--seed", default=1, show_default=True, help="Another seed invents another call centre.")
def demo(recordings: int, seed: int) -> dict[str, Any]:
    """Load an invented call centre from an emulated gateway into vbc.duckdb."""
    from vbc_source.demo import run_demo

    return asdict(run_demo(recordings, seed, click.echo))


@main.command(cls=Command)
@click.option("--port", default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.option("--seed", default=1, show_default=True, help="Another seed invents another call centre.")
@click.option("--recordings", default=20_000, show_default=True, help="Recordings of the invented year.")
@click.option("--fault", "faults", multiple=True, metavar="NAME", help="Go wrong so; `list` shows the names.")
def emulator(port: int, seed: int, recordings: int, faults: tuple[str, ...]) -> None:
    """Serve an emulated VBC gateway with invented recordings, until interrupted."""
    from vbc_source.demo import import_emulator

    emulated = import_emulator()
    if "list" in faults:
        for name, text in emulated.FAULTS.items():
            click.echo(f"{name}: {text}")
        return
    try:
        gateway = emulated.Gateway(seed=seed, recordings=recordings, faults=faults)
    except (KeyError, ValueError) as error:
        raise click.BadParameter(f"{error}; --fault list shows the names", param_hint="--fault") from None
    click.echo(
        f"VBC gateway emulated at http://127.0.0.1:{port}: user demo, password demo-password, "
        "client demo-client, secret demo-secret. Ctrl-C ends it."
    )
    emulated.serve(gateway, port=port)


class ProgressHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows progress on one line of a terminal, warnings on lines of their own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; the next one overwrites it if it is mere progress."""
        end = "\r" if record.levelno < logging.WARNING else "\n"
        self.stream.write(f"\x1b[2K{self.format(record)}{end}")
        self.flush()


def start_logging() -> None:
    """Progress on a terminal, plain lines with times in a log; both on stderr."""
    log = logging.getLogger("vbc_source")
    if log.handlers:
        return
    if sys.stderr.isatty():
        handler: logging.StreamHandler[Any] = ProgressHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message).160s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
