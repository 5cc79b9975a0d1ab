"""Requests to S3 that end, whatever the server does.

aiohttp, which s3fs sends them with, limits the wait for an answer, but not what comes before it: neither the
wait for `100 Continue`, which some servers and proxies never send, nor the sending of a body that the server
does not read.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from vbc_source.dlt_internals import FilesystemConfiguration

ANSWER_SECONDS = 60.0
SLOWEST_BYTES = 16 << 10  # a second, of an upload


def bound_requests(config: FilesystemConfiguration) -> None:
    """Give each request to S3 a deadline; other stores are left alone."""
    if config.protocol in ("s3", "s3a"):
        options = config.kwargs or {}  # of s3fs, in which dlt (1.31) looks for those of botocore
        botocore = {"http_session_cls": _session_class(), **options.get("config_kwargs", {})}
        config.kwargs = {**options, "config_kwargs": botocore}


@cache
def _session_class() -> Any:
    """Make the class when it is needed: the extra may not be installed."""
    from aiobotocore.httpsession import AIOHTTPSession
    from botocore.exceptions import ReadTimeoutError

    class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # it has no types
        """aiobotocore's session, in which the whole of a request has a deadline."""

        async def send(self, request: Any) -> Any:
            """Send a request, and receive the answer up to its body."""
            request.headers.pop("Expect", None)  # it is not signed
            size = request.headers.get("Content-Length") or request.headers.get(
                "X-Amz-Decoded-Content-Length"
            )
            seconds = ANSWER_SECONDS + int(size or 0) / SLOWEST_BYTES
            try:
                return await asyncio.wait_for(super().send(request), seconds)
            except asyncio.TimeoutError as error:
                raise ReadTimeoutError(endpoint_url=request.url, error=error) from None

    return BoundedSession
