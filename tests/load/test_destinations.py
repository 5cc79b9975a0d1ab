"""The same in every destination: one story, of a gateway whose clock stands still, is loaded into each."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from gateway_fixtures import Stage
from in_process import run_in_process
from kills import choose_moments, count_kills
from loading import LOGIN, credentials, environment, run_vbc, still_gateway, vbc
from warehouses import CURRENT_ROWS, NAMES, Tables, Warehouse, describe, digest, set_up

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.errors import SettingsError
from vbc_source.load.destinations import Target
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import run_pipeline

Serve = Callable[[Gateway], str]

NOW = 1_750_248_000.0  # Wednesday, 18 June 2025, 12:00 UTC: the same recordings in each run
destinations = [pytest.param(name, marks=pytest.mark.destinations) for name in NAMES if name != "duckdb"]

ODD: list[dict[str, Any]] = [
    {"cnam": "nul \0 in it", "call_id": "\0"},
    {"cnam": "half \ud83d a character", "dnis": "\\ud83d"},
    {"cnam": "quotes \" and '", "dnis": "a,b\tc\r\nd\\N\\.", "file_name": "NULL"},
    {"cnam": "é😀\u2028\x01\x7f", "caller_id": "Anonymous"},
    {"cnam": "", "caller_id": 2**70, "file_size_in_bytes": 2**70},
    {"duration": "an hour", "end": "0000-01-01T00:00:00Z", "rule_ids": [{}, 5, "none", None]},
    {"end": None, "extensions": None, "rule_ids": None, "file_size_in_bytes": -(2**63)},
    {"end": "9999-12-31T23:59:59.999999Z", "file_size_in_bytes": 2**63 - 1, "extensions": ["", "x\0y", 7]},
    {"end": "infinity", "extensions": [[1, [2]], {"a": None}], "caller_id": 1.5},
    {"cnam": "x" * 100_000, "download_url": "https://elsewhere.example/?a=1&b=%00"},
]


def make_gateway(recordings: int, users: int = 3, user_recordings: int = 30) -> Gateway:
    gateway = Gateway(
        clock=lambda: NOW, recordings=recordings, users=users, user_recordings=user_recordings, held_back=5
    )
    for number, fields in enumerate(ODD):
        gateway.company.add(id=9_000_000 + number, start=f"2025-06-17T20:00:{number:02}+0000", **fields)
    for number, extensions in enumerate(([1, 2, 3], [4, 5], [], [6])):
        gateway.company.add(id=9_100_000 + number, start="2025-06-18T01:00:00+0000", extensions=extensions)
    gateway.users.add(id=77, first_name="Off", last_name="Soon")
    return gateway


def go_on(gateway: Gateway) -> None:
    """Late recordings, changes, lists that shrink and grow, somebody who leaves, new fields."""
    gateway.release()
    gateway.company.add(id=9_200_000, start="2025-06-17T02:00:00+0000", mood="good", score=0.5, vip=True)
    for number, extensions in enumerate(([9], [], [7, 8], [6])):
        gateway.company.change(9_100_000 + number, extensions=extensions, cnam=f"changed {number}", mood=3)
    gateway.users.remove(77)


class Story:
    """Loads of one gateway into one destination."""

    def __init__(self, warehouse: Warehouse, url: str) -> None:
        self.warehouse, self.url = warehouse, url

    def load(self, earlier: int = 0) -> None:
        """Load; `earlier` packages of a run before are finished first."""
        assert run_pipeline(self.warehouse.open(), self.source()).finished_earlier == earlier

    def source(self) -> Any:
        # of a small gateway, the five newest recordings are spread over weeks
        return vbc_source(
            credentials=credentials(), base_url=self.url, start_date="2020-01-01", lookback_hours=24 * 60
        )

    def load_and_forget(self) -> None:
        """Load, and be killed before that is written down: as after `kill -9` in the last moment."""
        pipeline = self.warehouse.open()
        folder, kept = Path(pipeline.working_dir), Path("kept")
        pipeline.extract(self.source())
        pipeline.normalize()
        shutil.copytree(folder, kept)
        pipeline.load()
        shutil.rmtree(folder)
        kept.rename(folder)


def load_chapters(stage: Stage, warehouse: Warehouse, recordings: int) -> Iterator[str]:
    """Load the story, and yield the name of each chapter when it is loaded."""
    gateway = stage.show(make_gateway(recordings))
    story = Story(warehouse, stage.base_url)
    story.load()
    yield "loaded"
    story.load()
    yield "loaded again"
    go_on(gateway)
    story.load()
    yield "changed"
    gateway.company.change(9_100_002, extensions=[8], cnam="changed again", mood=None)
    gateway.company.add(id=9_300_000, start="2025-06-18T11:00:00+0000", extensions=[1, 2])
    story.load_and_forget()
    story.load(earlier=1)
    yield "killed"
    held = {int(recording["id"]) for recording in gateway.company.all()}
    assert {row["id"] for row in warehouse.read()["company_recordings"]} == held


ReadReference = Callable[..., dict[str, Tables]]


@pytest.fixture(scope="module")
def read_reference(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> ReadReference:
    """Load the story into DuckDB once for all destinations; gives what is there after some chapters."""

    @cache
    def read(recordings: int, *chapters: str) -> dict[str, Tables]:
        folder = tmp_path_factory.mktemp("reference")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
            patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
            with set_up("duckdb", patch, dict) as warehouse:
                loaded = load_chapters(stage, warehouse, recordings)
                return {chapter: warehouse.read() for chapter in loaded if chapter in chapters}

    return read


@pytest.mark.parametrize("name", destinations)
def test_every_destination_holds_the_same_after_each_chapter_of_one_story(
    name: str,
    stage: Stage,
    read_reference: ReadReference,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
) -> None:
    """Odd values, late arrivals, changes, lists that shrink, new columns, a load killed at its end."""
    expected = read_reference(60, "loaded", "loaded again", "changed", "killed")
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        compare(load_chapters(stage, warehouse, 60), warehouse, expected)


@pytest.mark.slow
@pytest.mark.destinations
@pytest.mark.parametrize("name", [name for name in NAMES if name != "duckdb"])
def test_twenty_thousand_recordings_are_the_same_in_every_destination(
    name: str,
    stage: Stage,
    read_reference: ReadReference,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
) -> None:
    expected = read_reference(20_000, "loaded", "killed")
    assert len(expected["killed"]["company_recordings"]) >= 20_000
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        compare(load_chapters(stage, warehouse, 20_000), warehouse, expected)


def compare(loaded: Iterator[str], warehouse: Warehouse, expected: dict[str, Tables]) -> None:
    """The destination holds what is expected after each chapter."""
    compared = set()
    for chapter in loaded:
        if chapter in expected:
            found, reference = warehouse.read(), expected[chapter]
            assert digest(found) == digest(reference), (chapter, describe(found, reference))
            compared.add(chapter)
    assert compared == expected.keys()


DUCKDB = "[destination.duckdb.credentials]\n"


@pytest.mark.parametrize(
    ("file", "text", "variables", "database"),
    [
        ("secrets.toml", f'{DUCKDB}global_config = {{memory_limit = "1GB"}}', {}, "vbc"),
        pytest.param(
            *("secrets.toml", f'{DUCKDB}database = "calls.duckdb"', {}, "calls"), marks=pytest.mark.slow
        ),
        pytest.param(
            *("config.toml", "", {"DESTINATION__DUCKDB__CREDENTIALS__DATABASE": "calls.duckdb"}, "calls"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("config.toml", '[destination.mine]\ndestination_type = "duckdb"', {"name": "mine"}, "mine"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_command_uses_the_same_duckdb_file_however_it_is_set(
    serve: Serve, own_folder: Path, file: str, text: str, variables: dict[str, str], database: str
) -> None:
    (own_folder / ".dlt").mkdir()
    (own_folder / ".dlt" / file).write_text(text)
    url, name = serve(still_gateway(recordings=5)), variables.get("name", "duckdb")
    for command in (
        ["sync", "--resources", "company_recordings"],
        ["audio", "--bucket-url", "a"],
        ["status"],
    ):
        done = run_vbc(own_folder, url, *command, "--destination", name, **variables)
        assert done.returncode == 0, done.stderr
    assert "5 stored" in done.stdout
    assert [path.name for path in own_folder.glob("*.duckdb")] == [f"{database}.duckdb"]


@pytest.mark.parametrize(
    "text", ['[destination.duckdb]\ncredentials = "calls.duckdb"', f'{DUCKDB}database = "calls.duckdb"']
)
def test_a_duckdb_file_in_the_wrong_file_of_settings_is_not_left_out(own_folder: Path, text: str) -> None:
    (own_folder / ".dlt").mkdir()
    (own_folder / ".dlt" / "config.toml").write_text(text)
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "sync")
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert "credentials in [destination.duckdb] may hold a secret: move it from config.toml" in line
    assert not list(own_folder.glob("*.duckdb"))


def documented_query() -> str:
    text = (CURRENT_ROWS.parent / "destinations.md").read_text()
    (query,) = re.findall(r"```sql\n(.+?)```", text, re.DOTALL)
    return str(query)


def test_the_command_loads_files_and_its_status_reads_them(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=30)
    url, lake = serve(gateway), {"DESTINATION__FILESYSTEM__BUCKET_URL": str(own_folder / "lake")}
    synced = run_vbc(own_folder, url, "sync", "--destination", "filesystem", **lake)
    assert (synced.returncode, synced.stderr.count("Falling back")) == (0, 0), synced.stderr
    assert list((own_folder / "lake" / "vbc_data" / "company_recordings").glob("*.parquet"))
    with duckdb.connect() as connection:  # the documented query, as it stands there
        assert len(connection.execute(documented_query()).fetchall()) == 30
    status = run_vbc(own_folder, url, "status", "--destination", "filesystem", **lake)
    assert status.returncode == 0
    assert "company_recordings of account 549825: 30 recordings" in status.stdout


def test_a_format_that_there_is_not_is_refused_by_its_name(serve: Serve, own_folder: Path) -> None:
    lake = {"BUCKET_URL": str(own_folder / "lake"), "TABLE_FORMAT": "hudi"}
    settings = {f"DESTINATION__FILESYSTEM__{name}": value for name, value in lake.items()}
    url = serve(still_gateway(recordings=1))
    refused = run_vbc(own_folder, url, "sync", "--destination", "filesystem", **settings)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()[-1:]
    assert line.startswith("vbc sync: [destination.filesystem] table_format must be delta or iceberg")
    assert "'hudi'" in line


@pytest.mark.parametrize(
    ("package", "extra", "settings"),
    [
        ("deltalake", "delta", {"FILESYSTEM__BUCKET_URL": "lake", "FILESYSTEM__TABLE_FORMAT": "delta"}),
        ("pyiceberg", "iceberg", {"FILESYSTEM__BUCKET_URL": "lake", "FILESYSTEM__TABLE_FORMAT": "iceberg"}),
        ("sqlalchemy", "iceberg", {"FILESYSTEM__BUCKET_URL": "lake", "FILESYSTEM__TABLE_FORMAT": "iceberg"}),
        ("s3fs", "s3", {"FILESYSTEM__BUCKET_URL": "s3://calls/lake"}),
        ("gcsfs", "gs", {"FILESYSTEM__BUCKET_URL": "gs://calls/lake"}),
        ("adlfs", "az", {"FILESYSTEM__BUCKET_URL": "az://calls/lake"}),
        ("adbc_driver_postgresql", "postgres", {"POSTGRES__CREDENTIALS": "postgresql://vbc@127.0.0.1:9/x"}),
    ],
)
def test_a_missing_extra_is_named_before_a_request_is_sent(
    serve: Serve,
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    extra: str,
    settings: dict[str, str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]  # importing it fails
    gateway = still_gateway(recordings=5)
    destination = "postgres" if extra == "postgres" else "filesystem"
    changed = {f"DESTINATION__{name}": value for name, value in settings.items()}
    failed = run_vbc(own_folder, serve(gateway), "sync", "--destination", destination, **changed)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"vbc sync: {package} is not installed: install the extra `{extra}`")
    assert gateway.tokens.logins == 0
    assert not (own_folder / "lake").exists()


def test_a_dataset_keeps_the_format_that_it_began_with(
    serve: Serve, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    with hold_pipeline(Target("vbc", "filesystem", "vbc_data")):
        pass
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "delta")
    begun = (
        "this dataset was created with table_format none, not delta: set it back, or choose another --dataset"
    )
    with pytest.raises(SettingsError, match=begun), hold_pipeline(Target("vbc", "filesystem", "vbc_data")):
        pytest.fail("it was opened")
    with hold_pipeline(Target("vbc", "filesystem", "another")) as pipeline:
        assert pipeline.dataset_name == "another"


@pytest.mark.slow
def test_a_file_in_a_folder_gets_its_name_when_it_is_whole(
    serve: Serve, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a killed load writes it again: who reads it meanwhile has the one before."""
    with set_up("parquet", monkeypatch, dict) as warehouse:
        story = Story(warehouse, serve(still_gateway(recordings=3)))
        story.load_and_forget()
        folder = own_folder / "lake" / warehouse.dataset
        (path,) = (folder / "company_recordings").glob("*.parquet")
        (own_folder / "before").hardlink_to(path)
        story.load(earlier=1)
        assert path.exists()
        assert not path.samefile(own_folder / "before")
        assert list((folder / "_vbc_loading").iterdir()) == []


