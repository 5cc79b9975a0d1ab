"""What all commands share: how they end, their common options, what they log."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from vbc_source.errors import UsageError, VbcError
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
            click.echo(f"{_full_name(ctx)}: {error}", err=True)
            result = {"ok": False, "error": str(error)}
            wrong_usage = isinstance(error, UsageError)
        except KeyboardInterrupt:
            click.echo(
                f"{_full_name(ctx)}: interrupted; the next run goes on where this one stopped", err=True
            )
            result, interrupted = {"ok": False, "error": "interrupted"}, True
        result = {"ok": True, **result}
        if as_json:
            click.echo(json.dumps(result, default=str))
        if interrupted:
            sys.stdout.flush()
            os._exit(1)  # a thread may still wait for a slow answer, which nothing can end
        ctx.exit(0 if result["ok"] else 2 if wrong_usage else 1)


def _full_name(ctx: click.Context | None) -> str:
    """The command with the groups before it, such as `vbc recordings list`."""
    names: list[str] = []
    while ctx is not None and ctx.parent is not None:
        names.insert(0, str(ctx.info_name))
        ctx = ctx.parent
    return " ".join(["vbc", *names])


def pipeline_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that loads."""
    for option in (
        click.option("--pipeline", default="vbc", show_default=True, help="dlt pipeline name."),
        click.option("--dataset", default="vbc", show_default=True, help="Dataset (schema) of the tables."),
        click.option("--destination", default="duckdb", show_default=True, help="dlt destination."),
    ):
        command = option(command)
    return command


def bucket_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that says where files are."""
    return click.option(
        "--bucket-url", metavar="URL", help=f"{text}; default: [sources.vbc.audio] bucket_url."
    )


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
