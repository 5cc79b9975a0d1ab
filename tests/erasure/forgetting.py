"""A gateway with a caller whose number is planted everywhere, and a search of everything for it."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from archiving import configure
from holdings import ago
from in_process import run_in_process

from vbc_source.emulator import Emulator, Gateway

NUMBER = "+1 (202) 555-0177"
DIGITS = "2025550177"
SPELLINGS = ("12025550177", "+12025550177", "2025550177", "(202) 555-0177")
PATTERN = re.compile(rb"202[ ().-]{0,3}555[ ().-]{0,3}0177")
MAIN = "549825"


def plant(recordings: int = 6, **options: Any) -> Gateway:
    """Make a gateway in which a caller has recordings of each type, in several spellings, among others."""
    gateway = Gateway(**options)  # whose clock goes on: an erasure compares it with this machine's
    for number in range(1, 3):
        gateway.users.add(
            id=number,
            recordings=0,
            first_name=f"Ann{number}",
            last_name="Lee",
            email=f"ann{number}@example.com",
            login_name=f"ann{number}",
        )
    for number in range(recordings):
        gateway.company.add(
            id=1000 + number,
            start=ago(days=10 + number),
            file_size_in_bytes=2000 + number,
            call_id=f"call-{1000 + number}-x",
            caller_id=SPELLINGS[number // 2 % len(SPELLINGS)] if number % 2 else "13035550188",
            dnis="14085550100",
            cnam="Q",
        )
    gateway.company.add(
        id=1900,
        start=ago(days=3),
        file_size_in_bytes=2100,
        call_id="call-1900-x",
        caller_id="14085550100",
        dnis="12025550177",
        cnam="from +1 202 555 0177",
        notes={"ring": "202-555-0177"},
    )
    gateway.users.recordings(1).add(
        id=7, start=ago(days=4), file_size_in_bytes=900, call_id="call-7-x", caller_id="12025550177", dnis="1"
    )
    gateway.users.recordings(2).add(
        id=7, start=ago(days=4), file_size_in_bytes=901, call_id="call-8-x", caller_id="13035550188", dnis="1"
    )
    return gateway


@dataclass
class Site:
    """A loaded and archived account."""

    gateway: Gateway
    url: str
    folder: Path

    def run(self, *arguments: str, **changed: str) -> Any:
        """Run a command; return its result and what it printed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            done = run_in_process(
                *arguments,
                "--json",
                **configure(self.url),
                DLT_DATA_DIR=str(self.folder / "dlt"),
                RUNTIME__DLTHUB_TELEMETRY="false",
                SOURCES__VBC__AUDIO__BUCKET_URL=str(self.folder / "bucket"),
                **changed,
            )
        lines = done.stdout.splitlines()
        assert lines, done.output
        return json.loads(lines[-1]), done

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "vbc.duckdb"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@contextmanager
def archive(folder: Path) -> Iterator[Site]:
    """Load and archive the account in which the caller is planted."""
    gateway = plant()
    with Emulator(gateway) as url:
        site = Site(gateway, url, folder)
        for command in ("sync", "audio"):
            result, done = site.run(command)
            assert result["ok"], done.output
        yield site


def list_planted(gateway: Gateway) -> list[tuple[str, int]]:
    """Return the recordings at the gateway that hold the number, by user and id."""
    lists = [("", gateway.company.all())]
    lists += [(user, gateway.users.recordings(int(user)).all()) for user in ("1", "2")]
    return [
        (user, int(row["id"])) for user, rows in lists for row in rows if PATTERN.search(repr(row).encode())
    ]


def search(folder: Path) -> list[str]:
    """Return the files below a folder that hold the number: raw, opened, and as rows."""
    return [place for place, data in _read_all(folder) if PATTERN.search(data)]


def _read_all(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield f"name of {path}", str(path.relative_to(folder)).encode()
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield str(path), data
        with suppress(OSError, EOFError):
            yield f"{path} unpacked", gzip.decompress(data)
        if data[:4] == b"PAR1":
            yield f"{path} as rows", repr(pq.read_table(path).to_pylist()).encode()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    yield f"{path}/{name}", name.encode() + archive.read(name)
        if path.suffix == ".duckdb":
            yield from _read_database(path)


def _read_database(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every table of a DuckDB file: it compresses texts, so that its bytes alone prove little."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        for schema, table in tables:
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            yield f"{path} {schema}.{table}", repr(rows).encode()