@pytest.mark.slow
def test_another_format_is_refused_whichever_tables_were_loaded_first(serve: Serve, own_folder: Path) -> None:
    """Here users alone, from another machine."""
    url = serve(still_gateway(recordings=1))
    place = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(own_folder / "lake")}
    command = ("sync", "--destination", "filesystem")
    begun = run_vbc(own_folder, url, *command, "--resources", "users", **place)
    assert begun.returncode == 0, begun.stderr
    other = {"DESTINATION__FILESYSTEM__TABLE_FORMAT": "delta", "DLT_DATA_DIR": str(own_folder / "other")}
    refused = run_vbc(own_folder, url, *command, **place, **other)
    assert refused.returncode == 1
    assert "created with table_format none, not delta" in refused.stderr


@pytest.mark.destinations
@pytest.mark.parametrize(
    ("begun", "other"), [("none", "delta"), ("none", "iceberg"), ("delta", "none"), ("iceberg", "none")]
)
def test_no_command_reads_or_loads_another_format_into_a_dataset(
    serve: Serve, own_folder: Path, begun: str, other: str
) -> None:
    """Also from another machine, whose pipelines know nothing of what is there."""
    url = serve(still_gateway(recordings=3))
    files = own_folder / "lake"
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in LOGIN.items()}

    def run(table_format: str, *words: str) -> Any:
        settings = {"BUCKET_URL": str(files)}
        if table_format != "none":
            settings["TABLE_FORMAT"] = table_format
        changed = {f"DESTINATION__FILESYSTEM__{name}": value for name, value in settings.items()}
        changed["DLT_DATA_DIR"] = str(own_folder / table_format)
        return run_in_process(
            *words, "--destination", "filesystem", SOURCES__VBC__BASE_URL=url, **login, **changed
        )

    assert run(begun, "sync").exit_code == 0
    before = sorted(files.rglob("*"))
    span = ("--start-date", "2024-01-01", "--end-date", "2027-01-01")
    for words in (("backfill", *span), ("sync",), ("status",), ("verify",), ("compact",)):
        refused = run(other, *words)
        assert refused.exit_code == 1, words
        assert f"created with table_format {begun}, not {other}" in refused.output, words
    assert sorted(files.rglob("*")) == before


