"""Imports go one way, and files stay small enough to read."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import vbc_source

PACKAGE = Path(vbc_source.__file__).parent
# in the order of the flow: a module imports from those before it, and from nothing behind it
LAYERS = [
    *("faults", "token_cache", "auth", "throttle", "slots", "retries", "session", "client"),
    *("windows", "privacy", "filters", "columns", "shapes", "endpoints", "settings", "cursors", "coverage"),
    *("proof", "habits", "advance", "scan", "records", "children", "reader", "directory", "access", "ahead"),
    *("lake", "tables", "arrivals", "rounds", "histories", "listing", "duckdb_names", "source"),
    *("lean_imports", "database", "duckdb_load", "destinations", "turns", "sync"),
    *("recording", "sound", "ledger", "journal", "bucket", "archive", "download"),
    *("ledger_tables", "loaded", "backlog", "connection", "progress"),
    *("proven", "window_load", "window_workers", "backfill"),
    *("zip_file", "matching", "catalog", "folders", "receipts"),
    *("export_job", "export_filters", "exports", "zip_download", "export_run", "via", "export_batches"),
    *("audio_run", "audio", "export_audio"),
    *("deletions", "candidates", "hold", "recording_api", "retention"),
    *("reading", "tombstones", "filtered", "inventory", "comparison", "confirmation", "repair"),
    *("findings", "survey", "gaps", "lateness", "current", "verify", "verify_report"),
    *("runs", "status", "prometheus"),
    *("warehouse", "models"),
    *("selection", "questions", "figures", "charts", "view", "dashboard"),
    *("doctor", "demo", "options", "archive_commands", "backfill_commands", "export_commands"),
    *("status_commands", "verify_commands", "models_commands", "dashboard_commands", "cli"),
]
PURE = {
    *("faults", "windows", "filters", "columns", "shapes", "privacy", "endpoints", "cursors"),
    *("proof", "records", "children", "recording", "sound", "ledger", "hold", "deletions"),
    *("export_job", "export_filters", "zip_file", "matching", "via", "coverage"),
    *("tombstones", "findings", "selection", "questions", "charts"),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*LAYERS, "__init__"}


@pytest.mark.parametrize("name", LAYERS)
def test_imports_go_up_the_flow_only(name: str) -> None:
    own = [
        found.split(".")[1] for found in imports_of(PACKAGE / f"{name}.py") if found.startswith("vbc_source.")
    ]
    before = {*LAYERS[: LAYERS.index(name)], "emulator"}
    assert set(own) <= before - ({"emulator"} if name != "demo" else set())


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_is_pure_knows_no_network_no_dlt_and_no_clock(name: str) -> None:
    roots = {found.split(".")[0] for found in imports_of(PACKAGE / f"{name}.py")}
    assert not roots & {"requests", "urllib3", "dlt", "time", "threading", "os"}


def test_client_and_auth_know_no_tables() -> None:
    for name in ("client", "auth", "throttle"):
        assert not {"pyarrow", "duckdb"} & {
            found.split(".")[0] for found in imports_of(PACKAGE / f"{name}.py")
        }


@pytest.mark.parametrize("path", sorted((PACKAGE / "emulator").glob("*.py")), ids=lambda path: path.stem)
def test_the_emulator_imports_nothing_of_the_package(path: Path) -> None:
    own = {found for found in imports_of(path) if found.startswith("vbc_source")}
    assert all(found.startswith("vbc_source.emulator") for found in own)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n")
            assert node.end_lineno - node.lineno - docstring <= 60, node.name


def test_what_is_public_is_in_all_and_can_be_imported() -> None:
    assert sorted(vbc_source.__all__) == ["VbcCredentials", "VbcError", "vbc_source"]
    for name in vbc_source.__all__:
        assert getattr(vbc_source, name)


def test_importing_what_loads_brings_no_pandas() -> None:
    """It would take fifty megabytes and half a second."""
    told = "import sys, vbc_source.sync; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0


@pytest.mark.parametrize("name", ["pandas", "sqlalchemy"])
def test_a_load_brings_neither_pandas_nor_sqlalchemy(name: str) -> None:
    assert find_spec(name), "this test wants it installed"
    assert _load_and_tell(f"{name!r} in sys.modules") == "False"


@pytest.mark.slow
def test_what_is_kept_out_can_be_imported_afterwards() -> None:
    told = "__import__('pandas').DataFrame and __import__('sqlalchemy').create_engine('sqlite://').url.drivername"
    assert _load_and_tell(told) == "sqlite"


def _load_and_tell(expression: str) -> str:
    told = (
        "import sys; from vbc_source.sync import hold_pipeline\n"
        "with hold_pipeline('lean', 'duckdb', 'vbc') as pipeline:\n"
        "    pipeline.run([{'id': 1}], table_name='rows'); str(pipeline.destination_client().config)\n"
        f"print({expression})"
    )
    finished = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return finished.stdout.strip()
