"""Silent MP3 and WAV files of any size, generated while they are sent."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

# MPEG-1 layer III, 32 kbit/s, 48 kHz, mono: 144 * 32000 / 48000 = 96 bytes for 24 ms. Zeros are silence.
FRAME = bytes.fromhex("fffb14c4") + bytes(92)
CHUNK = 65_536

# two frames more than a chunk, since a chunk may begin inside of one
_FRAMES = FRAME * (CHUNK // len(FRAME) + 2)
_TAG_HEADER_SIZE = 10
_WAV_HEADER_SIZE = 44
_WAV_RATE = 8000


@dataclass(frozen=True, slots=True)
class AudioStream:
    """Audio content that is never in memory as a whole.

    Attributes:
        size: Bytes.
        header: Bytes before the sound.
        media_type: Content type.
    """

    size: int
    header: bytes
    media_type: str = "audio/mpeg"

    def read(self, start: int, stop: int) -> bytes:
        """Generate the bytes `start:stop`, at most `CHUNK`."""
        head = self.header[start:stop]
        remaining = stop - start - len(head)
        if self.media_type != "audio/mpeg":
            return head + bytes(remaining)
        # A range can start in the middle of a frame.
        skip = max(0, start - len(self.header)) % len(FRAME)
        return head + _FRAMES[skip : skip + remaining]

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Generate the bytes `start:stop` in chunks."""
        for offset in range(start, stop, CHUNK):
            yield self.read(offset, min(offset + CHUNK, stop))

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Generate the bytes `start:stop` in chunks."""
        for chunk in self.chunks(start, stop):
            yield chunk


@dataclass(frozen=True, slots=True)
class AudioFile:
    """The audio file of a recording.

    Attributes:
        name: File name.
        size: Bytes.
        title: Title in the audio's tag.
    """

    name: str
    size: int
    title: str

    def make_audio(self) -> AudioStream:
        """Return the content of the file."""
        return make_audio(self.size, self.title)


def make_audio(size: int, title: str) -> AudioStream:
    """Return an MP3 of exactly `size` bytes; a very small one has frames but no tag."""
    tag_size = 2 * _TAG_HEADER_SIZE + 1 + len(title)
    if size < tag_size + len(FRAME):
        return AudioStream(size, bytes(size % len(FRAME)))
    # the tag takes what is left over, so that the file ends with a whole frame
    return AudioStream(size, _make_tag(tag_size + (size - tag_size) % len(FRAME), title))


def _make_tag(size: int, title: str) -> bytes:
    """Build an ID3v2.3 tag of exactly `size` bytes, filled up with padding."""
    text = b"\0" + title.encode("latin-1", "replace")
    # A title makes the audio of each recording different, although all of it is silence.
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    body = frame.ljust(size - _TAG_HEADER_SIZE, b"\0")
    # ID3v2.3 writes the size of a tag with seven bits a byte, that of a frame with eight
    length = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + length + body


def make_wav(size: int) -> AudioStream:
    """Return a WAV of exactly `size` bytes, 16 bit, 8 kHz, mono; a very small one is cut short."""
    sound = max(0, size - _WAV_HEADER_SIZE)
    header = (
        struct.pack("<4sI", b"RIFF", sound + _WAV_HEADER_SIZE - 8)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, _WAV_RATE, _WAV_RATE * 2, 2, 16)
        + struct.pack("<4sI", b"data", sound)
    )
    return AudioStream(size, header[:size], "audio/wav")
