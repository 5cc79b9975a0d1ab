"""How long an audio file really is: by its MPEG frames, or by the bytes of its WAV data; nothing is decoded.

What a header says of the whole file is not believed: it survives when the file is cut. Written here, as the
libraries that do it believe such headers, estimate by the first frames, or have a license of another kind.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from vbc_source.audio.formats import MP3, AudioFormat

_BLOCK = 1 << 18
_LOOK_AHEAD = 1 << 12  # bytes; no frame is as long as half of it
_FEW, _STRIDE = 8, 800  # frames: fewer alike are read one by one, more in steps
_ID3_HEADER = 10
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # how a frame of layer III begins
# kbit/s of layer III by the index in the header; 0 is free, 15 is not allowed
_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_SAMPLING: Mapping[int, tuple[int, ...]] = {  # Hz by version (3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5) and index
    3: (44_100, 48_000, 32_000, 0),
    2: (22_050, 24_000, 16_000, 0),
    0: (11_025, 12_000, 8_000, 0),
}


def measure_duration(path: Path, audio_format: AudioFormat) -> int | None:
    """Return the length of a file in milliseconds; None where it has no sound that can be measured."""
    with path.open("rb") as file:
        seconds = _measure_mp3(file) if audio_format is MP3 else _measure_wav(file)
    return None if seconds is None else round(seconds * 1000)


def _measure_mp3(file: BinaryIO) -> float | None:
    _skip_tags(file)
    # A frame says where it ends. One that is found anywhere counts only if another begins there; from then on
    # frames are counted as long as they follow each other, whatever lies between two such rows of frames.
    buffer, position, seconds, found, in_step = b"", 0, 0.0, False, False
    while True:
        if len(buffer) - position < _LOOK_AHEAD:
            buffer, position = buffer[position:] + file.read(_BLOCK), 0
        length, duration = _read_frame(buffer[position : position + 3])
        if length and not in_step:  # the bytes of a header can occur anywhere
            # nothing follows the last frame of a file
            following = buffer[position + length : position + length + 3]
            in_step = not following or _read_frame(following)[0] > 0
        if length and in_step:
            # the file was cut within its last frame, whose sound is lost
            if position + length > len(buffer):
                return seconds if found else None
            count = _count_alike(buffer, position, length)
            position, seconds, found = position + count * length, seconds + count * duration, True
            continue
        in_step = False
        candidate = _SYNC.search(buffer, position + 1)
        if candidate:
            position = candidate.start()
            continue
        block = file.read(_BLOCK)
        if not block:
            return seconds if found else None
        # the last byte too: the mark that is searched for has two
        buffer, position = buffer[-1:] + block, 0


def _count_alike(buffer: bytes, position: int, length: int) -> int:
    """Return how many whole frames with the same header follow each other, at least 1."""
    later = position + _FEW * length
    if buffer[later : later + 3] != buffer[position : position + 3]:
        return 1
    # compared in strides, which is much faster than frame by frame: an hour has a hundred thousand
    stop = position + min((len(buffer) - position) // length, _STRIDE) * length
    return min(
        len(column) - len(column.lstrip(column[:1]))
        for column in (buffer[position + place : stop : length] for place in range(3))
    )


def _skip_tags(file: BinaryIO) -> None:
    """Skip ID3v2 tags, which may hold a picture: their size has seven bits a byte."""
    start = 0
    while (head := file.read(_ID3_HEADER))[:3] == b"ID3" and len(head) == _ID3_HEADER:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        # a tag of version 2.4 may end with a footer, which its size does not count
        start += _ID3_HEADER + size + (_ID3_HEADER if head[5] & 0x10 else 0)
        file.seek(start)
    file.seek(start)


# a file has few different headers, and at a constant bit rate hardly more than two
@lru_cache(maxsize=4096)
def _read_frame(head: bytes) -> tuple[int, float]:
    """Return the bytes and the seconds of a frame of layer III; no bytes where it is none."""
    # the bits of sync and layer III; those of version and checksum may be either
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0, 0.0
    version = head[1] >> 3 & 3
    sampling = _SAMPLING.get(version, (0,) * 4)[head[2] >> 2 & 3]
    rate = (_RATES_1 if version == 3 else _RATES_2)[head[2] >> 4] * 1000
    if not sampling or not rate:
        return 0, 0.0
    # layer III has 1152 samples a frame in MPEG 1, and half of them in MPEG 2 and 2.5
    samples = 1152 if version == 3 else 576
    return samples // 8 * rate // sampling + (head[2] >> 1 & 1), samples / sampling


def _measure_wav(file: BinaryIO) -> float | None:
    size = file.seek(0, 2)
    file.seek(12)
    bytes_per_second = 0
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", head)
        start = file.tell()
        if name == b"fmt ":
            # bytes a second stand behind format, channels and samples a second
            bytes_per_second = int.from_bytes(file.read(12)[8:], "little")
        elif name == b"data":
            # the size in the header is a guess where the file was streamed, and survives a cut
            return min(length or size, size - start) / bytes_per_second if bytes_per_second else None
        # in RIFF, chunks begin at even places
        file.seek(start + length + length % 2)
    return None
