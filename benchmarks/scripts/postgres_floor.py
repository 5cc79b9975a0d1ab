"""The floor in Postgres: http.client, msgspec, COPY into a staging table and one merge; no proof."""

from __future__ import annotations

import csv
import http.client
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import psycopg2
from arguments import TOKEN, Arguments, read_arguments, report

TYPES = {
    "id": "bigint PRIMARY KEY",
    "call_direction": "text",
    "call_id": "text",
    "caller_id": "text",
    "cnam": "text",
    "dnis": "text",
    "download_url": "text",
    "duration": "bigint",
    "end": "timestamptz",
    "extensions": "bigint[]",
    "file_name": "text",
    "file_size_in_bytes": "bigint",
    "rule_ids": "bigint[]",
    "start": "timestamptz",
}
COLUMNS = ", ".join(f'"{name}"' for name in TYPES)
DEFINITIONS = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
CREATE = f"""
    CREATE SCHEMA bench_vbc;
    CREATE TABLE bench_vbc.company_recordings ({DEFINITIONS});
    CREATE TEMP TABLE staging (LIKE bench_vbc.company_recordings)"""
COPY = f"COPY staging ({COLUMNS}) FROM STDIN (FORMAT csv)"
MERGE = f"""
    INSERT INTO bench_vbc.company_recordings ({COLUMNS}) SELECT {COLUMNS} FROM staging
    ON CONFLICT (id) DO UPDATE SET {", ".join(f'"{name}" = excluded."{name}"' for name in TYPES)}"""

Row: Any = msgspec.defstruct("Row", [(name, Any) for name in TYPES])
Embedded = msgspec.defstruct("Embedded", [("recordings", list[Row])])
Page: Any = msgspec.defstruct(
    "Page", [("embedded", Embedded), ("total_pages", int)], rename={"embedded": "_embedded"}
)


def fetch(arguments: Arguments) -> Iterator[Sequence[Any]]:
    """Yield the rows of all pages."""
    address, decoder = urlsplit(arguments.list_url), msgspec.json.Decoder(Page)
    connection = http.client.HTTPConnection(address.netloc)
    pages, page = 1, 0
    while page < pages:
        page += 1
        query = urlencode({"page": page, "page_size": arguments.page_size, "order": "start:ASC"})
        connection.request("GET", f"{address.path}?{query}", headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"status {answer.status}")
        response = decoder.decode(body)
        pages = response.total_pages
        for row in response.embedded.recordings:
            row.extensions = f"{{{','.join(map(str, row.extensions))}}}"
            row.rule_ids = f"{{{','.join(map(str, row.rule_ids))}}}"
            yield msgspec.structs.astuple(row)


def main() -> None:
    """Fetch and load."""
    arguments = read_arguments()
    began = time.perf_counter()
    path: Path = arguments.folder / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(fetch(arguments))
    postgres = psycopg2.connect(os.environ["DESTINATION__POSTGRES__CREDENTIALS"])
    with postgres, postgres.cursor() as cursor, path.open() as file:
        cursor.execute(CREATE)
        cursor.copy_expert(COPY, file)
        cursor.execute(MERGE)
    report(began)


if __name__ == "__main__":
    main()
