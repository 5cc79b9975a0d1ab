from __future__ import annotations

import pytest

from vbc_source.audio.formats import detect_format
from vbc_source.errors import InvalidContent

FRAME = b"\xff\xfb\x14\xc4" + bytes(60)
TAG = b"ID3\x03\x00\x00\x00\x00\x00\x10" + bytes(60)
WAVE = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60)


@pytest.mark.parametrize("head", [FRAME, TAG, b"\xff\xf3\x84\xc4" + bytes(9)])
@pytest.mark.parametrize(
    "content_type", ["audio/mpeg", "AUDIO/MP3; charset=binary", "application/octet-stream", "", None]
)
def test_mp3_is_detected_by_its_first_bytes(head: bytes, content_type: str | None) -> None:
    assert detect_format(head, content_type).extension == "mp3"


@pytest.mark.parametrize("content_type", ["audio/wav", "audio/x-wav", "audio/vnd.wave", None])
def test_wav_is_detected_by_its_first_bytes(content_type: str | None) -> None:
    assert detect_format(WAVE, content_type).extension == "wav"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"ID3",
        b"ID3\x03\x00\x00\xff\xff\xff\xff" + bytes(9),  # the size of a tag has no high bits
        b"\xff\xfe<\x00h\x00t\x00",  # UTF-16
        b"\xff\xf1\x50\x80" + bytes(9),  # AAC
        b"\xff\xfb\xf4\xc4" + bytes(9),  # no such bit rate
        b"\xff\xfb\x1c\xc4" + bytes(9),  # no such sampling rate
        b"\xff\xeb\x14\xc4" + bytes(9),  # no such version
        b"RIFF\x24\x00\x00\x00AVI " + bytes(9),
        b"<html>",
        b'{"fault":{}}',
        b"PK\x03\x04",
        bytes(64),
    ],
)
def test_other_content_is_refused_and_not_quoted(head: bytes) -> None:
    with pytest.raises(InvalidContent) as error:
        detect_format(head, "audio/mpeg")
    assert str(error.value) == "content is not MP3 or WAV (content type audio/mpeg)"


@pytest.mark.parametrize(
    ("head", "content_type"),
    [(FRAME, "audio/wav"), (WAVE, "audio/mpeg"), (FRAME, "text/html"), (TAG, "application/json")],
)
def test_contradicting_content_type_is_refused(head: bytes, content_type: str) -> None:
    with pytest.raises(InvalidContent, match="but its content type is"):
        detect_format(head, content_type)


def test_hostile_content_type_is_not_quoted() -> None:
    with pytest.raises(InvalidContent) as error:
        detect_format(FRAME, "text/\x1b[31m+1 732 555 0100" + "x" * 1000)
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 120
