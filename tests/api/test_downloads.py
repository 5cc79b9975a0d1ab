"""One stream of bytes out of transfers that break, ranges that are given or not, files that change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from gateway_fixtures import Clock, Seen, make_credentials, serve_bytes, write_answer, write_login

from vbc_source.api.client import Client
from vbc_source.api.downloads import Download
from vbc_source.api.http.rate_limit import RateLimiter
from vbc_source.errors import ForeignAddress, InvalidContent, NotFound, TokenRejected, Unavailable

BODY = bytes(range(256)) * 4000  # a million bytes that never repeat at the wrong place
KIND = "Content-Type: audio/mpeg"


@dataclass
class Server:
    """Serves BODY in the way a test wants.

    Attributes:
        steps: for each request, how many bytes come before the connection breaks; None for all.
        ranges: whether ranges are given.
        etags: for each request, the file's version.
    """

    steps: list[int | None]
    ranges: bool = True
    etags: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    body: Callable[[int], bytes] = lambda number: BODY

    def __call__(self, seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login()
        number = len(self.requested)
        self.requested.append(seen.headers.get("range", ""))
        body, step = self.body(number), self.steps[min(number, len(self.steps) - 1)]
        match = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", "")) if self.ranges else None
        start = int(match[1]) if match else 0
        if match and start >= len(body):
            return write_answer("416 Range Not Satisfiable", b"")
        status = "206 Partial Content" if match else "200 OK"
        headers = [KIND]
        if match:
            headers.append(f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}")
        if self.etags:
            headers.append(f"ETag: {self.etags[min(number, len(self.etags) - 1)]}")
        whole = write_answer(status, body[start:], *headers)
        head = len(whole) - len(body[start:])
        return whole if step is None else whole[: head + step]


def fetch(server: Callable[[Seen], bytes], expected: int | None = len(BODY)) -> tuple[bytes, Download, Clock]:
    clock = Clock()
    with serve_bytes(server) as raw:
        limiter = RateLimiter(clock=clock, wait=clock.wait)
        with closing(
            Client(raw.url, make_credentials(), rate_limiter=limiter, clock=clock, retry_seconds=1)
        ) as client:
            download = Download(client, f"{raw.url}/audio/1", expected, "audio of company recording 1")
            return b"".join(download), download, clock


@pytest.mark.parametrize("etags", [['"a"'], ['W/"a"', '"a"', 'W/"a"']])
def test_broken_transfer_continues_where_it_broke(etags: list[str]) -> None:
    """Also where a proxy makes validators weak on some ways."""
    server = Server([300_000, 200_000, 1, None], etags=etags)
    body, download, _ = fetch(server)
    assert body == BODY
    assert (download.size, download.content_type) == (len(BODY), "audio/mpeg")
    places = [int(requested.removeprefix("bytes=").removesuffix("-") or 0) for requested in server.requested]
    assert places == sorted(places)
    assert len(set(places)) == 3  # each started where the one before broke


def test_transfer_without_ranges_starts_again_and_is_compared() -> None:
    server = Server([300_000, 700_000, None], ranges=False)
    assert fetch(server)[0] == BODY
    assert len(server.requested) == 3


def test_changed_file_is_an_error() -> None:
    server = Server([600_000, None], ranges=False, body=lambda number: BODY if not number else BODY[::-1])
    with pytest.raises(InvalidContent, match="changed while it was"):
        fetch(server)


def test_range_of_a_changed_file_is_an_error() -> None:
    """As of a server that gives the range although `If-Range` names another version of the file."""
    other = BODY[::-1]
    server = Server([600_000, None], etags=['"a"', '"b"'], body=lambda number: BODY if not number else other)
    with pytest.raises(InvalidContent, match="changed while it was"):
        fetch(server)


def test_short_response_is_continued() -> None:
    """As of a gateway that cuts a body and states the shorter length."""
    server = Server([None], body=lambda number: BODY if number else BODY[:1000])
    assert fetch(server)[0] == BODY
    assert server.requested == ["", "bytes=1000-"]


def test_short_file_ends_the_stream_early() -> None:
    server = Server([None], body=lambda number: BODY[:1000])
    body, download, _ = fetch(server)
    assert (len(body), download.size) == (1000, 1000)
    assert len(server.requested) == 2


def test_download_fails_after_several_breaks_without_new_bytes() -> None:
    server = Server([500_000, 0], ranges=False)
    with pytest.raises(Unavailable):
        fetch(server)
    assert 4 <= len(server.requested) <= 16


def test_response_with_another_range_is_an_error() -> None:
    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login()
        if "range" not in seen.headers:
            return write_answer("200 OK", BODY, KIND)[:-600_000]
        return write_answer("206 Partial Content", b"x" * 99, KIND, "Content-Range: bytes 1-99/1024000")

    with pytest.raises(Unavailable, match="another range"):
        fetch(answer)


def test_compressed_response_is_an_error() -> None:
    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login()
        assert seen.headers["accept-encoding"] == "identity"
        return write_answer("200 OK", BODY, KIND, "Content-Encoding: br")

    with pytest.raises(Unavailable, match="compressed"):
        fetch(answer)


def test_token_that_expires_during_a_download_is_renewed() -> None:
    logins: list[str] = []

    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            logins.append(seen.path)
            return write_login(f"token-{len(logins)}")
        if "range" not in seen.headers:
            return write_answer("200 OK", BODY, KIND)[:-400_000]
        if seen.headers["authorization"] == "Bearer token-1":
            return write_answer("401 Unauthorized", b'{"fault":{"code":900904,"message":"Inactive"}}')
        return server(seen)

    server = Server([None])
    assert fetch(answer)[0] == BODY
    assert len(logins) == 2


def test_fault_with_status_200_is_not_taken_for_audio() -> None:
    fault = json.dumps({"fault": {"code": 900803, "message": "Message throttled out"}}).encode()
    answers = [write_answer("200 OK", fault, KIND), write_answer("200 OK", b"<html>", KIND)]

    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login()
        return answers.pop(0) if answers else write_answer("200 OK", BODY, KIND)

    body, _, clock = fetch(answer)
    assert body == BODY
    assert len(clock.waits) >= 2


@pytest.mark.parametrize(
    ("status", "error"),
    [("404 Not Found", NotFound), ("401 Unauthorized", TokenRejected), ("500 Oops", Unavailable)],
)
def test_last_fault_is_raised_with_the_name_of_the_download(status: str, error: type[Exception]) -> None:
    def answer(seen: Seen) -> bytes:
        return write_login() if seen.path == "/token" else write_answer(status, b"private text")

    with pytest.raises(error, match="audio of company recording 1") as raised:
        fetch(answer)
    assert "private" not in str(raised.value)


@pytest.mark.parametrize("location", ["{own}/audio/1", "", "http://127.0.0.1:0/x", "ftp://elsewhere/x"])
def test_redirect_loops_and_bad_redirects_are_errors(location: str) -> None:
    def answer(seen: Seen) -> bytes:
        if seen.path == "/token":
            return write_login()
        return write_answer("302 Found", b"", f"Location: {location.format(own='/')}")

    with pytest.raises((Unavailable, ForeignAddress)):
        fetch(answer)


def test_failing_storage_is_unavailable_whatever_its_status() -> None:
    """Its 404 or 401 says nothing of the recording or of our token."""
    for status in ("404 Not Found", "401 Unauthorized", "403 Forbidden"):
        requested: list[dict[str, str]] = []

        def store(seen: Seen, status: str = status, requested: list[dict[str, str]] = requested) -> bytes:
            requested.append(seen.headers)
            return write_answer(status, b"<Error>AccessDenied</Error>")

        with serve_bytes(store) as storage:
            link = storage.url.replace("127.0.0.1", "localhost") + "/a?signature=secret"

            def answer(seen: Seen, link: str = link) -> bytes:
                return (
                    write_login()
                    if seen.path == "/token"
                    else write_answer("302 Found", b"", f"Location: {link}")
                )

            with pytest.raises(Unavailable) as raised:
                fetch(answer)
        assert "secret" not in str(raised.value)
        assert all("authorization" not in headers for headers in requested)
        assert requested
