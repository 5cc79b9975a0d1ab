"""The arguments of every contender, and the one line of JSON that each prints at its end."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

API = "/t/vbc.prod/call_recording/api"
TOKEN = "bench"


class Arguments(argparse.Namespace):
    """What a contender is told.

    Attributes:
        url: the gateway.
        folder: where it may write; it is empty.
        page_size: recordings to ask for at once.
        start: oldest start to read, ISO.
        per_minute: its budget of requests; 0 for none.
        destination: `duckdb`, a folder for parquet files (`parquet`), or `postgres`.
        variant: which of several ways, where the script has some.
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
        """Where the Call Recording API is."""
        return self.url + API

    @property
    def list_url(self) -> str:
        """Where company recordings are listed."""
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
    """Say how long the run took, without the imports before it.

    Args:
        began: what `time.perf_counter()` gave.
    """
    print(json.dumps({"seconds_inside": time.perf_counter() - began}), flush=True)
