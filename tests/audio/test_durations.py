"""The length of a file is what it holds, not what its headers say."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import pytest

from vbc_source.audio.durations import measure_duration
from vbc_source.audio.formats import MP3, WAV, AudioFormat

# version, layer and protection; bit rate, sampling rate and padding
FRAMES = {
    "MPEG 1, 32 kbit/s, 48 kHz": (b"\xff\xfb\x14\xc4", 96, 1152 / 48_000),
    "MPEG 1, 128 kbit/s, 44.1 kHz, padded": (b"\xff\xfb\x92\xc4", 418, 1152 / 44_100),
    "MPEG 2, 16 kbit/s, 16 kHz": (b"\xff\xf3\x28\xc4", 72, 576 / 16_000),
    "MPEG 2.5, 8 kbit/s, 8 kHz": (b"\xff\xe3\x18\xc4", 72, 576 / 8_000),
}


def frame(name: str) -> bytes:
    head, size, _ = FRAMES[name]
    return head.ljust(size, b"\0")


def make_wav(seconds: float, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(bytes(int(seconds * rate) * 2))
    return file.getvalue()


def measure(content: bytes, audio_format: AudioFormat = MP3) -> int | None:
    path = Path("file")
    path.write_bytes(content)
    return measure_duration(path, audio_format)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_each_version_are_counted(name: str) -> None:
    assert measure(frame(name) * 500) == round(500 * FRAMES[name][2] * 1000)


def test_tags_garbage_and_a_variable_bit_rate_do_not_matter() -> None:
    first, second = "MPEG 1, 32 kbit/s, 48 kHz", "MPEG 1, 128 kbit/s, 44.1 kHz, padded"
    picture = b"ID3\3\0\0" + struct.pack(">4B", 0, 10, 0, 0) + b"\xff\xfb\x14\xc4" * (10 * 2**14 // 4)
    content = (
        picture
        + frame(first) * 100
        + b"noise\xff\xfb\x92 and more"
        + frame(second) * 50
        + b"TAG"
        + bytes(125)
    )
    assert measure(content) == round((100 * FRAMES[first][2] + 50 * FRAMES[second][2]) * 1000)


def test_a_file_that_was_cut_is_as_long_as_what_is_left() -> None:
    name = "MPEG 1, 128 kbit/s, 44.1 kHz, padded"
    # LAME's first frame says how many frames there are
    xing = frame(name)[:36] + b"Xing" + struct.pack(">II", 1, 10_000) + bytes(370)
    assert measure(xing + frame(name) * 499 + frame(name)[:200]) == round(500 * FRAMES[name][2] * 1000)
    sound = make_wav(10)
    assert measure(sound, WAV) == 10_000
    assert measure(sound[: len(sound) // 2], WAV) == pytest.approx(5_000, abs=5)
    streamed = sound.replace(struct.pack("<4sI", b"data", 160_000), struct.pack("<4sI", b"data", 0xFFFFFFFF))
    assert measure(streamed, WAV) == 10_000


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfb", b"ID3\3\0\0\0\0\0\0", b"RIFF\0\0\0\0WAVE", bytes(5000)]
)
def test_a_file_without_sound_has_no_length(content: bytes) -> None:
    assert [measure(content, MP3), measure(content, WAV)] == [None, None]


def test_a_large_file_is_measured_block_by_block() -> None:
    name = "MPEG 1, 32 kbit/s, 48 kHz"
    assert measure(frame(name) * 30_000) == 720_000


def test_padding_and_bit_rates_that_change_are_counted_frame_by_frame() -> None:
    short = frame("MPEG 1, 32 kbit/s, 48 kHz")
    padded = frame("MPEG 1, 128 kbit/s, 44.1 kHz, padded")
    plain = b"\xff\xfb\x90\xc4".ljust(417, b"\0")
    expected = 250 * 25 * 1152 / 44_100
    assert measure((padded * 24 + plain) * 250) == round(expected * 1000)
    expected = 3000 * (1152 / 48_000 + 1152 / 44_100)
    assert measure((short + padded) * 3000) == round(expected * 1000)
    # a false start of a frame at the very end of a block
    noise = bytes(65_535) + b"\xff" + b"\xfb" + bytes(500)
    assert measure(noise + padded * 100) == round(100 * 1152 / 44_100 * 1000)
