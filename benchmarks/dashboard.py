"""Measure how long the dashboard takes with a million recordings: figures, search, and until audio plays.

`python -m benchmarks.dashboard [duckdb|postgres] [recordings]` invents recordings in SQL, builds the models,
serves the page and opens it in Chromium. The time of a page is from the start of the navigation to the frame
with all figures; of audio, from the request to its first bytes. The processor's seconds are those of the
server, which a busy machine changes less; for Postgres they leave out its own processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import psycopg2
import requests

DATASET = "bench_dashboard"
POSTGRES = "postgresql://postgres:any@127.0.0.1:5432/postgres"
PAGES = {
    "last 28 days": "/",
    "all": "/?days=all",
    "all, one direction": "/?days=all&direction=INBOUND",
    "all, one extension": "/?days=all&extension=1007",
    "recordings, all": "/recordings?days=all",
}
PLAYABLE, AUDIO_BYTES = 4711, 50_000_000
PLACE = f"account_id=549825/recording_type=company/date=2025-01-02/{PLAYABLE}.mp3"
RANGES = {"play, from the start": "bytes=0-", "play, 100 kB in the middle": "bytes=25000000-25099999"}
SEARCHES = {"search, number": "+1 (212) 555-4711", "search, name": "caller 471", "search, id": "471142"}
INVENTED = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.company_recordings AS SELECT
    '549825' AS account_id, i AS id, 'call-' || i AS call_id,
    CASE i % 5 WHEN 0 THEN 'OUTBOUND' WHEN 1 THEN 'INTRA_PBX' ELSE 'INBOUND' END AS call_direction,
    '1212555' || (1000 + i % 9000) AS caller_id, 'CALLER ' || i % 9000 AS cnam, '17325550100' AS dnis,
    CASE WHEN i % 100 = 0 THEN NULL ELSE 5000 + CAST(i AS bigint) * 7919 % 900000 END AS duration,
    CAST('2025-01-01 00:00:00+00' AS timestamptz) + i * interval '1 second' * {seconds} AS start,
    CAST('2025-01-01 00:15:00+00' AS timestamptz) + i * interval '1 second' * {seconds} AS "end",
    CAST(i % 5000000 AS bigint) AS file_size_in_bytes
FROM {series} ORDER BY i;
CREATE TABLE {schema}.company_recordings__extensions AS SELECT
    '549825' AS account_id, i AS recording_id, p AS position,
    CAST(1000 + (i * 31 + p) % 100 AS text) AS extension
FROM {series} CROSS JOIN (SELECT 0 AS p UNION ALL SELECT 1) positions WHERE p = 0 OR i % 3 = 0;
CREATE TABLE {schema}.scan_windows AS SELECT
    '549825' AS account_id, 'company_recordings' AS resource, CAST(NULL AS text) AS user_id,
    CAST('2024-12-31 00:00:00+00' AS timestamptz) + i * interval '1 day' AS window_start,
    CAST('2025-01-01 00:00:00+00' AS timestamptz) + i * interval '1 day' AS window_end,
    CAST('2025-01-03 00:00:00+00' AS timestamptz) + i * interval '1 day' AS scanned_at,
    CAST(NULL AS text) AS filters, '1' AS _dlt_load_id
FROM {days};
CREATE TABLE {schema}.recording_audio AS SELECT
    '549825' AS account_id, 'company' AS recording_type, CAST('' AS text) AS user_id,
    {playable} AS recording_id,
    'stored' AS status, '{uri}' AS uri, 'audio/mpeg' AS content_type;
CREATE TABLE {schema}._dlt_loads AS SELECT
    '1' AS load_id, 'vbc' AS schema_name, CAST(0 AS bigint) AS status, now() AS inserted_at;
"""


def invent(kind: str, folder: Path, recordings: int) -> None:
    """Write the source's tables."""
    form = "range(1, {} + 1) AS s(i)" if kind == "duckdb" else "generate_series(1, {}) AS s(i)"
    audio = folder / "archive" / PLACE
    audio.parent.mkdir(parents=True)
    audio.write_bytes(bytes(AUDIO_BYTES))
    names = {"schema": DATASET, "seconds": 365 * 86400 / recordings, "uri": f"file://{audio}"}
    names["playable"] = f"CAST({PLAYABLE} AS bigint)"
    sql = INVENTED.format(series=form.format(recordings), days=form.format(365), **names)
    if kind == "duckdb":
        with duckdb.connect(str(folder / "vbc.duckdb")) as connection:
            connection.execute(sql)
        return
    drop()
    with closing(psycopg2.connect(POSTGRES)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)


