"""What the dashboard serves, to whom, and its messages where there is nothing to show."""

from __future__ import annotations

import asyncio
import csv
import io
import json
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
from expected_models import expect_invented, expect_models
from filelock import FileLock
from in_process import run_in_process
from model_tables import Credentials, write_models_duckdb
from raw_tables import invent, write_duckdb
from starlette.requests import ClientDisconnect

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.dashboard.app import DashboardDatabase, listen, make_app
from vbc_source.dashboard.plays import PlaysLedger
from vbc_source.emulator.http.server import ThreadServer

ZONE = "America/New_York"


@contextmanager
def serving(
    folder: Path, lock: FileLock | None = None, zone: str = ZONE, plays: PlaysLedger | None = None
) -> Iterator[str]:
    """Serve the database of a folder from a thread; yields the URL."""
    database = DashboardDatabase(open_database(folder), lock, zone)
    listener = listen(0)
    config = uvicorn.Config(make_app(database, plays), log_config=None, ws="none", lifespan="off")
    server = ThreadServer(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    assert server.ready.wait(30)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join(10)


def open_database(folder: Path) -> AnalyticsDatabase:
    return AnalyticsDatabase("duckdb", "vbc_data", Credentials(str(folder / "vbc.duckdb")))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "vbc.duckdb"
    write_models_duckdb(path, expect_invented(1, ZONE))
    return path


@pytest.fixture(scope="module")
def url(database: Path) -> Iterator[str]:
    """Serve the models for all tests that only read."""
    with serving(database.parent) as served:
        yield served


@pytest.fixture
def filled(database: Path, own_folder: Path) -> Path:
    shutil.copy(database, own_folder)
    return own_folder


def test_responses_have_security_headers_and_only_get_is_allowed(url: str) -> None:
    for path in (
        "/",
        "/recordings",
        "/recordings?page=2",
        "/recordings.csv",
        "/users",
        "/style.css",
        "/hover.js",
        "/wait.js",
    ):
        answer = requests.get(url + path, timeout=60)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert requests.post(url + "/", timeout=60).status_code == 405
    assert requests.get(url + "/nothing", timeout=60).status_code == 404
    page = requests.get(url + "/recordings?days=all", timeout=60).text
    assert "<b>BOLD" not in page


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8050", "127.0.0.1.evil.example", ""])
def test_foreign_host_name_is_refused(url: str, host: str) -> None:
    answer = requests.get(url, headers={"host": host}, timeout=60)
    assert answer.status_code == 400
    assert "Recordings" not in answer.text


@pytest.mark.parametrize(
    "query",
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
            "page=0000000019999999999999999",
            "page=²",
            "extension=12125550142",
            "hour=²",
        ),
        *("from=0001-01-01", "to=9999-12-31", "account=%00", "direction=a%0Ab"),
    ],
)
def test_invalid_filter_is_reported(url: str, query: str) -> None:
    answer = requests.get(f"{url}/recordings?{query}", timeout=60)
    assert answer.status_code == 400, answer.text
    assert "Invalid filter" in answer.text


@pytest.mark.parametrize("name", ["account", "direction", "extension", "type"])
def test_unknown_values_are_refused_and_not_repeated(url: str, name: str) -> None:
    for value in ("' OR 1=1 --", '"><script>alert(1)</script>', "%(since)s", "{recordings}", "$zone"):
        answer = requests.get(f"{url}/", params={"days": "all", name: value}, timeout=60)
        assert answer.status_code == 400
        assert f"No recording has the {name} of this address" in answer.text
        assert "alert(1)" not in answer.text


