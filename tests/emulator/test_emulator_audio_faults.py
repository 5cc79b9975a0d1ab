"""Every fault of audio, by name."""

from __future__ import annotations

import io
import wave

import pytest
import requests
from emulator_caller import API, Caller, Serve, users_list
from emulator_checks import Checks, read_fault

from vbc_source.emulator.faults.catalogue import AUDIO

SIZE = 300_001
PATH = f"{API}/audio/recording/1"
CHECKS = Checks()


@pytest.fixture(scope="module")
def shared_caller(serve_module: Serve) -> Caller:
    caller = serve_module()
    caller.gateway.company.add(id=1, file_size_in_bytes=SIZE)
    caller.gateway.users.recordings("745249").add(id=1, file_size_in_bytes=1000)
    return caller


def strike(caller: Caller, spec: str, **headers: str) -> requests.Response:
    """Let a fault strike once, and see that it is over after that."""
    caller.gateway.fault(spec)
    answer = caller.send("GET", PATH, headers=headers)
    assert len(caller.send("GET", PATH).content) == SIZE
    return answer


@CHECKS.see("audio-html")
def see_html(caller: Caller) -> None:
    answer = strike(caller, "audio-html")
    assert (answer.status_code, answer.headers["content-type"][:9]) == (200, "text/html")


@CHECKS.see("audio-fault-200")
def see_fault_200(caller: Caller) -> None:
    for form in ("xml", "wrapped", "flat"):
        answer = strike(caller, f"audio-fault-200:{form}")
        assert (answer.status_code, read_fault(answer)["code"]) == (200, "101504")


@CHECKS.see("audio-short")
def see_short(caller: Caller) -> None:
    whole = caller.send("GET", PATH).content
    answer = strike(caller, "audio-short")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert int(answer.headers["content-length"]) == len(answer.content) < SIZE
    assert whole.startswith(answer.content)


@CHECKS.see("audio-cut")
def see_cut(caller: Caller) -> None:
    caller.gateway.fault("audio-cut")
    with caller.send("GET", PATH, stream=True) as answer:
        assert int(answer.headers["content-length"]) == SIZE
        assert len(answer.raw.read(SIZE // 2)) == SIZE // 2
        with pytest.raises(Exception, match="IncompleteRead"):
            answer.raw.read(SIZE)


@CHECKS.see("audio-no-range")
def see_no_range(caller: Caller) -> None:
    answer = strike(caller, "audio-no-range", range="bytes=100-")
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


@CHECKS.see("audio-redirect")
def see_redirect(caller: Caller) -> None:
    answer = strike(caller, "audio-redirect")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"http://127.0.0.2:9/storage/elsewhere{PATH}"
    caller.gateway.storage_url = "http://storage.example"
    assert strike(caller, "audio-redirect").headers["location"] == f"http://storage.example{PATH}"


@CHECKS.see("audio-missing")
def see_missing(caller: Caller) -> None:
    assert strike(caller, "audio-missing").status_code == 404


@CHECKS.see("audio-forbidden")
def see_forbidden(caller: Caller) -> None:
    assert strike(caller, "audio-forbidden").status_code == 403


@CHECKS.see("audio-wav")
def see_wav(caller: Caller) -> None:
    answer = strike(caller, "audio-wav")
    assert (answer.headers["content-type"], len(answer.content)) == ("audio/wav", SIZE)
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 8000)
        assert sound.getnframes() == (SIZE - 44) // 2
    part = strike(caller, "audio-wav", range="bytes=40-49").content
    assert part == answer.content[40:50]


@pytest.mark.parametrize("name", AUDIO)
def test_the_fault_does_what_the_catalogue_says(caller: Caller, name: str) -> None:
    CHECKS[name](caller)


def test_every_fault_is_looked_at() -> None:
    assert set(CHECKS) == set(AUDIO)


@pytest.mark.parametrize("name", AUDIO)
def test_only_audio_is_struck(caller: Caller, name: str) -> None:
    caller.gateway.fault(f"{name}*always")
    for path in (users_list(), f"{users_list()}/1", f"{API}/audio/recording/9"):
        assert caller.send("GET", path).headers["content-type"] == "application/json"


def test_a_fault_can_be_repeated_and_be_for_some_paths_only(caller: Caller) -> None:
    own = caller.gateway.users.recordings("745249").all()[0]["download_url"]
    caller.gateway.fault("audio-missing*2@/user_recording/")
    paths = (PATH, own, own, own, PATH)
    assert [caller.send("GET", path).status_code for path in paths] == [200, 404, 404, 200, 200]
