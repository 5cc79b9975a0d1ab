"""The contenders' virtual environments, created when first needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-bench"
INSTALL_SECONDS = 900
_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(f"{name} {version(name)}")
    except PackageNotFoundError:
        pass
"""


class NotInstalled(Exception):
    """Raised when an environment cannot be created; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment.

    Attributes:
        name: Name of its folder.
        requirements: Its requirements file; None for the environment that runs the benchmark.
        shown: Packages whose versions the results list.
    """

    name: str
    requirements: str | None
    shown: tuple[str, ...]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return Path(sys.executable) if self.requirements is None else FOLDER / self.name / "bin" / "python"

    def prepare(self) -> None:
        """Install the pinned packages, unless they are installed.

        Raises:
            NotInstalled: The installation failed.
        """
        reason = _install(self)
        if reason:
            raise NotInstalled(reason)

    def read_versions(self) -> list[str]:
        """Return name and version of the packages to show."""
        command = [self.python, "-c", _VERSIONS, *self.shown]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


OWN = Environment("benchmark", None, ("duckdb", "uvloop"))
CONNECTOR = Environment(
    "connector",
    "requirements-connector.txt",
    ("vbc-source", "dlt", "duckdb", "pyarrow", "msgspec", "requests"),
)
SCRIPT = Environment("script", "requirements.txt", ("requests", "pandas", "duckdb"))
SINGER = Environment(
    "singer", "requirements-singer.txt", ("singer-sdk", "target-duckdb", "msgspec", "duckdb")
)
AIRBYTE = Environment("airbyte", "requirements-airbyte.txt", ("airbyte", "airbyte-cdk", "pandas", "duckdb"))
ALL = (OWN, CONNECTOR, SCRIPT, SINGER, AIRBYTE)


@cache
def _install(environment: Environment) -> str:
    if environment.requirements is None:
        return ""
    requirements = Path(__file__).with_name(environment.requirements)
    mark, wanted = FOLDER / environment.name / ".installed", requirements.read_text()
    if "-e ." in wanted:
        wanted += (ROOT / "pyproject.toml").read_text()
    if mark.exists() and mark.read_text() == wanted:
        return ""
    print(f"Installing {requirements.name} …", flush=True)
    commands: list[Sequence[str | Path]] = [
        [sys.executable, "-m", "venv", "--clear", FOLDER / environment.name],
        [
            environment.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            requirements,
        ],
    ]
    try:
        for command in commands:
            subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS
            )
    except subprocess.CalledProcessError as error:
        return f"does not install: {(error.stderr.strip().splitlines() or ['no reason reported'])[-1][:200]}"
    except subprocess.TimeoutExpired:
        return f"does not install within {INSTALL_SECONDS} s"
    mark.write_text(wanted)
    return ""
