"""A Singer tap made with singer-sdk, with the message writer that its performance guide recommends."""

from __future__ import annotations

import time
from collections.abc import Generator
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import requests
from arguments import API, TOKEN
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import RetriableAPIError
from singer_sdk.pagination import PageNumberPaginator


class Pages(PageNumberPaginator):
    """Pages until the last one."""

    def has_more(self, response: requests.Response) -> bool:
        """Return whether there is another page."""
        return self.current_value < int(response.json()["total_pages"])


def _read_wait(error: RetriableAPIError) -> float:
    date = error.response.headers.get("Retry-After") if error.response is not None else None
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time()) if date else 2.0


class CompanyRecordings(RESTStream):
    """Company recordings."""

    name = "company_recordings"
    path = "/accounts/self/company_call_recordings"
    primary_keys: ClassVar = ["id"]
    replication_key = "start"
    is_sorted = True
    records_jsonpath = "$._embedded.recordings[*]"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("call_direction", th.StringType),
        th.Property("call_id", th.StringType),
        th.Property("caller_id", th.IntegerType),
        th.Property("cnam", th.StringType),
        th.Property("dnis", th.StringType),
        th.Property("download_url", th.StringType),
        th.Property("duration", th.IntegerType),
        th.Property("end", th.DateTimeType),
        th.Property("extensions", th.ArrayType(th.IntegerType)),
        th.Property("file_name", th.StringType),
        th.Property("file_size_in_bytes", th.IntegerType),
        th.Property("rule_ids", th.ArrayType(th.IntegerType)),
        th.Property("start", th.DateTimeType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        """Address of the API."""
        return self.config["url"] + API

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        """A ready token."""
        return BearerTokenAuthenticator(token=TOKEN)

    def get_new_paginator(self) -> Pages:
        """Count from 1."""
        return Pages(start_value=1)

    def backoff_wait_generator(self) -> Generator[float, None, None]:
        """Wait as long as the server asks, as in the code samples of singer-sdk."""
        return self.backoff_runtime(value=_read_wait)

    def get_url_params(self, context: Any, next_page_token: int | None) -> dict[str, Any]:
        """Return the parameters of a page."""
        start = self.get_starting_replication_key_value(context)
        size = self.config["page_size"]
        return {"page": next_page_token, "page_size": size, "order": "start:ASC", "start:gte": start}


class TapRecordings(Tap):
    """The tap."""

    name = "tap-recordings"
    message_writer_class = MsgSpecWriter
    config_jsonschema = th.PropertiesList(
        th.Property("url", th.StringType, required=True),
        th.Property("page_size", th.IntegerType, required=True),
        th.Property("start_date", th.DateTimeType, required=True),
    ).to_dict()

    def discover_streams(self) -> list[CompanyRecordings]:
        """Return the only stream."""
        return [CompanyRecordings(self)]


if __name__ == "__main__":
    TapRecordings.cli()
