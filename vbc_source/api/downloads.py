"""A recording's bytes from the gateway, as one stream, however often it breaks on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from vbc_source.api.client import Client
from vbc_source.api.retry import backoff
from vbc_source.api.transport import StreamingResponse
from vbc_source.errors import BadRequest, InvalidContent, InvalidResponse, Unavailable

BREAKS = 4  # in a row, without a single new byte
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Download:
    """Bytes of one file, and what the server says of them.

    A transfer that breaks is taken up where it broke, where the server gives ranges; else from the
    beginning, and what had come already must come again.

    Args:
        client: what to fetch with.
        link: where the file is.
        expected: how large it should be, or None.
        what: names it in errors and logs.

    Attributes:
        content_type: as the server says, once the first bytes have come.
        size: as the server says, once all have come; None where it does not.
    """

    def __init__(self, client: Client, link: str, expected: int | None, what: str) -> None:
        self.content_type: str | None = None
        self.size: int | None = None
        self._client, self._link, self._expected, self._what = client, link, expected, what
        self._version: str | None = None
        self._received, self._digest = 0, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Give the bytes, piece by piece.

        Raises:
            GatewayFault: the gateway's last word.
            NotStored: the file became another one while it was read.
        """
        breaks = 0
        while True:
            before = self._received
            try:
                yield from self._transfer()
                broken: Unavailable | None = None
            except Unavailable as fault:
                if not self._received:
                    raise  # the client has asked often enough already
                broken = fault
            if self._is_complete(broken):
                return
            breaks = breaks + 1 if self._received == before else 0
            if breaks >= BREAKS:
                if broken:
                    raise broken
                return
            self._client.throttle.sleep(backoff(breaks))

    def _is_complete(self, broken: Unavailable | None) -> bool:
        wanted = self._expected if self._expected is not None else self.size
        return broken is None if wanted is None else self._received >= wanted

    def _transfer(self) -> Iterator[bytes]:
        try:
            with self._client.stream(self._link, self._headers(), what=self._what) as answer:
                self._note(answer)
                for piece in self._skip_known(answer):
                    self._received += len(piece)
                    self._digest.update(piece)
                    yield piece
        except BadRequest as fault:
            if fault.status != 416 or not self._received:
                raise
            # nothing behind what has come: whoever knows the size will say that it is short
            self._expected = self._received

    def _headers(self) -> Mapping[str, str]:
        # a compressed answer would have other sizes and ranges than the file
        headers = {"Accept": "audio/*, */*;q=0.5", "Accept-Encoding": "identity"}
        if self._received:
            headers["Range"] = f"bytes={self._received}-"
            if self._version:
                headers["If-Range"] = self._version
        return headers

    def _note(self, answer: StreamingResponse) -> None:
        headers = answer.headers
        if headers.get("Content-Encoding", "identity") != "identity":
            raise InvalidResponse(answer.status, hint="compressed, though not asked to be")
        if answer.status == 206:
            self.size = self._read_range(headers.get("Content-Range", ""))
            return
        length = headers.get("Content-Length", "")
        self.size = int(length) if length.isdigit() else None
        self.content_type = headers.get("Content-Type")
        etag = headers.get("ETag")
        self._version = etag if etag and not etag.startswith("W/") else None

    def _read_range(self, text: str) -> int | None:
        found = _CONTENT_RANGE.fullmatch(text.strip())
        if not found or int(found[1]) != self._received or not self._received:
            raise InvalidResponse(206, hint="another range than was asked for")
        return None if found[3] == "*" else int(found[3])

    def _skip_known(self, answer: StreamingResponse) -> Iterator[bytes]:
        """Leave out what has come already, after making sure that it is the same."""
        left = self._received if answer.status == 200 else 0
        again = hashlib.sha256()
        for piece in answer.chunks:
            known, fresh = piece[:left], piece[left:]
            if known:
                again.update(known)
                left -= len(known)
                if not left and again.digest() != self._digest.digest():
                    raise InvalidContent("the file became another one while it was read")
            if fresh:
                yield fresh