@pytest.mark.destinations
@pytest.mark.parametrize("name", ["delta", "iceberg"])
def test_the_end_of_each_job_of_a_table_format_is_noticed(
    serve: Serve, own_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """dlt's own jobs end unnoticed, and a load waits for a second."""
    noticed = []

    class PatientSemaphore(threading.BoundedSemaphore):
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            ended = super().acquire(blocking, None if timeout is None else 30)
            noticed.append(ended)
            return ended

    # a module of this name is hidden by a function
    monkeypatch.setattr(importlib.import_module("dlt.load.load"), "BoundedSemaphore", PatientSemaphore)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", name)
    gateway = still_gateway(recordings=3)
    with hold_pipeline(Target("vbc", "filesystem", "vbc_data")) as pipeline:
        pipeline.run(
            vbc_source(base_url=serve(gateway), credentials=credentials()).with_resources(
                "company_recordings"
            )
        )
    assert len(noticed) > 1
    assert all(noticed)


@pytest.mark.slow
@pytest.mark.destinations
@pytest.mark.parametrize("name", ["postgres", "parquet"])
def test_a_kill_at_a_random_moment_costs_nothing_elsewhere_either(
    name: str,
    serve: Serve,
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
) -> None:
    gateway, kills = still_gateway(recordings=3000), count_kills(3)
    url, moments = serve(gateway), choose_moments(5)
    expected = sorted(int(recording["id"]) for recording in gateway.company.all())
    duration = 0.0
    for trial in range(-1, kills):  # the first one is not killed, and tells how long the others take
        folder = own_folder / str(trial)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        with set_up(name, monkeypatch, s3_settings) as warehouse:
            command = ("sync", "--destination", warehouse.destination, "--dataset", warehouse.dataset)
            if duration:
                moment = duration * (0.4 + 0.6 * (trial + moments.random()) / kills)
                killed = subprocess.Popen(
                    vbc(*command), cwd=folder, env=environment(url, folder), stderr=subprocess.DEVNULL
                )
                with killed:
                    with suppress(subprocess.TimeoutExpired):
                        killed.wait(timeout=moment)
                    killed.kill()
            began = time.monotonic()
            finished = run_vbc(folder, url, *command)
            assert finished.returncode == 0, finished.stderr
            duration = duration or time.monotonic() - began
            found = warehouse.read()["company_recordings"]
            assert sorted(row["id"] for row in found) == expected
