"""Archives of export jobs."""

from __future__ import annotations

import io
import tracemalloc
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest
import requests
from emulator_client import API, LIST, Client, Clock, Serve, users_list

from vbc_source.emulator.data.archives import make_archive
from vbc_source.emulator.data.audio import AudioFile

OLD = "/t/vbc.prod/call_recording/v1/bulkDownload/retrieve"
V1 = "/t/vbc.prod/call_recording/v1/api/bulkDownload/retrieve"
RETRIEVE = f"{API}/bulkDownload/retrieve"


@pytest.fixture
def client(serve: Serve, clock: Clock) -> Client:
    client = serve(clock)
    client.gateway.job_seconds = 0
    for key, size in ((1, 70_000), (2, 1000), (3, 10)):
        client.gateway.company.add(id=key, file_size_in_bytes=size, start=f"2025-06-0{key}T00:00:00Z")
    return client


def _export(client: Client, path: str = LIST) -> str:
    key: str = client.send("POST", f"{path}/export", json={}).json()["job_ids"][0]
    return key


def _open(response: requests.Response) -> ZipFile:
    assert (response.status_code, response.headers["content-type"]) == (200, "application/zip")
    assert int(response.headers["content-length"]) == len(response.content)
    return ZipFile(io.BytesIO(response.content))


def test_archive_contains_the_same_bytes_as_the_download_urls(client: Client) -> None:
    job = _export(client)
    archive = _open(client.send("GET", client.gateway.jobs.all()[0]["download_url"]))
    rows = client.gateway.company.all()
    assert sorted(archive.namelist()) == sorted(row["file_name"] for row in rows)
    assert {info.compress_type for info in archive.infolist()} == {ZIP_STORED}
    for row in rows:
        assert archive.read(row["file_name"]) == client.send("GET", row["download_url"]).content
    assert job in client.send("GET", f"{RETRIEVE}?jobId={job}").headers["content-disposition"]


def test_archive_of_a_user_contains_the_audio_of_the_user(client: Client) -> None:
    row = client.gateway.users.recordings("745249").add(id=1)
    archive = _open(client.send("GET", f"{RETRIEVE}?jobId={_export(client, users_list())}"))
    assert archive.namelist() == [row["file_name"]]
    assert archive.read(row["file_name"]) == client.send("GET", row["download_url"]).content


@pytest.mark.parametrize("path", [RETRIEVE, V1, OLD])
@pytest.mark.parametrize("name", ["jobId", "job_id"])
def test_every_documented_archive_url_works(client: Client, path: str, name: str) -> None:
    response = client.send("GET", path, params={name: _export(client), "login_name": "demo"})
    assert len(_open(response).namelist()) == 3
    assert client.send("GET", path, params={name: "1"}).status_code == 404
    assert client.send("GET", path).status_code == 400


def test_archive_keeps_recordings_deleted_later(client: Client) -> None:
    job = _export(client)
    client.gateway.company.delete(2)
    assert len(_open(client.send("GET", f"{RETRIEVE}?jobId={job}")).namelist()) == 3


def test_archive_is_available_from_completion_until_expiry(client: Client, clock: Clock) -> None:
    client.gateway.job_seconds = 30
    path = f"{RETRIEVE}?jobId={_export(client)}"
    statuses = []
    for seconds in (29, 1, 7 * 86_400 - 1, 1):
        clock.now += seconds
        client.log_in()
        statuses.append(client.send("GET", path).status_code)
    assert statuses == [409, 200, 200, 404]
    client.gateway.fault("expired-listed")
    assert client.send("GET", path).status_code == 404


def test_archive_of_a_partially_complete_job_lacks_one_file(client: Client) -> None:
    client.gateway.fault("jobs-partly")
    archive = _open(client.send("GET", f"{RETRIEVE}?jobId={_export(client)}"))
    assert len(archive.namelist()) == 2


def test_archive_can_be_empty(client: Client) -> None:
    job = client.gateway.jobs.add(status="complete")
    assert _open(client.send("GET", job["download_url"])).namelist() == []


def test_archive_of_another_account_can_be_downloaded(client: Client) -> None:
    account = client.gateway.add_account("77", recordings=5)
    job = _export(client, f"{API}/accounts/77/company_call_recordings")
    assert client.send("GET", f"{RETRIEVE}?jobId={job}").status_code == 200
    assert [row["id"] for row in account.jobs.all()] == [job]
    assert client.gateway.jobs.all() == []


def test_archive_supports_ranges(client: Client) -> None:
    path = f"{RETRIEVE}?jobId={_export(client)}"
    whole = client.send("GET", path).content
    for start, stop in ((0, 10), (65_530, 65_550), (70_000, len(whole))):
        response = client.send("GET", path, headers={"range": f"bytes={start}-{stop - 1}"})
        assert (response.status_code, response.content) == (206, whole[start:stop])


def test_truncated_archive_has_the_full_content_length(client: Client) -> None:
    path = f"{RETRIEVE}?jobId={_export(client)}"
    client.gateway.fault("truncated@bulkDownload")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.send("GET", path)
    assert client.send("GET", path).status_code == 200


def test_hook_replaces_the_members_of_an_archive(client: Client) -> None:
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

    client.gateway.zip_members = hook
    response = client.send("GET", f"{RETRIEVE}?jobId={_export(client)}")
    assert _open(response).namelist() == ["../evil.mp3", "/abs/evil.mp3", "twice", "twice", "bomb.mp3"]
    assert _open(response).read("bomb.mp3") == bytes(10**6)
    assert len(response.content) < 10_000
    rows = client.gateway.company.all()
    assert sorted(seen) == sorted(
        (row["file_name"], client.send("GET", row["download_url"]).content) for row in rows
    )


def test_large_archive_is_generated_in_chunks() -> None:
    tracemalloc.start()
    archive = make_archive(
        [AudioFile(f"{number}.mp3", 20_000_000, "Silence") for number in range(5)], 0, None
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert archive.size > 100_000_000
    assert peak < 5_000_000
