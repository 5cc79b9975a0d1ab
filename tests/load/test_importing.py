"""Importing the package, and loading with it, changes nothing for whoever imports it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import vbc_source

SNAPSHOT = """
import gc, sys
import dlt, duckdb, pyarrow as pa
from dlt.destinations.impl.duckdb.duck import DuckDbClient, DuckDbCopyJob
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.common.destination.client import RunnableLoadJob

def snapshot():
    classes = (DuckDbClient, DuckDbCopyJob, DuckDbSqlClient, SqlJobClientBase, RunnableLoadJob, dlt.Pipeline,
               dlt.destinations.duckdb, dlt.destinations.postgres, dlt.destinations.filesystem)
    return (
        [dict(vars(one)) for one in classes], gc.get_threshold(), gc.isenabled(), gc.get_freeze_count(),
        type(pa.default_memory_pool()), pa.default_memory_pool().backend_name, list(sys.meta_path),
        list(sys.path_hooks), {name: id(value) for name, value in vars(duckdb).items()},
        {name: id(value) for name, value in vars(pa).items() if not isinstance(value, type(sys))},
    )

before = snapshot()
"""
COMPARE = """
after = snapshot()
names = ("classes", "threshold", "gc", "freeze", "pool", "backend", "meta_path", "path_hooks", "duckdb",
         "pyarrow")
changed = [name for name, one, other in zip(names, before, after) if one != other]
assert not changed, changed
"""


def test_what_is_public_is_in_all_and_can_be_imported() -> None:
    assert len(set(vbc_source.__all__)) == len(vbc_source.__all__)
    for name in vbc_source.__all__:
        assert getattr(vbc_source, name).__doc__
    assert set(vbc_source.__all__) <= set(dir(vbc_source))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(vbc_source, "nothing")  # noqa: B009


def test_public_names_stay_functions_whatever_is_imported() -> None:
    import vbc_source.backfills.backfill
    import vbc_source.verification.verify

    assert callable(vbc_source.backfill)
    assert callable(vbc_source.verify)


def test_importing_the_package_and_loading_once_change_nothing() -> None:
    imports = "import vbc_source\nfor name in vbc_source.__all__: getattr(vbc_source, name)\n"
    load = """
from vbc_source import VbcDuckDb
pipeline = dlt.pipeline("once", destination=VbcDuckDb("once.duckdb"), dataset_name="vbc_data")
rows = dlt.resource([pa.table({"id": [1]})], name="rows", primary_key="id", write_disposition="merge")
pipeline.run(rows)
"""
    run(SNAPSHOT + imports + COMPARE + load + COMPARE)


@pytest.mark.slow
def test_arrow_reads_pandas_as_before() -> None:
    run("""
import pandas as pd, pyarrow as pa
import vbc_source
vbc_source.sync, vbc_source.vbc_source
assert pa.array(pd.Series([1.0, None, 3.0])).null_count == 1
""")


def run(script: str) -> None:
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_the_command_starts_without_dlt() -> None:
    run("import sys, vbc_source.cli; assert not {'dlt', 'pyarrow', 'duckdb'} & set(sys.modules)")
