"""Silence as an MP3 or a WAV of any size, made while it is sent."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

# MPEG-1 layer III, 32 kbit/s, 48 kHz, mono: 144 * 32000 / 48000 = 96 bytes, 24 ms. All zeros is silence.
FRAME = bytes.fromhex("fffb14c4") + bytes(92)
CHUNK = 65_536

_BLOCK = FRAME * (CHUNK // len(FRAME) + 2)
_TAG_HEADER = 10
_WAV_HEADER = 44
_WAV_RATE = 8000


def _make_tag(size: int, title: str) -> bytes:
    """Make an ID3v2.3 tag of exactly that many bytes, the rest of it padding."""
    text = b"\0" + title.encode("latin-1", "replace")
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    body = frame.ljust(size - _TAG_HEADER, b"\0")
    length = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + body


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound that is never in memory as a whole.

    Attributes:
        size: Bytes.
        tag: What comes before the sound.
        media_type: What it is.
    """

    size: int
    tag: bytes
    media_type: str = "audio/mpeg"

    def read(self, start: int, stop: int) -> bytes:
        """Make the bytes from ``start`` to before ``stop``; at most ``CHUNK`` at a time."""
        head = self.tag[start:stop]
        left = stop - start - len(head)
        if self.media_type != "audio/mpeg":
            return head + bytes(left)
        skip = max(0, start - len(self.tag)) % len(FRAME)
        return head + _BLOCK[skip : skip + left]

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Make the bytes from ``start`` to before ``stop``, a chunk at a time."""
        for place in range(start, stop, CHUNK):
            yield self.read(place, min(place + CHUNK, stop))

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Make the bytes from ``start`` to before ``stop``, a chunk at a time."""
        for chunk in self.chunks(start, stop):
            yield chunk


def make_audio(size: int, title: str) -> Audio:
    """Plan an MP3 of exactly that many bytes; a very small one has frames and no tag."""
    room = _TAG_HEADER + _TAG_HEADER + 1 + len(title)
    if size < room + len(FRAME):
        return Audio(size, bytes(size % len(FRAME)))
    return Audio(size, _make_tag(room + (size - room) % len(FRAME), title))


def make_wav(size: int) -> Audio:
    """Plan a WAV of exactly that many bytes, 16 bit, 8 kHz, mono; a very small one is cut short."""
    sound = max(0, size - _WAV_HEADER)
    form = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, _WAV_RATE, _WAV_RATE * 2, 2, 16)
    header = (
        struct.pack("<4sI", b"RIFF", sound + _WAV_HEADER - 8) + form + struct.pack("<4sI", b"data", sound)
    )
    return Audio(size, header[:size], "audio/wav")