def drop() -> None:
    """Drop the schemas in Postgres."""
    with closing(psycopg2.connect(POSTGRES)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f"DROP SCHEMA IF EXISTS {DATASET} CASCADE; DROP SCHEMA IF EXISTS {DATASET}_models CASCADE"
        )


def serve(kind: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start `vbc dashboard`, which builds the models first."""
    changed = {
        "DLT_DATA_DIR": str(folder / "dlt"),
        "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES,
        "SOURCES__VBC__VBC_TIMEZONE": "America/New_York",
    }
    command = ["-c", "from vbc_source.cli import main; main()", "dashboard", "--port", str(port)]
    command += ["--destination", kind, "--dataset", DATASET]
    return subprocess.Popen([sys.executable, *command], cwd=folder, env={**os.environ, **changed})


def measure_pages(port: int) -> Iterator[tuple[str, float]]:
    """Open each page five times: milliseconds until its figures were painted."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        for name, path in PAGES.items():
            for _ in range(5):
                page: Any = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"http://127.0.0.1:{port}{path}")
                # two frames after the last figure is in the document, it is painted
                painted = page.evaluate(
                    "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame("
                    "() => done(document.querySelector('main table') ? performance.now() : NaN))))"
                )
                page.close()
                yield name, painted
        browser.close()


def measure_search(port: int) -> Iterator[tuple[str, float]]:
    """Search five times for each text: milliseconds until the page is there."""
    for name, text in SEARCHES.items():
        for _ in range(5):
            began = time.perf_counter()
            answer = requests.post(f"http://127.0.0.1:{port}/search", data={"q": text}, timeout=60)
            assert answer.status_code == 200
            assert "/recording/" in answer.text
            yield name, 1000 * (time.perf_counter() - began)


def measure_play(port: int, server: int) -> Iterator[tuple[str, float]]:
    """Ask for each range of a recording: milliseconds until its first bytes; prints what the server read."""
    for name, asked in RANGES.items():
        for _ in range(5):
            before, began = read_bytes(server), time.perf_counter()
            with requests.get(
                f"http://127.0.0.1:{port}/audio/549825/company/{PLAYABLE}",
                headers={"range": asked},
                stream=True,
                timeout=60,
            ) as answer:
                assert answer.status_code == 206
                got = len(next(answer.iter_content(65536)))
                first = 1000 * (time.perf_counter() - began)
                if "middle" in name:
                    got += sum(map(len, answer.iter_content(65536)))
            yield name, first
        print(f"{name}: {got:,} bytes received, {read_bytes(server) - before:,} read by the server in all")


def report(measured: Iterator[tuple[str, float]], server: int) -> None:
    """Print the first and the median time of each request, and what the server needed of a processor."""
    times: dict[str, list[tuple[float, float]]] = {}
    used = read_seconds(server)
    for name, milliseconds in measured:
        before, used = used, read_seconds(server)
        times.setdefault(name, []).append((milliseconds, 1000 * (used - before)))
    for name, found in times.items():
        typical, busy = (median(column) for column in zip(*found, strict=True))
        print(f"{name:28} first {found[0][0]:5.0f} ms, median {typical:5.0f} ms, processor {busy:4.0f} ms")


def read_bytes(process: int) -> int:
    """Return how many bytes a process has read, from files and connections."""
    return int(Path(f"/proc/{process}/io").read_text().split("rchar: ")[1].split()[0])


def read_seconds(process: int) -> float:
    """Return how many seconds of a processor a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(kind: str = "duckdb", recordings: str = "1000000") -> None:
    """Invent recordings, serve the dashboard, measure and print."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        invent(kind, folder, int(recordings))
        print(f"{int(recordings):,} recordings invented in {kind}, {time.monotonic() - began:.0f} s")
        server = serve(kind, folder, 8399)
        try:
            wait_for(8399, server)
            report(measure_pages(8399), server.pid)
            report(measure_search(8399), server.pid)
            report(measure_play(8399, server.pid), server.pid)
        finally:
            server.terminate()
            server.wait()
            if kind == "postgres":
                drop()


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the models are built and the port accepts connections."""
    import socket

    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("vbc dashboard ended")


if __name__ == "__main__":
    main(*sys.argv[1:])
