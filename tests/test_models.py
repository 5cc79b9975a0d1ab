"""The models agree with plain Python, in DuckDB and in Postgres, whatever the source's tables hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from loading import run_vbc
from model_facts import MODELS, differences, work_out
from raw_tables import (
    POSTGRES,
    Tables,
    change,
    connect_postgres,
    invent,
    own_dataset,
    write_duckdb,
    write_postgres,
)

Query = Callable[[str], list[tuple[Any, ...]]]


class Place:
    """A database to build models in."""

    def __init__(
        self, folder: Path, options: tuple[str, ...], write: Callable[[Tables], None], query: Query
    ) -> None:
        self.folder, self.options, self.write, self.query = folder, options, write, query
        self.dataset = options[-1] if options else "vbc_data"

    def run(self, *command: str, zone: str = "UTC") -> dict[str, Any]:
        changed = {"SOURCES__VBC__VBC_TIMEZONE": zone, "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
        done = run_vbc(self.folder, NOWHERE, "models", *command, "--json", *self.options, **changed)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def read(self, model: str, columns: str) -> list[tuple[Any, ...]]:
        return self.query(f"SELECT {columns} FROM {self.dataset}_models.{model}")

    def compare(self, tables: Tables, zone: str) -> None:
        """Every row of every model is what Python works out."""
        for model, expected in work_out(tables, zone).items():
            assert differences(self.read(model, MODELS[model]), expected) == ([], []), model


@contextmanager
def open_place(kind: str, folder: Path) -> Iterator[Place]:
    if kind == "duckdb":
        path = folder / "vbc.duckdb"

        def query(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(str(path), read_only=True) as connection:
                return connection.execute(sql).fetchall()

        yield Place(folder, (), lambda tables: write_duckdb(path, tables), query)
        return

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with connect_postgres() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    with own_dataset() as dataset:
        options = ("--destination", "postgres", "--dataset", dataset)
        yield Place(folder, options, lambda tables: write_postgres(dataset, tables), ask)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_models_agree_with_plain_python_when_built_and_when_brought_up_to_date(
    own_folder: Path, kind: str
) -> None:
    """With overlapping extensions, tombstones, null durations and both changes of the clocks."""
    zone, first = "America/New_York", invent(1)
    later = change(first, 2)
    with open_place(kind, own_folder) as place:
        for tables in (first, later):  # the second run finds rows changed, gone, returned, archived, late
            place.write(tables)
            built = place.run("run", zone=zone)
            assert {node["name"] for node in built["nodes"]} == set(MODELS)
            place.compare(tables, zone)
    assert not {path.name for path in own_folder.iterdir()} - {"vbc.duckdb", "dlt"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
@pytest.mark.parametrize("zone", ["America/Havana", "Australia/Lord_Howe"])
def test_days_are_those_of_the_time_zone_even_where_midnight_comes_twice(
    own_folder: Path, zone: str, kind: str
) -> None:
    with open_place(kind, own_folder) as place:
        tables = invent(len(zone))
        place.write(tables)
        place.run("run", zone=zone)
        place.compare(tables, zone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_after_many_changes_the_models_are_as_if_built_anew(own_folder: Path, kind: str) -> None:
    first = invent(7)
    later = change(first, 0)
    with open_place(kind, own_folder) as place:
        for tables in (first, later, change(later, 1)):
            place.write(tables)
            place.run("run")
            place.compare(tables, "UTC")
        kept = {model: place.read(model, columns) for model, columns in MODELS.items()}
        place.run("run", "--full-refresh")
        for model, rows in kept.items():
            assert differences(place.read(model, MODELS[model]), rows) == ([], []), model


def test_company_recordings_alone_are_enough(own_folder: Path) -> None:
    tables = {"company_recordings": invent(3)["company_recordings"]}
    with open_place("duckdb", own_folder) as place:
        place.write(tables)
        place.run("run")
        place.compare(tables, "UTC")
        assert place.read("coverage", "count(*), count(proven_at)")[0][1] == 0


def test_without_recordings_it_says_what_to_do(own_folder: Path) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("vbc.duckdb: run vbc sync first")
    write_duckdb(own_folder / "vbc.duckdb", {"users": []})
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith(
        "no recordings are loaded in dataset vbc: run vbc sync first"
    )
    write_duckdb(own_folder / "vbc.duckdb", {"company_recordings": []})
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "test")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith(
        "no models in dataset vbc_models: run vbc models run first"
    )


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc", "x' or 1=1 --"])
def test_an_unknown_time_zone_is_one_line_that_names_the_setting(own_folder: Path, name: str) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run", SOURCES__VBC__VBC_TIMEZONE=name)
    assert failed.returncode == 1
    assert "vbc_timezone must be a time zone such as America/New_York" in failed.stderr.splitlines()[-1]


def test_models_are_for_duckdb_and_postgres(own_folder: Path) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run", "--destination", "filesystem")
    assert failed.returncode == 2
    assert "models are built in duckdb or postgres, not in filesystem" in failed.stderr
    assert os.listdir(own_folder) in (["dlt"], [])
