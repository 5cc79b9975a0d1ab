"""A bare script: requests and pandas, page after page into one table, without proof.

With ten rows a page, the API's default, it is the vendor's tutorial.
"""

from __future__ import annotations

import time
from typing import Any

import duckdb
import pandas as pd
import requests
from arguments import TOKEN, Arguments, read_arguments, report


def fetch(arguments: Arguments) -> list[dict[str, Any]]:
    """Get every recording."""
    rows: list[dict[str, Any]] = []
    page, pages = 1, 1
    while page <= pages:
        answer = requests.get(
            arguments.list_url,
            params={"page": page, "page_size": arguments.page_size, "order": "start:ASC"},
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
        )
        answer.raise_for_status()
        body = answer.json()
        rows += body["_embedded"]["recordings"]
        page, pages = page + 1, body["total_pages"]
    return rows


def main() -> None:
    """Fetch, convert to a frame, store it."""
    arguments = read_arguments()
    began = time.perf_counter()
    frame = pd.DataFrame(fetch(arguments)).drop(columns="_links")
    for name in ("start", "end"):
        frame[name] = pd.to_datetime(frame[name])
    with duckdb.connect(str(arguments.database)) as database:
        database.register("frame", frame)
        database.execute("CREATE TABLE company_recordings AS SELECT * FROM frame")
    report(began)


if __name__ == "__main__":
    main()
