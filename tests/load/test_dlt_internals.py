"""What the package relies on inside dlt: a new dlt that changes it fails here, and says what to look at."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import dlt
import pytest
from loading import credentials, open_pipeline, still_gateway

import vbc_source
from vbc_source import dlt_internals

PACKAGE = Path(vbc_source.__file__).parent
# dlt documents these for authors of sources and destinations; everything else inside `dlt` is private
DOCUMENTED = (
    "dlt.common.configuration",
    "dlt.common.destination",
    "dlt.common.exceptions",
    "dlt.common.schema",
    "dlt.common.typing",
    "dlt.destinations.exceptions",
    "dlt.destinations.sql_client",
    "dlt.extract",
    "dlt.sources",
)
PRIVATE = (
    "dlt.common.destination.client",
    "dlt.common.configuration.container",
    "dlt.extract.items_transform",
)


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    if "dlt" not in path.read_text():  # parsing takes a while
        return names
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_only_one_module_imports_what_dlt_does_not_document() -> None:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        inside = {name for name in imports_of(path) if name.startswith("dlt.")}
        if private := {name for name in inside if not name.startswith(DOCUMENTED) or name in PRIVATE}:
            found[str(path.relative_to(PACKAGE))] = private
    assert found.keys() == {"dlt_internals.py"}, found


def test_no_module_assigns_to_dlts_classes() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in nodes_of(path):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                        assert target.value.id not in vars(dlt_internals)["__all__"], path


def test_a_load_job_has_what_ours_uses() -> None:
    job = dlt_internals.RunnableLoadJob
    assert {"run", "job_file_info", "load_table_name"} <= set(dir(job))
    assert "_job_client" in inspect.getsource(job.run_managed)
    assert "_load_table" in inspect.getsource(job.set_run_vars)
    file = dlt_internals.ParsedLoadJobFileName.parse("things.abc123.0.parquet")
    assert (file.table_name, file.file_id, file.retry_count, file.file_format) == (
        "things",
        "abc123",
        0,
        "parquet",
    )


def test_the_stored_state_of_a_complete_load_is_read() -> None:
    pipeline = open_pipeline()

    @dlt.resource
    def numbers() -> object:
        dlt.current.resource_state()["newest"] = 7
        yield {"id": 7}

    pipeline.run(dlt.source(lambda: numbers, name="own", section="own")())
    with pipeline.destination_client() as client:
        state = dlt_internals.load_pipeline_state_from_destination("test", client)
    assert state["sources"]["own"]["resources"]["numbers"]["newest"] == 7


def test_pending_packages_are_counted_as_dlt_counts_them(serve: object) -> None:
    url = serve(still_gateway(recordings=5))  # type: ignore[operator]
    pipeline = dlt.pipeline("pending", destination="duckdb", dataset_name="vbc_data")
    assert dlt_internals.count_pending_packages("pending") == 0
    source = vbc_source.vbc_source(credentials=credentials(), base_url=url)
    pipeline.extract(source.with_resources("company_recordings"))
    assert (
        dlt_internals.count_pending_packages("pending") == len(pipeline.list_extracted_load_packages()) == 1
    )
    pipeline.normalize()
    assert (
        dlt_internals.count_pending_packages("pending") == len(pipeline.list_normalized_load_packages()) == 1
    )


def test_a_source_is_called_through_its_factory_and_keeps_its_signature() -> None:
    """`vbc_source(tenant=…)` chooses the settings in `__call__`, before dlt looks them up."""

    class Factory(dlt_internals.DltSourceFactoryWrapper):  # type: ignore[type-arg]
        def __call__(self, *args: object, **kwargs: object) -> object:
            return super().__call__(**{**inspect.signature(self).bind_partial(*args).arguments, **kwargs})

    factory = Factory()
    factory.name = factory.section = "own"
    bound = factory.bind(lambda numbers=(): [dlt.resource(numbers, name="numbers")])
    assert list(bound([1, 2])) == [1, 2]
    assert bound([1]).name == bound.clone(name="other")([1]).section == "own"


def test_a_merge_job_has_what_ours_overrides() -> None:
    """`VbcPostgres` overrides these; so does dlt for other databases."""
    job = dlt_internals.SqlMergeFollowupJob
    assert {"from_table_chain", "gen_merge_sql", "gen_changed_cond"} <= set(dir(job))
    assert "gen_merge_sql" in inspect.getsource(job.generate_sql)
    client = pytest.importorskip("dlt.destinations.impl.postgres.postgres").PostgresClient
    assert {"_create_merge_followup_jobs", "complete_load", "create_load_job"} <= set(dir(client))


def test_a_client_of_a_database_asks_the_methods_that_add_columns() -> None:
    """`AddsColumns` overrides these."""
    client = dlt_internals.SqlJobClientBase
    assert "_create_table_update(" in inspect.getsource(client._build_schema_update_sql)
    assert "_make_add_column_sql(" in inspect.getsource(client._get_table_update_sql)


def test_a_client_of_files_has_what_compaction_uses() -> None:
    client = dlt_internals.FilesystemClient
    used = {"list_table_files", "get_table_prefix", "prepare_load_table", "load_open_table", "dataset_path"}
    assert used <= set(dir(client))
    assert {"make_remote_path", "run"} <= set(dir(dlt_internals.FilesystemLoadJob))
