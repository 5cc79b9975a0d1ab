"""Downloads: the bytes of a file as one stream, across any number of broken connections."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from vbc_source.api.client import Client
from vbc_source.api.http.rate_limit import backoff
from vbc_source.api.http.transport import StreamingResponse
from vbc_source.errors import BadRequest, InvalidContent, InvalidResponse, Unavailable

BREAKS = 4  # broken connections in a row without a new byte, until the download fails
_UNCHANGED = {"", "identity", "aws-chunked"}  # codings that leave the bytes as they are
_CHANGED = "the file changed while it was downloaded"
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Download:
    """The bytes of one file, read by iterating over it.

    A broken transfer is continued where it broke if the server honours ranges. Otherwise it starts
    again, and the bytes received before must come again unchanged.

    Attributes:
        content_type: Content type in the response; None before the first bytes.
        size: Size in the response, bytes; None if the server does not send it.
        digest: SHA-256 of the bytes yielded so far.
    """

    def __init__(self, client: Client, link: str, expected: int | None, description: str) -> None:
        self.content_type: str | None = None
        self.size: int | None = None
        self._client, self._link, self._expected, self._description = client, link, expected, description
        self._etag: str | None = None
        self._received, self.digest = 0, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in chunks; raises InvalidContent if the file changed while it was read."""
        breaks = 0
        while True:
            before = self._received
            try:
                yield from self._transfer()
                fault: Unavailable | None = None
            except Unavailable as error:
                if not self._received:
                    raise  # the client has retried already
                fault = error
            if self._is_complete(fault):
                return
            # a break after new bytes does not count: a large file over a bad line may come in many parts
            breaks = breaks + 1 if self._received == before else 0
            if breaks >= BREAKS:
                if fault:
                    raise fault
                return  # too short: the caller compares sizes, and reports it
            self._client.rate_limiter.sleep(backoff(breaks))

    def _is_complete(self, fault: Unavailable | None) -> bool:
        # the API's size comes first: gateways have been seen to cut a body and send the shorter length
        size = self._expected if self._expected is not None else self.size
        return fault is None if size is None else self._received >= size

    def _transfer(self) -> Iterator[bytes]:
        try:
            with self._client.stream(self._link, self._headers(), what=self._description) as response:
                self._read_headers(response)
                for chunk in self._skip_received(response):
                    self._received += len(chunk)
                    self.digest.update(chunk)
                    yield chunk
        except BadRequest as fault:
            if fault.status != 416 or not self._received:
                raise
            # 416: there are no bytes after those received, so the file ends here
            self._expected = self._received

    def _headers(self) -> Mapping[str, str]:
        # sizes and ranges of a compressed response are not those of the file
        headers = {"Accept": "audio/*, */*;q=0.5", "Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
            # RFC 9110, section 13.1.5: If-Range needs a strong validator
            if self._etag and not self._etag.startswith("W/"):
                headers["If-Range"] = self._etag
        return headers

    def _read_headers(self, response: StreamingResponse) -> None:
        headers = response.headers
        if not set(re.split(r"[,\s]+", headers.get("Content-Encoding", "").lower())) <= _UNCHANGED:
            raise InvalidResponse(response.status, hint="compressed, although not requested")
        etag = headers.get("ETag")
        if response.status == 206:
            # a proxy may make a validator weak on its way
            if etag and self._etag and etag.removeprefix("W/") != self._etag.removeprefix("W/"):
                raise InvalidContent(_CHANGED)  # a server that does not know If-Range
            # its Content-Length is that of the part
            self.size = self._read_range(headers.get("Content-Range", ""))
            return
        length = headers.get("Content-Length", "")
        self.size = int(length) if length.isdigit() else None
        self.content_type = headers.get("Content-Type")
        self._etag = etag

    def _read_range(self, text: str) -> int | None:
        match = _CONTENT_RANGE.fullmatch(text.strip())
        # a part that nobody asked for, at the beginning, would be taken for the whole file
        if not match or int(match[1]) != self._received or not self._received:
            raise InvalidResponse(206, hint="another range than requested")
        return None if match[3] == "*" else int(match[3])

    def _skip_received(self, response: StreamingResponse) -> Iterator[bytes]:
        """Yield only new bytes, after checking that those received before are the same."""
        # 200 in place of 206: the server knows no ranges, or `If-Range` tells that the file has changed. It
        # comes from its start then (RFC 9110, sections 13.1.5 and 14.2)
        left = self._received if response.status == 200 else 0
        again = hashlib.sha256()
        for chunk in response.chunks:
            known, new = chunk[:left], chunk[left:]
            if known:
                again.update(known)
                left -= len(known)
                if not left and again.digest() != self.digest.digest():
                    raise InvalidContent(_CHANGED)
            if new:
                yield new
