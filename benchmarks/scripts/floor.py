"""The floor: http.client and DuckDB's own JSON reader into one table, without proof or merge."""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import duckdb
from arguments import TOKEN, Arguments, read_arguments, report

LOAD = """
    CREATE TABLE company_recordings AS SELECT * FROM read_json(?, format = 'newline_delimited', columns = {
        id: 'BIGINT', call_direction: 'VARCHAR', call_id: 'VARCHAR', caller_id: 'VARCHAR', cnam: 'VARCHAR',
        dnis: 'VARCHAR', download_url: 'VARCHAR', duration: 'BIGINT', "end": 'VARCHAR',
        extensions: 'VARCHAR[]', file_name: 'VARCHAR', file_size_in_bytes: 'BIGINT',
        rule_ids: 'BIGINT[]', start: 'VARCHAR'})"""


def fetch(arguments: Arguments, path: Path) -> None:
    """Write the rows of all pages to a file, one a line, which DuckDB reads fastest."""
    address = urlsplit(arguments.list_url)
    connection = http.client.HTTPConnection(address.netloc)
    pages, page = 1, 0
    with path.open("wb") as file:
        while page < pages:
            page += 1
            query = urlencode({"page": page, "page_size": arguments.page_size, "order": "start:ASC"})
            connection.request("GET", f"{address.path}?{query}", headers={"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                sys.exit(f"status {answer.status}")
            first, last = body.index(b"[") + 1, body.rindex(b"]},")
            file.write(body[first:last].replace(b'},{"_links"', b'}\n{"_links"') + b"\n")
            pages = json.loads(b"{" + body[last + 3 :])["total_pages"]


def main() -> None:
    """Fetch and load."""
    arguments = read_arguments()
    began = time.perf_counter()
    rows = arguments.folder / "rows.ndjson"
    fetch(arguments, rows)
    with duckdb.connect(str(arguments.database)) as database:
        database.execute(LOAD, [str(rows)])
    report(began)


if __name__ == "__main__":
    main()
