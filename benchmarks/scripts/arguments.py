"""Arguments of the contenders, and the line of JSON that each prints at the end."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

API = "/t/vbc.prod/call_recording/api"
TOKEN = "bench"


class Arguments(argparse.Namespace):
    """Arguments of a contender.

    Attributes:
        url: Address of the gateway.
        folder: An empty folder to write into.
        page_size: Rows to request per page.
        start: Oldest `start` to read, ISO.
        per_minute: Requests a minute; 0 for no limit.
        destination: `duckdb`, `filesystem` for parquet files, or `postgres`.
        variant: Variant of the script, if it has several.
    """

    url: str
    folder: Path
    page_size: int
    start: str
    per_minute: int
    destination: str
    variant: str

    @property
    def api_url(self) -> str:
        """Address of the Call Recording API."""
        return self.url + API

    @property
    def list_url(self) -> str:
        """Address of the list of company recordings."""
        return f"{self.api_url}/accounts/self/company_call_recordings"

    @property
    def database(self) -> Path:
        """The DuckDB file to load into."""
        return self.folder / "loaded.duckdb"


def read_arguments() -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--start", default="2020-01-01T00:00:00Z")
    parser.add_argument("--per-minute", type=int, default=0)
    parser.add_argument("--destination", default="duckdb")
    parser.add_argument("--variant", default="")
    return parser.parse_args(namespace=Arguments())


def report(began: float) -> None:
    """Print how long the run took, without the imports before it.

    Args:
        began: Value of `time.perf_counter()` at the start.
    """
    print(json.dumps({"seconds_inside": time.perf_counter() - began}), flush=True)
