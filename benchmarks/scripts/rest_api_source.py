"""dlt's own rest_api source, set up as in its documentation of incremental resources.

Variants: defaults, or `parquet` as loader file format.
"""

from __future__ import annotations

import time
from typing import Any

import dlt
from arguments import TOKEN, Arguments, read_arguments, report
from dlt.sources.rest_api import rest_api_source


def make_source(arguments: Arguments) -> Any:
    """Describe the list of company recordings."""
    return rest_api_source(
        {
            "client": {
                "base_url": arguments.api_url,
                "auth": {"type": "bearer", "token": TOKEN},
                "paginator": {"type": "page_number", "base_page": 1, "total_path": "total_pages"},
            },
            "resources": [
                {
                    "name": "company_recordings",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "accounts/self/company_call_recordings",
                        "data_selector": "_embedded.recordings",
                        "params": {
                            "page_size": arguments.page_size,
                            "order": "start:ASC",
                            "start:gte": "{incremental.start_value}",
                        },
                        "incremental": {"cursor_path": "start", "initial_value": arguments.start},
                    },
                }
            ],
        }
    )


def main() -> None:
    """Load."""
    arguments = read_arguments()
    began = time.perf_counter()
    pipeline = dlt.pipeline(
        "peer", destination=dlt.destinations.duckdb(str(arguments.database)), dataset_name="peer"
    )
    pipeline.run(make_source(arguments), loader_file_format=arguments.variant or None)
    report(began)


if __name__ == "__main__":
    main()
