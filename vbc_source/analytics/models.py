"""The dbt models: built, tested and documented with dbt, whose files go to a folder that does not stay."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vbc_source.analytics.database import PASSWORD, AnalyticsDatabase, find_database
from vbc_source.config import load_config
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining, first_line
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

PROJECT = Path(__file__).parent / "dbt"
PROFILE = "vbc_source"
QUIET = ("--no-use-colors", "--no-send-anonymous-usage-stats", "--no-version-check", "--no-partial-parse")


@dataclass(frozen=True, slots=True)
class Node:
    """What became of a model or of a test.

    Attributes:
        name: its name.
        status: dbt's word: `success` or `pass`; `warn`; `error`, `fail` or `skipped`.
        seconds: how long it took.
        message: why, in one line; empty where all is well.
    """

    name: str
    status: str
    seconds: float
    message: str

    @property
    def failed(self) -> bool:
        """Whether it did not come to what it should."""
        return self.status not in ("success", "pass", "warn", "no-op")


@dataclass(frozen=True, slots=True)
class ModelsResult:
    """What dbt did.

    Attributes:
        nodes: models or tests, in the order in which they ended.
        seconds: how long it took.
    """

    nodes: tuple[Node, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not any(node.failed for node in self.nodes)

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        good = sum(not node.failed for node in self.nodes)
        tests = any(node.status in ("pass", "fail") for node in self.nodes)
        done = "test(s) passed" if tests else "model(s) built"
        return [f"{good} of {len(self.nodes)} {done}, {self.seconds:.1f} s."]


def build_models(
    target: Target, command: Sequence[str] = ("run",), output: Path | None = None
) -> ModelsResult:
    """Build, test or document the models of a dataset.

    Args:
        target: Where recordings are loaded.
        command: `run`, `test` or `docs generate`, with dbt's options.
        output: Where to write the documentation as one page.

    Raises:
        VbcError: Nothing is loaded or built, or dbt could not start.
    """
    with explaining():
        config, loaded = load_config(), LoadedTables(target)
    with loaded.lock():
        return run_dbt(find_database(target), command, config.vbc_timezone, output)


def run_dbt(
    warehouse: AnalyticsDatabase, command: Sequence[str], timezone: str, target: Path | None = None
) -> ModelsResult:
    """Run a command of dbt on the models.

    Args:
        warehouse: where.
        command: such as `run`, with its options.
        timezone: in which days and hours are counted.
        target: where to leave the documentation as one page, if dbt makes one.

    Raises:
        VbcError: nothing is loaded or built, or dbt could not begin.
    """
    warehouse.check_loaded()
    if command[0] != "run":
        warehouse.check_built()
    began = time.monotonic()
    variables = {"vbc_dataset": warehouse.dataset, "vbc_timezone": timezone}
    with _open_folder(warehouse) as folder:
        places = ("--profiles-dir", "--target-path", "--log-path")
        arguments = [*command, "--project-dir", str(PROJECT), "--vars", json.dumps(variables), *QUIET]
        arguments += [word for place in places for word in (place, folder)]
        arguments += [] if target else ["--no-write-json"]  # only the documentation is made of dbt's files
        nodes = _invoke(["--log-level", "none", "--log-level-file", "none", *arguments])
        if target is not None:
            shutil.copyfile(Path(folder) / "static_index.html", target)
    return ModelsResult(nodes, time.monotonic() - began)


def _invoke(arguments: Sequence[str]) -> tuple[Node, ...]:
    try:
        from dbt.cli.main import dbtRunner
    except ImportError:
        raise VbcError("models need dbt: pip install 'vbc-source[dbt]'") from None
    done: Any = dbtRunner().invoke(list(arguments))
    if done.exception is not None:
        raise VbcError(f"dbt failed: {first_line(done.exception)}") from done.exception
    results = getattr(done.result, "results", None) or ()
    return tuple(_read_node(result) for result in results if hasattr(result, "node"))


def _read_node(result: Any) -> Node:
    status = str(result.status)
    said = [line.strip() for line in str(result.message or "").splitlines() if line.strip()]
    message = " ".join(said[:3])[:300] if status not in ("success", "pass") else ""
    return Node(result.node.name, status, round(result.execution_time, 2), message)


@contextmanager
def _open_folder(warehouse: AnalyticsDatabase) -> Iterator[str]:
    """Make a folder with dbt's profile, and tell the password in the environment for as long as that."""
    before = os.environ.get(PASSWORD)
    with TemporaryDirectory(prefix="vbc_models_") as folder:
        profile = {PROFILE: {"target": "vbc", "outputs": {"vbc": warehouse.describe()}}}
        (Path(folder) / "profiles.yml").write_text(json.dumps(profile))  # JSON is YAML
        os.environ[PASSWORD] = warehouse.password
        try:
            yield folder
        finally:
            os.environ.pop(PASSWORD)
            if before is not None:
                os.environ[PASSWORD] = before
