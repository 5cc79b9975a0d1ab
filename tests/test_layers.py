"""What importing the package does and does not do."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import vbc_source

PACKAGE = Path(vbc_source.__file__).parent


def test_what_is_public_is_in_all_and_can_be_imported() -> None:
    assert sorted(vbc_source.__all__) == ["VbcCredentials", "VbcError", "vbc_source"]
    for name in vbc_source.__all__:
        assert getattr(vbc_source, name)


def test_importing_what_loads_brings_no_pandas() -> None:
    """It would take fifty megabytes and half a second."""
    told = "import sys, vbc_source.load.sync; sys.exit('pandas' in sys.modules)"
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
        "import sys; from vbc_source.load.sync import hold_pipeline\n"
        "with hold_pipeline('lean', 'duckdb', 'vbc') as pipeline:\n"
        "    pipeline.run([{'id': 1}], table_name='rows'); str(pipeline.destination_client().config)\n"
        f"print({expression})"
    )
    finished = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return finished.stdout.strip()
