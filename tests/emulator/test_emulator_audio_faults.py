"""Every fault of audio files, by name."""

from __future__ import annotations

import io
import wave

import pytest
import requests
from emulator_client import API, Client, Serve, users_list
from emulator_faults import Checks, read_fault

from vbc_source.emulator.faults.catalogue import AUDIO

SIZE = 300_001
PATH = f"{API}/audio/recording/1"
CHECKS = Checks()


@pytest.fixture(scope="module")
def shared_client(serve_module: Serve) -> Client:
    client = serve_module()
    client.gateway.company.add(id=1, file_size_in_bytes=SIZE)
    client.gateway.users.recordings("745249").add(id=1, file_size_in_bytes=1000)
    return client


def trigger(client: Client, spec: str, **headers: str) -> requests.Response:
    """Send a request with a fault, and check that the next one succeeds."""
    client.gateway.fault(spec)
    response = client.send("GET", PATH, headers=headers)
    assert len(client.send("GET", PATH).content) == SIZE
    return response


@CHECKS.add("audio-html")
def check_html(client: Client) -> None:
    response = trigger(client, "audio-html")
    assert (response.status_code, response.headers["content-type"][:9]) == (200, "text/html")


@CHECKS.add("audio-fault-200")
def check_fault_200(client: Client) -> None:
    for form in ("xml", "wrapped", "flat"):
        response = trigger(client, f"audio-fault-200:{form}")
        assert (response.status_code, read_fault(response)["code"]) == (200, "101504")


@CHECKS.add("audio-short")
def check_short(client: Client) -> None:
    whole = client.send("GET", PATH).content
    response = trigger(client, "audio-short")
    assert (response.status_code, response.headers["content-type"]) == (200, "audio/mpeg")
    assert int(response.headers["content-length"]) == len(response.content) < SIZE
    assert whole.startswith(response.content)


@CHECKS.add("audio-cut")
def check_cut(client: Client) -> None:
    client.gateway.fault("audio-cut")
    with client.send("GET", PATH, stream=True) as response:
        assert int(response.headers["content-length"]) == SIZE
        assert len(response.raw.read(SIZE // 2)) == SIZE // 2
        with pytest.raises(Exception, match="IncompleteRead"):
            response.raw.read(SIZE)


@CHECKS.add("audio-no-range")
def check_no_range(client: Client) -> None:
    response = trigger(client, "audio-no-range", range="bytes=100-")
    assert (response.status_code, len(response.content)) == (200, SIZE)


@CHECKS.add("audio-redirect")
def check_redirect(client: Client) -> None:
    response = trigger(client, "audio-redirect")
    assert response.status_code == 302
    assert response.headers["location"] == f"http://127.0.0.2:9/storage/elsewhere{PATH}"
    client.gateway.storage_url = "http://storage.example"
    assert trigger(client, "audio-redirect").headers["location"] == f"http://storage.example{PATH}"


@CHECKS.add("audio-missing")
def check_missing(client: Client) -> None:
    assert trigger(client, "audio-missing").status_code == 404


@CHECKS.add("audio-forbidden")
def check_forbidden(client: Client) -> None:
    assert trigger(client, "audio-forbidden").status_code == 403


@CHECKS.add("audio-wav")
def check_wav(client: Client) -> None:
    response = trigger(client, "audio-wav")
    assert (response.headers["content-type"], len(response.content)) == ("audio/wav", SIZE)
    with wave.open(io.BytesIO(response.content)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 8000)
        assert sound.getnframes() == (SIZE - 44) // 2
    part = trigger(client, "audio-wav", range="bytes=40-49").content
    assert part == response.content[40:50]


@pytest.mark.parametrize("name", AUDIO)
def test_fault_does_what_the_catalogue_describes(client: Client, name: str) -> None:
    CHECKS[name](client)


def test_every_fault_has_a_check() -> None:
    assert set(CHECKS) == set(AUDIO)


@pytest.mark.parametrize("name", AUDIO)
def test_audio_faults_do_not_affect_other_requests(client: Client, name: str) -> None:
    client.gateway.fault(f"{name}*always")
    for path in (users_list(), f"{users_list()}/1", f"{API}/audio/recording/9"):
        assert client.send("GET", path).headers["content-type"] == "application/json"


def test_audio_fault_can_be_limited_to_a_number_of_times_and_to_a_path(client: Client) -> None:
    own = client.gateway.users.recordings("745249").all()[0]["download_url"]
    client.gateway.fault("audio-missing*2@/user_recording/")
    paths = (PATH, own, own, own, PATH)
    assert [client.send("GET", path).status_code for path in paths] == [200, 404, 404, 200, 200]
