"""What all commands share: how they end, their common options, what they log."""

from __future__ import annotations

import functools
import io
import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import click

from vbc_source.cli.process import ending_on_signals
from vbc_source.errors import UsageError
from vbc_source.printable import escape_controls
from vbc_source.recordings import RECORDING_TYPES, RecordingType
from vbc_source.windows import parse_instant

INSTANT_HELP = "ISO date or instant, such as 2025-01-31 or 2025-01-31T08:00:00Z."

ALL = "all"
POLICY_FILE = "retention.toml"  # of the current folder, where no other is named

Function = Callable[..., Any]
Results = Mapping[str | None, dict[str, Any]]  # by tenant; None without one
# prints what a command has returned by tenant, an error where it failed, and returns the results
ShowResults = Callable[..., Results]

_ENDS = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)  # click's own ways to end


class WrongUsage(click.Command):
    """A command, or a group, whose wrong usage is a JSON line too where --json is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        # looked for first: click takes arguments out of the list as it parses, and may fail before this one
        as_json = "--json" in args
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _print_wrong_usage(error, as_json=as_json)
            raise


class Group(WrongUsage, click.Group):
    """A group of commands, which does nothing by itself."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            _print_wrong_usage(error, as_json="--json" in args)
            raise


class Command(WrongUsage):
    """A command that fails with one clear line, and prints its result as a JSON line where asked.

    It works for one tenant or for all. `tenants` says for how many it can: `none` where it reads no settings,
    `one` where its arguments mean something to a single one. `show` prints what the command returns, for all
    tenants together; a command without one prints its result itself, and returns it as --json prints it.
    """

    def __init__(
        self,
        *args: Any,
        tenants: Literal["none", "one", "all"] = "all",
        show: ShowResults | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {"show_default": True}
        self._tenants, self._show = tenants, show
        if tenants != "none":
            text = "The customer, of [sources.vbc.tenants.NAME]" + (
                "; `all` for each." if tenants == ALL else "."
            )
            self.params.append(click.Option(["--tenant"], metavar="NAME", help=text))
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print the result as one JSON line."),
            click.Option(["--debug"], is_flag=True, help="Show a traceback on failure."),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its result is what --json prints, and a false `ok` in it is a failure."""
        # taken out, as the functions of the commands do not have these parameters
        as_json, debug = ctx.params.pop("as_json"), ctx.params.pop("debug")
        as_json |= ctx.params.get("form") == "json"  # of a command with --format: the same, and once
        start_logging()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # cp1252 or ASCII cannot encode every name
        status, interrupted = 1, False
        try:
            with ending_on_signals():
                result = self._run(ctx, ctx.params.pop("tenant", None), debug)
        except _ENDS as end:
            _print_wrong_usage(end, as_json=as_json)
            raise
        except Exception as error:
            if debug:
                raise
            from vbc_source.load.failures import explain

            reason = explain(error)
            echo(f"{_full_name(ctx)}: {reason}", err=True)
            result = _describe_failure(reason)
            status = 2 if isinstance(reason, UsageError) else 1
        except KeyboardInterrupt:
            text = "interrupted; the next run continues where this one stopped"
            echo(f"{_full_name(ctx)}: {text}", err=True)
            result, interrupted = {"ok": False, "error": "interrupted"}, True
        result = {"ok": True, **result}
        try:
            if as_json:
                click.echo(json.dumps(result, default=str))
            sys.stdout.flush()
        except BrokenPipeError:
            # whoever read the output has gone, as `head` does: click ends quietly then
            raise
        except OSError as error:
            echo(f"{_full_name(ctx)}: the result cannot be written: {error.strerror}", err=True)
            result["ok"] = False
            # Python would try to write what is still in the buffer when it ends, and print a traceback
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if interrupted:
            # `os._exit` writes nothing that is still in a buffer
            sys.stdout.flush()
            os._exit(1)  # a thread may still wait for a slow response, which nothing can end
        ctx.exit(0 if result["ok"] else status)

    def _run(self, ctx: click.Context, tenant: str | None, debug: bool) -> dict[str, Any]:
        if tenant != ALL:
            returned = self._run_for(ctx, tenant)
            if self._show:
                return self._show({tenant: returned}, together=False, **ctx.params)[tenant]
            return returned or {}
        if self._tenants != ALL:
            raise click.UsageError("--tenant takes the name of one tenant here, not all")
        # nothing would tell the rows of two customers in one dataset apart
        if named := [name for name in ("dataset", "pipeline") if ctx.params.get(name)]:
            raise click.UsageError(f"--{named[0]} goes with one tenant: each has its own")
        # for `target_options` and `path_for_tenant`, which run inside of the command
        ctx.meta[ALL] = True
        results = self._run_for_all(ctx, debug)
        failed = [str(name) for name, result in results.items() if not result["ok"]]
        if failed:
            text = f"{len(failed)} of {len(results)} tenants failed: {', '.join(failed)}"
            echo(f"{_full_name(ctx)}: {text}", err=True)
        return join_results(results)

    def _run_for(self, ctx: click.Context, tenant: str | None) -> Any:
        from vbc_source.tenants import hold_tenant

        _Formatter.tenant = tenant or ""
        try:
            with hold_tenant(tenant):
                return super().invoke(ctx)
        finally:
            _Formatter.tenant = ""

    def _run_for_all(self, ctx: click.Context, debug: bool) -> Results:
        """Run the command for each tenant; one that fails does not stop the others, wrong usage does."""
        from vbc_source.load.failures import explain
        from vbc_source.tenants import SECTION, list_tenants

        returned: dict[str | None, Any] = {}
        for name in list_tenants():
            if not self._show:
                echo(f"Tenant {name}:")
            try:
                returned[name] = self._run_for(ctx, name)
            except _ENDS:
                # wrong usage is wrong for all tenants, and an interrupt is meant for all of them
                raise
            except Exception as error:
                if debug:
                    traceback.print_exception(error)
                if isinstance(reason := explain(error), UsageError):
                    raise reason from error
                echo(f"{_full_name(ctx)}: tenant {name}: {reason}", err=True)
                returned[name] = reason
        if not returned:
            raise UsageError(f"no tenant is configured: add [{SECTION}.NAME]")
        if self._show:
            return self._show(returned, together=True, **ctx.params)
        return {
            name: _describe_failure(result)
            if isinstance(result, Exception)
            else {"ok": True, **(result or {})}
            for name, result in returned.items()
        }


class CommandGroup(Command, Group):
    """A command that has commands below it; named without one of them, it works as before there were any."""


def join_results(results: Results) -> dict[str, Any]:
    """Join the results of all tenants, as --json prints them: it is a failure where one has failed."""
    return {"ok": all(result["ok"] for result in results.values()), "tenants": results}


def _describe_failure(reason: Exception) -> dict[str, Any]:
    return {"ok": False, "error": str(reason)}


def _print_wrong_usage(error: Exception, *, as_json: bool) -> None:
    if as_json and isinstance(error, click.ClickException):
        click.echo(json.dumps({"ok": False, "error": error.format_message()}))


def path_for_tenant(path: Path) -> Path:
    """Return the file to write: with --tenant all, each tenant has one, named after it."""
    from vbc_source.tenants import current_tenant

    if ALL not in click.get_current_context().meta:
        return path
    return path.with_stem(f"{path.stem}-{current_tenant()}")


def echo(text: str, *, err: bool = False) -> None:
    """Print one line; control characters that came from the API are shown escaped."""
    click.echo(escape_controls(text), err=err)


def _full_name(ctx: click.Context) -> str:
    """Return the command with its groups, such as `vbc recordings list`."""
    return f"{_full_name(ctx.parent)} {ctx.info_name}" if ctx.parent else "vbc"


def target_options(command: Function) -> Function:
    """Add the options that say where recordings are loaded; the command gets them as `target`."""

    @click.option("--destination", show_default="duckdb, or the tenant's", help="dlt destination.")
    @click.option(
        "--dataset", show_default="vbc_data, or the tenant's", help="Dataset (schema) of the tables."
    )
    @click.option("--pipeline", show_default="vbc, or vbc_NAME of the tenant", help="dlt pipeline name.")
    # click keeps the options of a function in an attribute: `wraps` carries those of the command over
    @functools.wraps(command)
    def with_target(
        *args: Any, destination: str | None, dataset: str | None, pipeline: str | None, **kwargs: Any
    ) -> Any:
        from vbc_source.load.destinations import DESTINATION, choose_target

        default = DESTINATION
        if ALL in click.get_current_context().meta:  # a tenant's own settings win over those of all
            destination, default = None, destination or DESTINATION
        target = choose_target(destination, dataset, pipeline, default_destination=default)
        return command(*args, target=target, **kwargs)

    return with_target


def parse_date(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read an ISO date or instant; UTC where it names no zone."""
    try:
        return parse_instant(value) if value else None
    except ValueError:
        text = f"{value!r} is not an ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z"
        raise click.BadParameter(text, ctx, param) from None


class Amount(click.FloatRange):
    """A number of seconds, minutes or days: neither infinite nor `nan`, which no comparison is true of."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def span_options(
    start: str, end: str, *, required: bool = False, end_help: str = "Newest start."
) -> Function:
    """Add two options for the bounds on `start`, in that order, such as `--since` and `--until`."""

    def check_order(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
        moment = parse_date(ctx, param, value)
        first = ctx.params.get(start.strip("-").replace("-", "_"))
        if moment and first and first > moment:
            raise click.UsageError(f"{start} is after {end}")
        return moment

    options: Any = {"metavar": "DATE", "required": required}
    last = click.option(end, callback=check_order, help=end_help, **options)
    # eager, else in the order of the command line: the first bound must be known when the second is read
    help_text = f"Oldest start. {INSTANT_HELP}"
    first = click.option(start, callback=parse_date, is_eager=True, help=help_text, **options)
    return lambda command: first(last(command))


def resources_option(command: Function) -> Function:
    """Add the option that names resources; the command gets them as a list."""

    def split(_: click.Context, __: click.Parameter, value: str | None) -> list[str]:
        return [name.strip() for name in (value or "").split(",") if name.strip()]

    return click.option("--resources", callback=split, help="Only these, separated by commas.")(command)


def choice_option(name: str, choices: Sequence[str], text: str, default: str | None = None) -> Function:
    """Add an option with a few values."""
    return click.option(name, type=click.Choice(choices), default=default, help=text)


def bucket_option(text: str) -> Function:
    """Add the option that says where files are."""
    return click.option(
        "--bucket-url", metavar="URL", help=f"{text}; default: [sources.vbc.audio] bucket_url."
    )


hold_option = click.option(
    "--hold",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ids of recordings or calls that are kept: a list, CSV or JSON.",
)


def read_hold(path: Path | None) -> Any:
    """Read the hold list of `--hold`; None without one. Raises UsageError."""
    from vbc_source import read_legal_hold

    try:
        return read_legal_hold(path.read_bytes()) if path else None
    except OSError as error:
        raise UsageError(f"--hold: the file cannot be read: {error.strerror}") from None


def recording_type_option(text: str, default: str | None = None) -> Function:
    """Add the option that says which recordings; `choose_types` reads it."""
    return choice_option("--recording-type", (*RECORDING_TYPES, ALL), text, default)


def choose_types(chosen: str | None) -> tuple[RecordingType, ...]:
    """Return the types of recordings that `--recording-type` chooses; none where it was left out."""
    return tuple(kind for kind in RECORDING_TYPES if chosen in (kind, ALL))


def print_result(result: Any) -> dict[str, Any]:
    """Print the summary of a result for people, and return the result as --json prints it."""
    for line in result.summary():
        echo(line)
    return asdict(result)


class _Formatter(logging.Formatter):
    """Writes the message of a record as one line, with the tenant that it is about."""

    tenant: ClassVar[str] = ""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Escape control characters: a forged line must not look like one of the log."""
        prefix = f"{self.tenant}: " if self.tenant else ""
        record.message = prefix + escape_controls(record.message)
        return super().formatMessage(record)


class _ProgressHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows progress on one line of a terminal, warnings on lines of their own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; the next one overwrites it if it is mere progress."""
        end = "\r" if record.levelno < logging.WARNING else "\n"
        # the line is erased first: a shorter message would leave the end of a longer one
        self.stream.write(f"\x1b[2K{self.format(record)}{end}")
        self.flush()


def start_logging() -> None:
    """Log progress on a terminal, plain lines with times otherwise; both on stderr."""
    log = logging.getLogger("vbc_source")
    if log.handlers:
        return
    terminal = sys.stderr.isatty()
    handler = (_ProgressHandler if terminal else logging.StreamHandler)(sys.stderr)
    # cut, since a message that wraps cannot be overwritten from its first line
    form = "%(message).160s" if terminal else "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(_Formatter(form))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    # a handler of the root logger would print each line again
    log.propagate = False