def test_export_has_all_rows_in_order_and_no_formulas(url: str, database: Path) -> None:
    text = requests.get(f"{url}/recordings.csv?days=all", timeout=60).text
    rows = list(csv.DictReader(io.StringIO(text)))
    with duckdb.connect(str(database), read_only=True) as connection:
        expected = connection.execute(
            "SELECT recording_id, caller_name FROM vbc_models.recordings WHERE started_at IS NOT NULL "
            "ORDER BY started_at DESC, recording_key"
        ).fetchall()
    assert [int(row["recording_id"]) for row in rows] == [id_ for id_, _ in expected]
    marked = {"=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)"}
    assert [row["caller_name"] for row in rows] == [marked.get(name, name or "") for _, name in expected]
    assert {"'=1+1", "'@SUM(A1)"} & {row["caller_name"] for row in rows}


def test_load_can_write_between_responses_and_is_reported_while_it_does(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a process that does not take the lock, such as a load with another pipeline name."""
    hold = (
        "import duckdb, sys; c = duckdb.connect('vbc.duckdb'); c.execute('CREATE TABLE loaded AS SELECT 1');"
        "print('open', flush=True); sys.stdin.read()"
    )
    with serving(filled) as url:
        assert requests.get(url, timeout=60).status_code == 200
        with subprocess.Popen(
            [sys.executable, "-c", hold], cwd=filled, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            answer = requests.get(url, timeout=60)
            searched = requests.post(f"{url}/search", data={"q": "1017"}, timeout=60)
            file = requests.get(f"{url}/recordings.csv", timeout=60)
            monkeypatch.chdir(filled)
            report = run_in_process("report")
            writer.communicate()
        assert (answer.status_code, "The database is being loaded" in answer.text) == (503, True)
        assert report.stderr.startswith("vbc report: another process has the DuckDB file open")
        assert '<meta http-equiv="refresh"' in answer.text
        assert answer.headers["retry-after"] == "5"
        assert (searched.status_code, "Reload this page" in searched.text) == (503, True)
        assert 'http-equiv="refresh"' not in searched.text  # it would lose what was searched for
        assert (file.status_code, "Try again in a moment" in file.text) == (503, True)
        assert "refresh" not in file.text  # a page that waits stays where the answer is a download
        assert "wait.js" not in file.text
        assert requests.get(url, timeout=60).status_code == 200


def test_held_lock_is_waited_for_and_then_reported(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vbc_source.dashboard.app.LOCK_SECONDS", 0.05)
    path = filled / "load.lock"
    with serving(filled, FileLock(path, thread_local=False)) as url:
        assert requests.get(url, timeout=60).status_code == 200
        with FileLock(path):
            assert requests.get(url, timeout=60).status_code == 503
            assert requests.get(f"{url}/recordings.csv", timeout=60).status_code == 503
        assert requests.get(f"{url}/recordings.csv", timeout=60).status_code == 200
        with FileLock(path, timeout=0):  # released after every response
            pass


def test_failing_query_is_one_message_without_a_traceback(filled: Path) -> None:
    with serving(filled) as url:
        with duckdb.connect(str(filled / "vbc.duckdb")) as connection:
            connection.execute("ALTER TABLE vbc_models.recordings RENAME duration_seconds TO seconds")
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, "The figures cannot be read" in answer.text) == (503, True)
        assert "Traceback" not in answer.text


def test_models_of_another_time_zone_are_reported(filled: Path) -> None:
    query = "from=2025-03-09&to=2025-03-09"
    for zone, reported in ((ZONE, False), ("Asia/Tokyo", True)):
        with serving(filled, zone=zone) as url:
            page = requests.get(f"{url}/?{query}", timeout=60).text
        assert ("The models do not agree" in page) == reported


def test_an_export_holds_no_database_while_it_is_sent(filled: Path) -> None:
    lock = FileLock(filled / "load.lock", thread_local=False)
    app = make_app(DashboardDatabase(open_database(filled), lock, ZONE))
    request = {"type": "http", "method": "GET", "path": "/recordings.csv", "query_string": b"days=all"}
    scope = {**request, "headers": [(b"host", b"127.0.0.1")], "asgi": {"spec_version": "2.4"}}
    held = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        held.append(lock.is_locked)
        if message["type"] == "http.response.body":
            raise OSError("gone")

    with pytest.raises(ClientDisconnect):
        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert held
    assert not any(held)


def test_page_without_recordings_shows_what_to_run(own_folder: Path) -> None:
    path = own_folder / "vbc.duckdb"
    with serving(own_folder) as url:
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, "run vbc sync first" in answer.text) == (503, True)
        duckdb.connect(str(path)).close()
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, "vbc models run" in answer.text) == (503, True)
        write_models_duckdb(path, expect_models({"company_recordings": []}, ZONE))
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, "vbc sync &amp;&amp; vbc models run" in answer.text) == (200, True)
        assert requests.get(f"{url}/recordings.csv", timeout=60).status_code == 503


def test_command_reports_what_to_do_if_it_cannot_serve(filled: Path) -> None:
    with listen(0) as taken:
        failed = run_in_process("dashboard", "--port", str(taken.getsockname()[1]))
    assert failed.exit_code == 1
    assert "choose another with --port" in failed.stderr.splitlines()[-1]
    (filled / "vbc.duckdb").unlink()
    failed = run_in_process("dashboard")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1].endswith("vbc.duckdb: run vbc sync first")


def test_a_month_is_reported_as_one_private_page_without_links(filled: Path) -> None:
    (filled / "report.html").touch()
    (filled / "report.html").chmod(0o644)  # an earlier one that everybody may read
    done = run_in_process("report", "--month", "2025-03", "--json", SOURCES__VBC__VBC_TIMEZONE=ZONE)
    assert done.exit_code == 0, done.output
    text = (filled / "report.html").read_text()
    with duckdb.connect(str(filled / "vbc.duckdb"), read_only=True) as connection:
        sql = (
            "SELECT sum(recordings) FROM vbc_models.coverage WHERE day BETWEEN '2025-03-01' AND '2025-03-31'"
        )
        ((recordings,),) = connection.execute(sql).fetchall()
    assert f'<dd class="figure">{recordings}</dd>' in text
    assert "March 2025" in text
    assert not [word for word in ("href=", "src=", "<script", "http") if word in text]
    assert (filled / "report.html").stat().st_mode & 0o077 == 0
    for options, message in (
        (["--out", "r.pdf"], "chromium --headless"),
        (["--month", "March"], "such as 2025-03"),
        (["--month", "2999-01"], "2999-01 is in the future"),
    ):
        failed = run_in_process("report", *options)
        assert (failed.exit_code, message in failed.stderr) == (2, True)


@pytest.mark.usefixtures("filled")
def test_a_month_without_recordings_is_said_to_have_none() -> None:
    done = run_in_process("report", "--month", "2005-03", "--json", SOURCES__VBC__VBC_TIMEZONE=ZONE)
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["recordings"] == 0
    assert "the models have no recordings of 2005-03: they reach from" in done.stderr


def test_server_listens_on_the_loopback_address_only() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_command_without_its_extra_reports_what_to_install(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "vbc_source.dashboard.app")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run_in_process("dashboard")
    assert done.exit_code == 1
    assert "the dashboard needs uvicorn: install the extra `dashboard`" in done.stderr


@pytest.mark.slow
def test_command_builds_missing_models_serves_and_refreshes(own_folder: Path) -> None:
    tables = invent(1)
    write_duckdb(own_folder / "vbc.duckdb", tables)
    with serve_dashboard(own_folder) as url:
        page = requests.get(f"{url}/?days=all", timeout=60).text
        assert "Recordings over time" in page
        with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:  # not kept open
            connection.execute("UPDATE vbc_data.company_recordings SET call_direction = 'CONFERENCE'")
        assert ">Conference</option>" not in requests.get(url, timeout=60).text
    with serve_dashboard(own_folder, "--refresh") as url:
        assert ">Conference</option>" in requests.get(url, timeout=60).text
