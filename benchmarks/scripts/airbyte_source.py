"""A declarative Airbyte source, run by PyAirbyte into its DuckDB cache, as in its documentation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import airbyte
import yaml
from airbyte.caches import DuckDBCache
from arguments import TOKEN, Arguments, read_arguments, report

MANIFEST = Path(__file__).with_name("airbyte_manifest.yaml")


def read_manifest(arguments: Arguments) -> dict[str, Any]:
    """Read the manifest, and add the budget of requests."""
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    if arguments.per_minute:
        rate = {"type": "Rate", "limit": arguments.per_minute, "interval": "PT1M"}
        policy = {"type": "MovingWindowCallRatePolicy", "rates": [rate], "matchers": []}
        manifest["api_budget"] = {"type": "HTTPAPIBudget", "policies": [policy]}
    return manifest


def main() -> None:
    """Read into the cache."""
    arguments = read_arguments()
    began = time.perf_counter()
    source = airbyte.get_source(
        "source-recordings",
        source_manifest=read_manifest(arguments),
        config={
            "url": arguments.api_url,
            "token": TOKEN,
            "page_size": arguments.page_size,
            "start_date": arguments.start,
        },
    )
    source.select_all_streams()
    source.read(cache=DuckDBCache(db_path=arguments.database, schema_name="peer"))
    report(began)


if __name__ == "__main__":
    main()
