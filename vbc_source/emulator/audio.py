"""Silence as an MP3 of any size, made while it is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.responses import Response, StreamingResponse

# MPEG-1 layer III, 32 kbit/s, 48 kHz, mono: 144 * 32000 / 48000 = 96 bytes, 24 ms. All zeros is silence.
FRAME = bytes.fromhex("fffb14c4") + bytes(92)
CHUNK = 65_536

_BLOCK = FRAME * (CHUNK // len(FRAME) + 2)
_TAG_HEADER = 10
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def _make_tag(size: int, title: str) -> bytes:
    """Make an ID3v2.3 tag of exactly that many bytes, the rest of it padding."""
    text = b"\0" + title.encode("latin-1", "replace")
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    body = frame.ljust(size - _TAG_HEADER, b"\0")
    length = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + body


@dataclass(frozen=True, slots=True)
class Audio:
    """An MP3 that is never in memory as a whole.

    Attributes:
        size: Bytes.
        tag: What comes before the frames.
    """

    size: int
    tag: bytes

    def read(self, start: int, stop: int) -> bytes:
        """Make the bytes from ``start`` to before ``stop``; at most ``CHUNK`` at a time."""
        head = self.tag[start:stop]
        left = stop - start - len(head)
        skip = max(0, start - len(self.tag)) % len(FRAME)
        return head + _BLOCK[skip : skip + left]

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Make the bytes from ``start`` to before ``stop``, a chunk at a time."""
        for place in range(start, stop, CHUNK):
            yield self.read(place, min(place + CHUNK, stop))


def make_audio(size: int, title: str) -> Audio:
    """Plan an MP3 of exactly that many bytes; a very small one has frames and no tag."""
    room = _TAG_HEADER + _TAG_HEADER + 1 + len(title)
    if size < room + len(FRAME):
        return Audio(size, bytes(size % len(FRAME)))
    return Audio(size, _make_tag(room + (size - room) % len(FRAME), title))


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


def answer_audio(audio: Audio, range_header: str | None) -> Response:
    """Answer a request for the whole or for a range; several ranges at once get the whole."""
    span = _read_range(range_header, audio.size)
    headers = {"accept-ranges": "bytes"}
    if span is None:
        start, stop, status = 0, audio.size, 200
    else:
        start, stop, status = *span, 206
        if start >= stop:
            return Response(status_code=416, headers={"content-range": f"bytes */{audio.size}"})
        headers["content-range"] = f"bytes {start}-{stop - 1}/{audio.size}"
    headers["content-length"] = str(stop - start)
    return StreamingResponse(audio.stream(start, stop), status, headers, media_type="audio/mpeg")
