"""What is served, and to whom; what is said where there is nothing to show."""

from __future__ import annotations

import asyncio
import csv
import io
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest
import requests
import uvicorn
from dashboards import serve_dashboard
from filelock import FileLock
from loading import run_vbc
from model_facts import work_out
from model_tables import Credentials, write_models_duckdb
from raw_tables import invent, write_duckdb
from starlette.requests import ClientDisconnect

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.app import DashboardDatabase, listen, make_app

ZONE = "America/New_York"


@contextmanager
def serving(folder: Path, turn: FileLock | None = None, zone: str = ZONE) -> Iterator[str]:
    """Serve a database's figures from a thread."""
    desk = DashboardDatabase(
        AnalyticsDatabase("duckdb", "vbc", Credentials(str(folder / "vbc.duckdb"))), turn, zone
    )
    listener = listen(0)
    config = uvicorn.Config(make_app(desk), log_config=None, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tables = invent(1)
    add_formula(tables)
    path = tmp_path_factory.mktemp("filled") / "vbc.duckdb"
    write_models_duckdb(path, work_out(tables, ZONE))
    return path


@pytest.fixture
def filled(database: Path, own_folder: Path) -> Path:
    shutil.copy(database, own_folder)
    return own_folder


def add_formula(tables: dict) -> None:  # type: ignore[type-arg]
    for row, name in zip(
        tables["company_recordings"], ("=1+1", "+12125550142", "@SUM(A1)", "<b>BOLD</b>"), strict=False
    ):
        row["cnam"] = name


def test_pages_and_export_answer_and_forbid_what_they_do_not_need(filled: Path) -> None:
    with serving(filled) as url:
        for path in ("/", "/recordings", "/recordings?page=2", "/recordings.csv", "/style.css"):
            answer = requests.get(url + path, timeout=20)
            assert answer.status_code == 200, path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "no-referrer"
        assert requests.post(url + "/", timeout=20).status_code == 405
        assert requests.get(url + "/nothing", timeout=20).status_code == 404
        page = requests.get(url + "/recordings?days=all", timeout=20).text
        assert "<b>BOLD" not in page


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", ""])
def test_a_name_that_others_lead_here_is_refused(filled: Path, host: str) -> None:
    with serving(filled) as url:
        answer = requests.get(url, headers={"host": host}, timeout=20)
        assert answer.status_code == 400
        assert "Recordings" not in answer.text


@pytest.mark.parametrize(
    "asked",
    [
        *(
            "from=2025-13-01",
            "to=yesterday",
            "from=2025-03-09&to=2025-03-08",
            "days=31",
            "hour=24",
            "weekday=0",
        ),
        *(
            "length=x",
            "page=0",
            "page=-1",
            "page=99999999999999",
            "page=²",
            "extension=12125550142",
            "hour=²",
        ),
        *("from=0001-01-01", "to=9999-12-31", "account=%00", "direction=a%0Ab"),
    ],
)
def test_what_cannot_be_chosen_is_said(filled: Path, asked: str) -> None:
    with serving(filled) as url:
        answer = requests.get(f"{url}/recordings?{asked}", timeout=20)
        assert answer.status_code == 400, answer.text
        assert "That cannot be shown" in answer.text


@pytest.mark.parametrize("name", ["account", "direction", "extension", "type"])
def test_values_are_bound_and_escaped(filled: Path, name: str) -> None:
    with serving(filled) as url:
        for value in ("' OR 1=1 --", '"><script>alert(1)</script>', "%(since)s", "{recordings}", "$zone"):
            answer = requests.get(f"{url}/", params={"days": "all", name: value}, timeout=20)
            assert answer.status_code == 200
            assert "No recordings fit" in answer.text
            assert "<script" not in answer.text


def test_the_export_has_the_rows_of_the_list_and_no_formulas(filled: Path) -> None:
    with serving(filled) as url:
        text = requests.get(f"{url}/recordings.csv?days=all", timeout=20).text
    rows = list(csv.DictReader(io.StringIO(text)))
    with duckdb.connect(str(filled / "vbc.duckdb"), read_only=True) as connection:
        expected = connection.execute(
            "SELECT recording_id, caller_name FROM vbc_models.recordings WHERE started_at IS NOT NULL "
            "ORDER BY started_at DESC, recording_key"
        ).fetchall()
    assert [int(row["recording_id"]) for row in rows] == [id_ for id_, _ in expected]
    marked = {"=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)"}
    assert [row["caller_name"] for row in rows] == [marked.get(name, name or "") for _, name in expected]
    assert {"'=1+1", "'@SUM(A1)"} & {row["caller_name"] for row in rows}


def test_a_load_can_write_between_answers_and_is_said_to_be_on_while_it_does(filled: Path) -> None:
    """A process that takes no turns, such as a loading one under another pipeline name."""
    hold = (
        "import duckdb, sys; c = duckdb.connect('vbc.duckdb'); c.execute('CREATE TABLE loaded AS SELECT 1');"
        "print('open', flush=True); sys.stdin.read()"
    )
    with serving(filled) as url:
        assert requests.get(url, timeout=20).status_code == 200
        with subprocess.Popen(
            [sys.executable, "-c", hold], cwd=filled, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            answer = requests.get(url, timeout=20)
            writer.communicate()
        assert (answer.status_code, "The database is being loaded" in answer.text) == (503, True)
        assert requests.get(url, timeout=20).status_code == 200


def test_a_load_that_takes_turns_is_waited_for_a_moment(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vbc_source.dashboard.app.TURN_SECONDS", 0.05)
    path = filled / "turn.lock"
    with serving(filled, FileLock(path, thread_local=False)) as url:
        assert requests.get(url, timeout=20).status_code == 200
        with FileLock(path):
            assert requests.get(url, timeout=20).status_code == 503
            assert requests.get(f"{url}/recordings.csv", timeout=20).status_code == 503
        assert requests.get(f"{url}/recordings.csv", timeout=20).status_code == 200
        with FileLock(path, timeout=0):  # is given back, whatever was answered
            pass


def test_models_that_go_away_or_change_are_one_clear_line(filled: Path) -> None:
    with serving(filled) as url:
        with duckdb.connect(str(filled / "vbc.duckdb")) as connection:
            connection.execute("ALTER TABLE vbc_models.recordings RENAME duration_seconds TO seconds")
        answer = requests.get(url, timeout=20)
        assert (answer.status_code, "The figures cannot be read" in answer.text) == (503, True)
        assert "Traceback" not in answer.text


def test_models_of_another_time_zone_are_noticed(filled: Path) -> None:
    asked = "from=2025-03-09&to=2025-03-09"
    for zone, noticed in ((ZONE, False), ("Asia/Tokyo", True)):
        with serving(filled, zone=zone) as url:
            page = requests.get(f"{url}/?{asked}", timeout=20).text
        assert ("The models do not agree" in page) == noticed


def test_who_leaves_an_export_does_not_keep_the_database(filled: Path) -> None:
    turn = FileLock(filled / "turn.lock", thread_local=False)
    warehouse = AnalyticsDatabase("duckdb", "vbc", Credentials(str(filled / "vbc.duckdb")))
    app = make_app(DashboardDatabase(warehouse, turn, ZONE))
    request = {"type": "http", "method": "GET", "path": "/recordings.csv", "query_string": b"days=all"}
    scope = {**request, "headers": [(b"host", b"127.0.0.1")], "asgi": {"spec_version": "2.4"}}
    held = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        held.append(turn.is_locked)
        if message["type"] == "http.response.body":
            raise OSError("gone")

    with pytest.raises(ClientDisconnect):
        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert all(held)
    assert not turn.is_locked


def test_without_recordings_the_page_says_what_to_do(own_folder: Path) -> None:
    path = own_folder / "vbc.duckdb"
    with serving(own_folder) as url:
        answer = requests.get(url, timeout=20)
        assert (answer.status_code, "run vbc sync first" in answer.text) == (503, True)
        duckdb.connect(str(path)).close()
        answer = requests.get(url, timeout=20)
        assert (answer.status_code, "vbc models run" in answer.text) == (503, True)
        write_models_duckdb(path, work_out({"company_recordings": []}, ZONE))
        answer = requests.get(url, timeout=20)
        assert (answer.status_code, "vbc sync &amp;&amp; vbc models run" in answer.text) == (200, True)
        assert requests.get(f"{url}/recordings.csv", timeout=20).status_code == 503


def test_the_command_says_what_to_do_where_it_cannot_serve(own_folder: Path) -> None:
    failed = run_vbc(own_folder, "http://127.0.0.1:9", "dashboard")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("vbc.duckdb: run vbc sync first")
    with listen(0) as taken:
        write_models_duckdb(own_folder / "vbc.duckdb", work_out(invent(1), ZONE))
        failed = run_vbc(own_folder, "http://127.0.0.1:9", "dashboard", "--port", str(taken.getsockname()[1]))
    assert failed.returncode == 1
    assert "choose another with --port" in failed.stderr.splitlines()[-1]


def test_it_listens_to_this_machine_alone() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_without_its_extra_the_command_says_what_to_install(own_folder: Path) -> None:
    without = "import sys; sys.modules['uvicorn'] = None; from vbc_source.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "dashboard"],
        cwd=own_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the dashboard needs uvicorn: pip install 'vbc-source[dashboard]'" in done.stderr


@pytest.mark.slow
def test_the_command_builds_the_models_and_serves_and_ends_quietly(own_folder: Path) -> None:
    tables = invent(1)
    write_duckdb(own_folder / "vbc.duckdb", tables)
    with serve_dashboard(own_folder) as url:
        page = requests.get(f"{url}/?days=all", timeout=20).text
        assert "Recordings over time" in page
        with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:  # nobody holds it
            connection.execute("UPDATE vbc_data.company_recordings SET call_direction = 'CONFERENCE'")
        assert ">Conference</option>" not in requests.get(url, timeout=20).text
    with serve_dashboard(own_folder, "--refresh") as url:
        assert ">Conference</option>" in requests.get(url, timeout=20).text
