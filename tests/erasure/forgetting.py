"""A gateway with a caller whose number is planted everywhere, and a search of everything for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archiving import configure
from expected_rows import ago
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


def search(folder: Path, *others: str) -> list[str]:
    """Return the files below a folder that hold the number, or other texts, in any form.

    Files are searched as they are and opened, whatever is packed in what; DuckDB's tables as rows.
    """
    forms = _write_forms((DIGITS, *others), PATTERN if not others else None)
    return [place for place, data in _read_all(folder) if forms.search(data)]


def _write_forms(texts: Iterable[str], pattern: re.Pattern[bytes] | None) -> re.Pattern[bytes]:
    """Write the pattern of texts in other encodings, and of the number's hashes without a key."""
    forms = {text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16-le", "utf-16-be")}
    for text in texts:
        forms.add(text.encode().hex().encode())
        for shift, first in enumerate((0, 2, 3)):  # what is the same in base64, wherever the text begins
            body = b"\0" * shift + text.encode()
            forms.add(b64encode(body)[first : len(body) * 8 // 6])
    for spelling in SPELLINGS if pattern else ():
        forms |= {
            hashlib.new(name, spelling.encode()).hexdigest().encode() for name in ("md5", "sha1", "sha256")
        }
    parts = [re.escape(form) for form in sorted(forms)]
    return re.compile(b"|".join([*parts, *([pattern.pattern] if pattern else [])]))


def _read_all(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield f"name of {path}", str(path.relative_to(folder)).encode()
        if not path.is_file():
            continue
        yield from _open_layers(str(path), path.read_bytes())
        if path.suffix == ".duckdb":
            yield from _read_database(path)


def _open_layers(place: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield some bytes, and what is packed in them."""
    yield place, data
    inner: list[tuple[str, bytes]] = []
    if data[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError):
            inner.append((f"{place} unpacked", gzip.decompress(data)))
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        inner.append((f"{place} unpacked", pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()))
    elif data[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        inner.append((f"{place} as rows", repr(table.to_pylist()).encode()))
        inner.append((f"{place} schema", repr(table.schema.metadata).encode()))
    elif data[:4] == b"Obj\x01":
        inner += [(f"{place} block", block) for block in _inflate(data)]
    elif zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inner += [(f"{place}/{name}", name.encode() + archive.read(name)) for name in archive.namelist()]
    for name, body in inner:
        yield from _open_layers(name, body)


def _inflate(data: bytes) -> Iterator[bytes]:
    """Yield the blocks of an Avro file, in which Iceberg keeps the bounds of columns."""
    sync, blocks = data[-16:], data.split(data[-16:])[1:]
    assert data.count(sync) > 1
    for block in blocks:
        for start in range(1, 12):  # behind the number of rows, and the length
            with suppress(zlib.error):
                yield zlib.decompress(block[start:], -15)
                break


def _read_database(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every table of a DuckDB file: it compresses texts, so that its bytes alone prove little."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        for schema, table in tables:
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            yield f"{path} {schema}.{table}", repr(rows).encode()
