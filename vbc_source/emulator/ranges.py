"""Answers of bytes that are made while they are sent, whole or a range of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Protocol

from starlette.responses import Response, StreamingResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Content(Protocol):
    """Something that can be made piece by piece."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    @property
    def media_type(self) -> str:
        """What it is."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Make the bytes from ``start`` to before ``stop``, a chunk at a time."""


def _read_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header as start and stop; None when there is none that counts."""
    match = _RANGE.fullmatch((text or "").replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    if match[2] and int(match[2]) < int(match[1]):
        return None
    return int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)


def answer_content(content: Content, range_header: str | None) -> Response:
    """Answer a request for the whole or for a range; several ranges at once get the whole."""
    span = _read_range(range_header, content.size)
    headers = {"accept-ranges": "bytes"}
    if span is None:
        start, stop, status = 0, content.size, 200
    else:
        start, stop, status = *span, 206
        if start >= stop:
            return Response(status_code=416, headers={"content-range": f"bytes */{content.size}"})
        headers["content-range"] = f"bytes {start}-{stop - 1}/{content.size}"
    headers["content-length"] = str(stop - start)
    return StreamingResponse(content.stream(start, stop), status, headers, media_type=content.media_type)
