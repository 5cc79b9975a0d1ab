"""A store that hangs, refuses or answers nonsense is an error: no object is missing or erased then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from archiving import KEYS

from vbc_source.audio.bucket import Bucket, BucketFailed, ObjectLocked
from vbc_source.load.destinations import s3_requests

KEY = "account_id=1/recording_type=company/date=2025-03-01/1.mp3"
VERSIONS = (
    f"<ListVersionsResult><Name>b</Name><Version><Key>audio/{KEY}</Key><VersionId>1</VersionId>"
    "</Version></ListVersionsResult>"
)


class Store(BaseHTTPRequestHandler):
    """A store that gives one answer; those to a deletion and to what lists versions may differ."""

    protocol_version = "HTTP/1.1"
    status, code, versions = 200, "", ""
    is_deaf = False
    headers_of_put: dict[str, str]
    released: threading.Event

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def answer(self) -> None:
        if self.is_deaf:  # reads no body
            self.released.wait()
            self.close_connection = True
            return
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT":
            type(self).headers_of_put = dict(self.headers)
        body = (
            f"<Error><Code>{self.code}</Code><Message>so</Message></Error>"
            if self.code
            else "<html>hi</html>"
        )
        status = self.status
        if self.versions and "versions" in self.path:
            status, body = 200, self.versions
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_GET = do_HEAD = do_PUT = do_DELETE = answer  # noqa: N815 - names of http.server


Open = Callable[..., tuple[Bucket, type[Store]]]


@pytest.fixture
def open_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Serve a store, and open a bucket there, in which no request is repeated."""
    released, servers = threading.Event(), []

    def start(**answer: Any) -> tuple[Bucket, type[Store]]:
        store = type("Served", (Store,), {"released": released, **answer})
        server = ThreadingHTTPServer(("127.0.0.1", 0), store)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        section = "DESTINATION__FILESYSTEM__CREDENTIALS__"
        monkeypatch.setenv(f"{section}ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name, value in KEYS.items():
            monkeypatch.setenv(section + name.upper(), value)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        return Bucket("s3://b/audio"), store

    yield start
    released.set()
    for server in servers:
        server.shutdown()
        server.server_close()


QUESTIONS: dict[str, Callable[[Bucket], object]] = {
    "size": lambda bucket: bucket.size(KEY),
    "read": lambda bucket: bucket.read(KEY),
    "checksum": lambda bucket: bucket.read_checksum(KEY),
    "list": lambda bucket: bucket.list_sizes(KEY.rpartition("/")[0]),
    "erase": lambda bucket: bucket.erase(KEY),
    "is_erased": lambda bucket: bucket.is_erased(KEY),
    "find_lock": lambda bucket: bucket.find_lock(KEY),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_missing_bucket_is_no_missing_object(question: str, open_bucket: Open) -> None:
    bucket, _ = open_bucket(status=404, code="NoSuchBucket")
    with pytest.raises(BucketFailed, match=r"s3://b/audio .*make the bucket, or correct bucket_url"):
        QUESTIONS[question](bucket)


@pytest.mark.parametrize("question", ["erase", "is_erased", "find_lock"])
def test_a_page_of_a_proxy_is_no_empty_list_of_versions(question: str, open_bucket: Open) -> None:
    bucket, _ = open_bucket()
    with pytest.raises(BucketFailed, match="returned something that is not a list of objects"):
        QUESTIONS[question](bucket)


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (403, "AccessDenied", ObjectLocked, "does not allow to delete it"),
        (
            400,
            "ExpiredToken",
            BucketFailed,
            "the login has expired, or is malformed: renew aws_session_token",
        ),
        (403, "RequestTimeTooSkewed", BucketFailed, "set the clock of this machine"),
        (403, "InvalidAccessKeyId", BucketFailed, "correct aws_access_key_id and aws_secret_access_key"),
    ],
)
def test_a_login_that_fails_is_no_lock_of_an_object(
    status: int, code: str, kind: type[Exception], message: str, open_bucket: Open
) -> None:
    bucket, _ = open_bucket(status=status, code=code, versions=VERSIONS)
    with pytest.raises(kind, match=message):
        bucket.erase(KEY)


def test_an_upload_does_not_wait_for_leave_that_some_servers_never_give(open_bucket: Open) -> None:
    bucket, store = open_bucket()
    bucket.put_bytes(b"audio", KEY, "audio/mpeg")
    assert "Expect" not in store.headers_of_put


def test_an_upload_that_the_store_does_not_read_ends(
    open_bucket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_requests, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(s3_requests, "SLOWEST_BYTES", 1 << 40)
    bucket, _ = open_bucket(is_deaf=True)
    with pytest.raises(BucketFailed, match="Read timeout"):
        bucket.put_bytes(bytes(32 << 20), KEY, "audio/mpeg")  # more than the sockets hold


def test_a_file_is_not_erased_while_the_archive_is_not_mounted(own_folder: Path) -> None:
    folder, away = own_folder / "files", own_folder / "away"
    bucket = Bucket(str(folder))
    bucket.put_bytes(b"audio", KEY, "audio/mpeg")
    folder.rename(away)
    folder.mkdir()  # where the disk would be
    with pytest.raises(BucketFailed, match="is the archive mounted"):
        bucket.erase(KEY)
    assert not bucket.is_erased(KEY)
    folder.rmdir()
    away.rename(folder)
    assert bucket.size(KEY) == 5
    bucket.erase(KEY)
    bucket.erase(KEY)  # again, as after a kill
    assert bucket.is_erased(KEY)
