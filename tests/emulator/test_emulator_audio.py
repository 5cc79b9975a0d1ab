"""The audio of a recording."""

from __future__ import annotations

import pytest
from emulator_caller import API, Caller, Serve

from vbc_source.emulator.data.audio import CHUNK, make_audio

FRAME = 96


@pytest.fixture(scope="module")
def caller(serve_module: Serve) -> Caller:
    caller = serve_module()
    for key, size in ((1, 300_001), (2, 1000), (3, 10), (4, 200_000_000)):
        caller.gateway.company.add(id=key, file_size_in_bytes=size)
    return caller


def _read_tag_size(audio: bytes) -> int:
    assert audio[:5] == b"ID3\x03\x00"
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(audio[6:10], (21, 14, 7, 0), strict=True))


@pytest.mark.parametrize(("key", "size"), [(1, 300_001), (2, 1000)])
def test_audio_is_an_mp3_of_exactly_the_stated_size(caller: Caller, key: int, size: int) -> None:
    answer = caller.send("GET", f"{API}/audio/recording/{key}")
    audio = answer.content
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert len(audio) == size == int(answer.headers["content-length"])
    tag = _read_tag_size(audio)
    assert f"Recording {key}".encode() in audio[:tag]
    assert (size - tag) % FRAME == 0
    assert all(audio[place : place + 4] == b"\xff\xfb\x14\xc4" for place in range(tag, size, FRAME))
    assert not any(audio[tag + 4 : tag + FRAME])


@pytest.mark.parametrize("size", [*range(0, 400), CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_any_size_can_be_made(size: int) -> None:
    audio = make_audio(size, "Recording 12345678901")
    whole = b"".join(audio.read(place, min(place + CHUNK, size)) for place in range(0, size, CHUNK))
    assert len(whole) == size
    if size > 200:
        tag = _read_tag_size(whole)
        assert set(whole[tag::FRAME]) == {0xFF}
        assert len(whole[tag:]) % FRAME == 0


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, 300_001),
        ("bytes=-7", 299_994, 300_001),
        ("bytes=70000-140000", 70_000, 140_001),
        ("bytes=299999-999999999", 299_999, 300_001),
        ("bytes=-999999999", 0, 300_001),
    ],
)
def test_a_range_is_honoured(caller: Caller, text: str, start: int, stop: int) -> None:
    path = f"{API}/audio/recording/1"
    whole = caller.send("GET", path).content
    answer = caller.send("GET", path, headers={"range": text})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/300001"
    assert answer.content == whole[start:stop]


@pytest.mark.parametrize("text", ["bytes=300001-", "bytes=999999-1000000", "bytes=-0"])
def test_a_range_outside_cannot_be_satisfied(caller: Caller, text: str) -> None:
    answer = caller.send("GET", f"{API}/audio/recording/1", headers={"range": text})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */300001"


@pytest.mark.parametrize("text", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_a_range_that_cannot_be_read_is_passed_over(caller: Caller, text: str) -> None:
    answer = caller.send("GET", f"{API}/audio/recording/1", headers={"range": text})
    assert (answer.status_code, len(answer.content)) == (200, 300_001)


def test_a_tiny_size_is_kept_too(caller: Caller) -> None:
    assert len(caller.send("GET", f"{API}/audio/recording/3").content) == 10


def test_a_large_file_is_made_while_it_is_read(caller: Caller) -> None:
    with caller.send("GET", f"{API}/audio/recording/4", stream=True) as answer:
        assert answer.headers["content-length"] == "200000000"
        assert len(answer.raw.read(1_000_000)) == 1_000_000


def test_audio_needs_no_account_but_must_exist(caller: Caller) -> None:
    assert caller.send("GET", f"{API}/audio/recording/99").status_code == 404
