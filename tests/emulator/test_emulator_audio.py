"""Audio files of recordings."""

from __future__ import annotations

import pytest
from emulator_client import API, Client, Serve

from vbc_source.emulator.data.audio import CHUNK, make_audio

FRAME = 96


@pytest.fixture(scope="module")
def client(serve_module: Serve) -> Client:
    client = serve_module()
    for key, size in ((1, 300_001), (2, 1000), (3, 10), (4, 200_000_000)):
        client.gateway.company.add(id=key, file_size_in_bytes=size)
    return client


def _read_tag_size(audio: bytes) -> int:
    assert audio[:5] == b"ID3\x03\x00"
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(audio[6:10], (21, 14, 7, 0), strict=True))


@pytest.mark.parametrize(("key", "size"), [(1, 300_001), (2, 1000)])
def test_audio_is_an_mp3_with_the_size_in_the_recording(client: Client, key: int, size: int) -> None:
    response = client.send("GET", f"{API}/audio/recording/{key}")
    audio = response.content
    assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
    assert len(audio) == size == int(response.headers["content-length"])
    tag = _read_tag_size(audio)
    assert f"Recording {key}".encode() in audio[:tag]
    assert (size - tag) % FRAME == 0
    assert all(audio[place : place + 4] == b"\xff\xfb\x14\xc4" for place in range(tag, size, FRAME))
    assert not any(audio[tag + 4 : tag + FRAME])


def test_mp3_of_any_size_is_valid() -> None:
    for size in (*range(0, 400), CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5):
        audio = make_audio(size, "Recording 12345678901")
        whole = b"".join(audio.read(place, min(place + CHUNK, size)) for place in range(0, size, CHUNK))
        assert len(whole) == size
        if size > 200:
            tag = _read_tag_size(whole)
            assert set(whole[tag::FRAME]) == {0xFF}, size
            assert len(whole[tag:]) % FRAME == 0, size


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
def test_audio_supports_ranges(client: Client, text: str, start: int, stop: int) -> None:
    path = f"{API}/audio/recording/1"
    whole = client.send("GET", path).content
    response = client.send("GET", path, headers={"range": text})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/300001"
    assert response.content == whole[start:stop]


@pytest.mark.parametrize("text", ["bytes=300001-", "bytes=999999-1000000", "bytes=-0"])
def test_range_outside_the_file_returns_416(client: Client, text: str) -> None:
    response = client.send("GET", f"{API}/audio/recording/1", headers={"range": text})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */300001"


@pytest.mark.parametrize("text", ["bytes=5-1", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
def test_invalid_range_is_ignored(client: Client, text: str) -> None:
    response = client.send("GET", f"{API}/audio/recording/1", headers={"range": text})
    assert (response.status_code, len(response.content)) == (200, 300_001)


def test_very_small_audio_has_the_size_in_the_recording(client: Client) -> None:
    assert len(client.send("GET", f"{API}/audio/recording/3").content) == 10


def test_large_file_is_generated_while_it_is_read(client: Client) -> None:
    with client.send("GET", f"{API}/audio/recording/4", stream=True) as response:
        assert response.headers["content-length"] == "200000000"
        assert len(response.raw.read(1_000_000)) == 1_000_000


def test_audio_of_an_unknown_recording_returns_404(client: Client) -> None:
    assert client.send("GET", f"{API}/audio/recording/99").status_code == 404
