"""Runs dbt on the models: build, test, document. dbt's own files go to a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vbc_source.analytics.database import PASSWORD_VARIABLE, AnalyticsDatabase, find_database
from vbc_source.analytics.freshness import (
    Freshness,
    are_of_this_version,
    read_complete_loads,
    read_freshness,
)
from vbc_source.config import load_config
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import check_installed, explaining, first_line
from vbc_source.pii import PiiPolicy
from vbc_source.warehouse.queries import LoadedTables

PROJECT = Path(__file__).parent / "dbt"
PROFILE = "vbc_source"
HIDDEN = ("Anonymous", "Restricted", "Private", "Unavailable", "Unknown", "Withheld")
# no usage statistics, no look-up of newer versions: nothing leaves the machine
OPTIONS = (
    *("--no-use-colors", "--no-send-anonymous-usage-stats", "--no-version-check", "--no-partial-parse"),
    *("--log-level", "none", "--log-level-file", "none"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """Result of one model or one test.

    Attributes:
        name: Name of the model's table, or of the test.
        status: dbt's status: `success`, `pass`, `warn`, `error`, `fail` or `skipped`.
        seconds: Duration.
        message: Reason in one line; empty after a success.
    """

    name: str
    status: str
    seconds: float
    message: str

    @property
    def failed(self) -> bool:
        """Whether the model was not built or the test did not pass."""
        return self.status not in ("success", "pass", "warn", "no-op")


@dataclass(frozen=True, slots=True)
class ModelsResult:
    """Result of a dbt command.

    Attributes:
        nodes: Models or tests, in the order in which they finished.
        seconds: Duration of the whole command.
        place: The database.
        dataset: The dataset (schema) of the models.
        fresh: Where they were up to date, and so not built: how fresh they are.
    """

    nodes: tuple[Node, ...]
    seconds: float
    place: str
    dataset: str
    fresh: Freshness | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(node.failed for node in self.nodes)

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        if self.fresh:
            since = f"{self.fresh.built_at:%Y-%m-%d %H:%M} UTC"
            return [f"The models are up to date: no load brought rows since {since}."]
        good = sum(not node.failed for node in self.nodes)
        done = f"{good} of {len(self.nodes)}"
        if any(node.status in ("pass", "fail") for node in self.nodes):
            return [f"{done} test(s) passed, {self.seconds:.1f} s."]
        built = ", ".join(sorted(node.name for node in self.nodes if not node.failed))
        lines = [
            f"{done} model(s) built in {self.place}, schema {self.dataset}, {self.seconds:.1f} s: {built}."
        ]
        if self.ok:
            lines.append(
                f"Next: vbc dashboard, or SELECT * FROM {self.dataset}.coverage; vbc models test checks them."
            )
        return lines


def build_models(
    target: Target,
    command: Sequence[str] = ("run",),
    output: Path | None = None,
    *,
    if_stale: bool = False,
) -> ModelsResult:
    """Build, test or document the models of a dataset with dbt.

    Args:
        target: Where recordings are loaded.
        command: `run`, `test` or `docs generate --static`, with dbt's options.
        output: File for the documentation as one page, which `docs generate --static` makes.
        if_stale: Build only where a load brought rows since the last build, see `read_freshness`, or the
            models were built by an earlier version.

    Returns:
        What was built, and what dbt reported.

    Raises:
        VbcError: Nothing is loaded or built, or dbt could not start.
    """
    with explaining():
        check_installed("dbt")
        config, loaded = load_config(), LoadedTables(target)
    with loaded.lock():
        database = find_database(target)
        database.check_loaded()
        # tests and documentation are of models that are there
        if command[0] != "run":
            database.check_built()
        started = time.monotonic()
        # closed before dbt opens the file: one process cannot have a DuckDB file open in two configurations
        with closing(database.connect()) as connection:
            may_stay = if_stale and are_of_this_version(connection, database)
            fresh = read_freshness(connection, database) if may_stay else None
            loads = read_complete_loads(connection, database)
        place = database.place, database.models_dataset
        if fresh and not fresh.is_stale:
            return ModelsResult((), time.monotonic() - started, *place, fresh)
        variables = {
            # read before the models, which may see more while others load
            "vbc_loads": loads.count,
            "vbc_loaded_at": loads.newest and loads.newest.isoformat(),
            "vbc_schema": database.dataset,
            "vbc_timezone": config.vbc_timezone,
            "vbc_lookback_hours": config.lookback_hours,
            "vbc_hidden_callers": _hash_words(config.pii_policy),
            **(config.model_variables or {}),
        }
        with _open_folder(database) as folder:
            arguments = [*command, *OPTIONS, "--project-dir", str(PROJECT), "--vars", json.dumps(variables)]
            for option in ("--profiles-dir", "--target-path", "--log-path"):
                arguments += [option, folder]
            if output is None:
                arguments.append("--no-write-json")  # only the documentation needs dbt's artifacts
            nodes = _invoke(arguments)
            if output is not None:
                shutil.copyfile(Path(folder) / "static_index.html", output)
        return ModelsResult(nodes, time.monotonic() - started, *place)


def _hash_words(policy: PiiPolicy) -> list[str]:
    """Return the hashes of words that stand for a hidden number, which would look like a caller."""
    if policy.mode != "hash":
        return []
    # a model cannot fold the case of a hash, so the usual spellings have one each
    return [str(policy.hide(spelling)) for word in HIDDEN for spelling in (word, word.lower(), word.upper())]


def _invoke(arguments: list[str]) -> tuple[Node, ...]:
    from dbt.cli.main import dbtRunner

    try:
        done: Any = dbtRunner().invoke(arguments)
    finally:
        _close_database()
    if done.exception is not None:
        # dbt's first line names the kind of error alone, such as Database Error
        reason = " ".join(line.strip() for line in str(done.exception).splitlines()[:2]) or first_line(
            done.exception
        )
        raise VbcError(f"dbt failed: {reason[:300]}") from done.exception
    results = getattr(done.result, "results", None) or ()
    return tuple(_read_node(result) for result in results if hasattr(result, "node"))


def _close_database() -> None:
    """Close the DuckDB file, which dbt keeps open as long as its process lives: others have to open it."""
    with suppress(ImportError):
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.adapters.factory import reset_adapters

        reset_adapters()  # type: ignore[no-untyped-call]
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]


def _read_node(result: Any) -> Node:
    status = str(result.status)
    lines = [line.strip() for line in str(result.message or "").splitlines() if line.strip()]
    message = " ".join(lines[:3])[:300] if status not in ("success", "pass") else ""
    name = getattr(result.node, "alias", result.node.name)  # a unit test has no alias
    return Node(name, status, round(result.execution_time, 2), message)


@contextmanager
def _open_folder(database: AnalyticsDatabase) -> Iterator[str]:
    """Make a temporary folder with a dbt profile, and set the password in the environment meanwhile."""
    with TemporaryDirectory(prefix="vbc_models_") as folder:
        profile = {PROFILE: {"target": "vbc", "outputs": {"vbc": database.dbt_output()}}}
        (Path(folder) / "profiles.yml").write_text(json.dumps(profile))  # JSON is YAML
        # from the environment, so that the profile on the disk has no password
        os.environ[PASSWORD_VARIABLE] = database.password
        try:
            yield folder
        finally:
            del os.environ[PASSWORD_VARIABLE]
