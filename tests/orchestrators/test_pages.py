"""The programs on the pages about Dagster and Prefect load what the gateway has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from gateway_fixtures import Stage, serve_gateways
from loading import LOGIN

DOCS = Path(__file__).parents[2] / "docs"
BIN = Path(sys.executable).parent


@pytest.fixture
def stage() -> Iterator[Stage]:
    with serve_gateways() as stage:
        yield stage


def read_program(page: str) -> str:
    return (DOCS / page).read_text().split("```python\n")[1].split("```")[0]


@pytest.mark.parametrize(
    ("page", "file", "command"),
    [
        ("dagster.md", "vbc_definitions.py", ["dagster", "asset", "materialize", "--select", "*", "-f"]),
        ("prefect.md", "vbc_flow.py", ["python"]),
    ],
)
def test_the_program_of_the_page_loads_every_recording(
    page: str, file: str, command: list[str], stage: Stage, tmp_path: Path
) -> None:
    gateway = stage.start(recordings=40, users=2, user_recordings=3)
    (tmp_path / file).write_text(read_program(page))
    environment = {
        **os.environ,
        **{f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()},
        "SOURCES__VBC__BASE_URL": stage.base_url,
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 are not enough on a busy machine
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    process = subprocess.run(
        [BIN / command[0], *command[1:], file],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    with duckdb.connect(str(tmp_path / "vbc.duckdb"), read_only=True) as connection:
        company = connection.execute("SELECT count(*) FROM vbc_data.company_recordings").fetchall()
        users = connection.execute("SELECT count(*) FROM vbc_data.user_recordings").fetchall()
    assert (company, users) == ([(len(gateway.company),)], [(3,)])
