"""The archive of an export."""

from __future__ import annotations

import io
import tracemalloc
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest
import requests
from emulator_caller import API, LIST, Caller, Clock, Serve, users_list

from vbc_source.emulator.data.archives import make_archive
from vbc_source.emulator.data.audio import AudioFile

OLD = "/t/vbc.prod/call_recording/v1/bulkDownload/retrieve"
V1 = "/t/vbc.prod/call_recording/v1/api/bulkDownload/retrieve"
RETRIEVE = f"{API}/bulkDownload/retrieve"


@pytest.fixture
def caller(serve: Serve, clock: Clock) -> Caller:
    caller = serve(clock)
    caller.gateway.job_seconds = 0
    for key, size in ((1, 70_000), (2, 1000), (3, 10)):
        caller.gateway.company.add(id=key, file_size_in_bytes=size, start=f"2025-06-0{key}T00:00:00Z")
    return caller


def _export(caller: Caller, path: str = LIST) -> str:
    key: str = caller.send("POST", f"{path}/export", json={}).json()["job_ids"][0]
    return key


def _open(answer: requests.Response) -> ZipFile:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert int(answer.headers["content-length"]) == len(answer.content)
    return ZipFile(io.BytesIO(answer.content))


def test_an_archive_holds_what_the_recordings_links_give(caller: Caller) -> None:
    job = _export(caller)
    archive = _open(caller.send("GET", caller.gateway.jobs.all()[0]["download_url"]))
    rows = caller.gateway.company.all()
    assert sorted(archive.namelist()) == sorted(row["file_name"] for row in rows)
    assert {info.compress_type for info in archive.infolist()} == {ZIP_STORED}
    for row in rows:
        assert archive.read(row["file_name"]) == caller.send("GET", row["download_url"]).content
    assert job in caller.send("GET", f"{RETRIEVE}?jobId={job}").headers["content-disposition"]


def test_a_users_archive_holds_the_users_audio(caller: Caller) -> None:
    row = caller.gateway.users.recordings("745249").add(id=1)
    archive = _open(caller.send("GET", f"{RETRIEVE}?jobId={_export(caller, users_list())}"))
    assert archive.namelist() == [row["file_name"]]
    assert archive.read(row["file_name"]) == caller.send("GET", row["download_url"]).content


@pytest.mark.parametrize("path", [RETRIEVE, V1, OLD])
@pytest.mark.parametrize("name", ["jobId", "job_id"])
def test_every_spelling_is_understood(caller: Caller, path: str, name: str) -> None:
    answer = caller.send("GET", path, params={name: _export(caller), "login_name": "demo"})
    assert len(_open(answer).namelist()) == 3
    assert caller.send("GET", path, params={name: "1"}).status_code == 404
    assert caller.send("GET", path).status_code == 400


def test_what_is_deleted_later_is_still_in_the_archive(caller: Caller) -> None:
    job = _export(caller)
    caller.gateway.company.delete(2)
    assert len(_open(caller.send("GET", f"{RETRIEVE}?jobId={job}")).namelist()) == 3


def test_an_archive_is_there_from_completion_until_it_expires(caller: Caller, clock: Clock) -> None:
    caller.gateway.job_seconds = 30
    path = f"{RETRIEVE}?jobId={_export(caller)}"
    statuses = []
    for seconds in (29, 1, 7 * 86_400 - 1, 1):
        clock.now += seconds
        caller.log_in()
        statuses.append(caller.send("GET", path).status_code)
    assert statuses == [409, 200, 200, 404]
    caller.gateway.fault("expired-listed")
    assert caller.send("GET", path).status_code == 404


def test_a_partly_complete_archive_lacks_one_file(caller: Caller) -> None:
    caller.gateway.fault("jobs-partly")
    archive = _open(caller.send("GET", f"{RETRIEVE}?jobId={_export(caller)}"))
    assert len(archive.namelist()) == 2


def test_an_archive_of_nothing_is_an_archive(caller: Caller) -> None:
    job = caller.gateway.jobs.add(status="complete")
    assert _open(caller.send("GET", job["download_url"])).namelist() == []


def test_a_job_of_any_account_can_be_fetched(caller: Caller) -> None:
    account = caller.gateway.add_account("77", recordings=5)
    job = _export(caller, f"{API}/accounts/77/company_call_recordings")
    assert caller.send("GET", f"{RETRIEVE}?jobId={job}").status_code == 200
    assert [row["id"] for row in account.jobs.all()] == [job]
    assert caller.gateway.jobs.all() == []


def test_a_range_is_honoured(caller: Caller) -> None:
    path = f"{RETRIEVE}?jobId={_export(caller)}"
    whole = caller.send("GET", path).content
    for start, stop in ((0, 10), (65_530, 65_550), (70_000, len(whole))):
        answer = caller.send("GET", path, headers={"range": f"bytes={start}-{stop - 1}"})
        assert (answer.status_code, answer.content) == (206, whole[start:stop])


def test_a_cut_archive_states_its_whole_length(caller: Caller) -> None:
    path = f"{RETRIEVE}?jobId={_export(caller)}"
    caller.gateway.fault("truncated@bulkDownload")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        caller.send("GET", path)
    assert caller.send("GET", path).status_code == 200


def test_a_hook_decides_what_is_sent(caller: Caller) -> None:
    packed = ZipInfo("bomb.mp3")
    packed.compress_type = ZIP_DEFLATED
    seen: list[tuple[str, bytes]] = []

    def hook(members: list[tuple[str, bytes]]) -> list[tuple[str | ZipInfo, bytes]]:
        seen.extend(members)
        return [
            ("../evil.mp3", b"1"),
            ("/abs/evil.mp3", b"2"),
            ("twice", b"3"),
            ("twice", b"4"),
            (packed, bytes(10**6)),
        ]

    caller.gateway.zip_members = hook
    answer = caller.send("GET", f"{RETRIEVE}?jobId={_export(caller)}")
    assert _open(answer).namelist() == ["../evil.mp3", "/abs/evil.mp3", "twice", "twice", "bomb.mp3"]
    assert _open(answer).read("bomb.mp3") == bytes(10**6)
    assert len(answer.content) < 10_000
    rows = caller.gateway.company.all()
    assert sorted(seen) == sorted(
        (row["file_name"], caller.send("GET", row["download_url"]).content) for row in rows
    )


def test_a_large_archive_is_never_in_memory_as_a_whole() -> None:
    tracemalloc.start()
    archive = make_archive([AudioFile(f"{number}.mp3", 20_000_000, "Silence") for number in range(5)], 0, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert archive.size > 100_000_000
    assert peak < 5_000_000
